#include "common/rpc/http_server.h"

#include <httplib.h>
#include <sys/socket.h>

#include <atomic>
#include <utility>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "common/base/status_macros.h"
#include "common/rpc/bounded_http.h"
#include "common/rpc/listen_address.h"

namespace ilre {
namespace {

void AddOwnRoutes(httplib::Server& server, const ServiceMetrics& metrics, const ServerState& state) {
  server.Get("/healthz", [](const httplib::Request&, httplib::Response& response) {
    response.set_content("alive\n", "text/plain");
  });
  server.Get("/readyz", [&state](const httplib::Request&, httplib::Response& response) {
    const bool draining = state.draining(), ready = state.ready() && !draining;
    response.status = ready ? 200 : 503;
    response.set_content(ready ? "ready\n" : draining ? "draining\n" : "not ready\n", "text/plain");
  });
  server.Get("/metrics", [&metrics](const httplib::Request&, httplib::Response& response) {
    response.set_content(metrics.Text(), "text/plain; version=0.0.4; charset=utf-8");
  });
}

void SetLimits(httplib::Server& server, const HttpServer::Options& options) {
  server.set_payload_max_length(options.max_body_bytes);
  server.set_read_timeout(options.read_timeout_seconds);
  server.set_write_timeout(options.write_timeout_seconds);
  server.set_keep_alive_timeout(options.idle_timeout_seconds);
  server.set_tcp_nodelay(true);
  // Without SO_REUSEPORT, which httplib sets by itself: a second server on the port must be refused.
  server.set_socket_options([](socket_t socket) {
    const int yes = 1;
    setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
  });
  server.set_exception_handler([](const httplib::Request&, httplib::Response& response, std::exception_ptr) {
    response.status = 500;
    response.set_content("internal error\n", "text/plain");
  });
}

}  // namespace

HttpServer::HttpServer(std::unique_ptr<httplib::Server> server) : server_(std::move(server)) {}

HttpServer::~HttpServer() { Stop(); }

absl::StatusOr<std::unique_ptr<HttpServer>> HttpServer::Start(const Options& options, const ServiceMetrics& metrics,
                                                              const ServerState& state, const Mount& mount) {
  ILRE_ASSIGN_OR_RETURN(ListenAddress address, ParseListenAddress("http-listen", options.listen));
  std::unique_ptr<HttpServer> server(new HttpServer(std::make_unique<BoundedHttpServer>(options.num_threads)));
  SetLimits(*server->server_, options);
  AddOwnRoutes(*server->server_, metrics, state);
  if (mount) mount(*server->server_);
  const int port = address.port == 0 ? server->server_->bind_to_any_port(address.host)
                   : server->server_->bind_to_port(address.host, address.port) ? address.port
                                                                               : -1;
  if (port < 0) return CannotListen("http-listen", address);
  address.port = port;
  server->address_ = address.ToString();
  auto ended = std::make_shared<std::atomic<bool>>(false);
  server->thread_ = std::thread([http = server->server_.get(), ended] {
    http->listen_after_bind();
    *ended = true;
  });
  // stop() does nothing until the other thread has come that far.
  while (!server->server_->is_running() && !*ended) absl::SleepFor(absl::Milliseconds(1));
  return server;
}

void HttpServer::Stop() {
  if (!thread_.joinable()) return;
  server_->stop();
  thread_.join();
}

}  // namespace ilre
