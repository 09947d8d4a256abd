// The HTTP endpoint of a server: /metrics, /healthz, /readyz, and what else is mounted on it.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "absl/status/statusor.h"
#include "common/rpc/metrics.h"
#include "common/rpc/server_state.h"

namespace httplib {
class Server;
}

namespace ilre {

// A fixed number of threads, one for each connection that is open; further ones wait in the system's backlog. Requests
// are bounded: see bounded_http.h.
class HttpServer {
 public:
  // Adds routes and changes limits before the first request.
  using Mount = std::function<void(httplib::Server&)>;

  struct Options {
    std::string listen = "127.0.0.1:9090";
    int num_threads = 64;
    size_t max_body_bytes = size_t{4} << 20;
    int read_timeout_seconds = 10;  // between two pieces of a request
    int write_timeout_seconds = 30;
    int idle_timeout_seconds = 2;  // of a connection between two requests
  };

  // Listens when it returns. `metrics`, `state` and what is mounted must outlive it. Errors: INVALID_ARGUMENT for the
  // address, CANNOT_LISTEN.
  static absl::StatusOr<std::unique_ptr<HttpServer>> Start(const Options& options, const ServiceMetrics& metrics,
                                                           const ServerState& state, const Mount& mount = nullptr);
  // Stops.
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  // HOST:PORT as bound.
  const std::string& address() const { return address_; }

  // Takes no more connections, and returns when the requests that run have been answered.
  void Stop();

 private:
  explicit HttpServer(std::unique_ptr<httplib::Server> server);

  const std::unique_ptr<httplib::Server> server_;
  std::string address_;
  std::thread thread_;
};

}  // namespace ilre
