#include "common/rpc/server_runner.h"

#include <grpc/support/log.h>
#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/resource_quota.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>
#include <pthread.h>
#include <signal.h>

#include <atomic>
#include <cstdlib>
#include <thread>
#include <utility>

#include "absl/strings/match.h"
#include "absl/time/clock.h"
#include "common/base/status_macros.h"
#include "common/rpc/listen_address.h"

namespace ilre {
namespace {

constexpr int kMillisecondsPerMinute = 60'000;
// What calls get to say goodbye in: those that were told to stop, and what has been said but is not sent yet.
constexpr absl::Duration kStopWait = absl::Seconds(3);
constexpr absl::Duration kFlushWait = absl::Seconds(1);

sigset_t EndSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  return signals;
}

void InitOnce() {
  static const bool done = [] {
    grpc::EnableDefaultHealthCheckService(true);
    grpc::reflection::InitProtoReflectionServerBuilderPlugin();
    return true;
  }();
  (void)done;
}

void SetLimits(const ServerOptions& options, grpc::ServerBuilder* builder) {
  builder->SetMaxReceiveMessageSize(options.max_message_bytes);
  builder->AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, options.max_streams_per_connection);
  grpc::ResourceQuota quota("server");
  builder->SetResourceQuota(quota.Resize(static_cast<size_t>(options.max_buffered_bytes)));
  // A second server on the port must be refused.
  builder->AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  // Dead peers are found; clients may ask for signs of life every ten seconds, also without calls.
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, kMillisecondsPerMinute);
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 20'000);
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  builder->AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 10'000);
  // Calls that run go on: the connection ends when they have.
  builder->AddChannelArgument(GRPC_ARG_MAX_CONNECTION_AGE_MS, options.max_connection_minutes * kMillisecondsPerMinute);
}

// gRPC prints a page about a port that it cannot have; one line of ours is enough.
class QuietGrpc {
 public:
  QuietGrpc() { Set(static_cast<gpr_log_severity>(GPR_LOG_SEVERITY_ERROR + 1)); }
  ~QuietGrpc() { Set(GPR_LOG_SEVERITY_ERROR); }

 private:
  static void Set(gpr_log_severity severity) {
    if (std::getenv("GRPC_VERBOSITY") == nullptr) gpr_set_log_verbosity(severity);
  }
};

}  // namespace

void BlockSignals() {
  const sigset_t signals = EndSignals();
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  signal(SIGPIPE, SIG_IGN);
}

ServerCommon::ServerCommon(const ServerOptions& options) : log_(options.log_level, options.log_format) {}

absl::StatusOr<std::unique_ptr<ServerCommon>> ServerCommon::Create(const ServerOptions& options) {
  ILRE_RETURN_IF_ERROR(options.Validate());
  std::unique_ptr<ServerCommon> common(new ServerCommon(options));
  if (options.tokens_file.empty()) {
    common->authenticator_ = std::make_unique<Authenticator>();
  } else {
    ILRE_ASSIGN_OR_RETURN(common->authenticator_, Authenticator::Open(options.tokens_file, common->log_));
  }
  return common;
}

ServerRunner::ServerRunner(const ServerOptions& options, const ServerParts& parts)
    : options_(options), parts_(parts), health_names_{""} {}

ServerRunner::~ServerRunner() { Shutdown(absl::ZeroDuration()); }

absl::StatusOr<std::unique_ptr<ServerRunner>> ServerRunner::Start(const ServerOptions& options,
                                                                  const ServerParts& parts,
                                                                  const std::vector<Service>& services,
                                                                  const HttpServer::Mount& mount) {
  ILRE_RETURN_IF_ERROR(options.Validate());
  std::unique_ptr<ServerRunner> runner(new ServerRunner(options, parts));
  if (!options.http_listen.empty()) {
    ILRE_ASSIGN_OR_RETURN(runner->http_,
                          HttpServer::Start({.listen = options.http_listen}, parts.metrics, parts.state, mount));
    const std::string host = ParseListenAddress("http-listen", options.http_listen)->host;
    const bool is_local = host == "localhost" || host == "::1" || absl::StartsWith(host, "127.");
    if (mount && parts.authenticator.HasTokens() && !is_local) {
      parts.log.Log(LogLevel::kWarning,
                    "tokens are readable on their way over HTTP: put a proxy with TLS in front of it",
                    {{"http", runner->http_->address()}});
    }
  }
  ILRE_RETURN_IF_ERROR(runner->Listen(services));
  return runner;
}

absl::Status ServerRunner::Listen(const std::vector<Service>& services) {
  InitOnce();
  ILRE_ASSIGN_OR_RETURN(ListenAddress address, ParseListenAddress("listen", options_.listen));
  ILRE_ASSIGN_OR_RETURN(const auto credentials, MakeServerCredentials(options_.tls, options_.tls_refresh_seconds));
  grpc::ServerBuilder builder;
  SetLimits(options_, &builder);
  int port = 0;
  builder.AddListeningPort(address.ToString(), credentials, &port);
  for (const Service& service : services) {
    builder.RegisterService(service.service);
    health_names_.push_back(service.full_name);
  }
  {
    const QuietGrpc quiet;
    server_ = builder.BuildAndStart();
  }
  if (server_ == nullptr || port == 0) return CannotListen("listen", address);
  address.port = port;
  address_ = address.ToString();
  SetReady(false);
  return absl::OkStatus();
}

void ServerRunner::SetReady(bool ready) {
  std::lock_guard lock(mutex_);
  if (stopped_ || parts_.state.draining()) return;
  parts_.state.SetReady(ready);
  parts_.metrics.SetReady(ready);
  SetHealth(ready);
}

void ServerRunner::SetHealth(bool serving) {
  for (const std::string& name : health_names_) server_->GetHealthCheckService()->SetServingStatus(name, serving);
}

void ServerRunner::Shutdown(absl::Duration grace) {
  std::lock_guard lock(mutex_);
  if (std::exchange(stopped_, true) || server_ == nullptr) return;
  const absl::Time start = absl::Now();
  parts_.state.SetReady(false);
  parts_.metrics.SetReady(false);
  server_->GetHealthCheckService()->Shutdown();
  parts_.state.StartDraining();
  parts_.log.Log(LogLevel::kInfo, "draining",
                 {{"calls", parts_.state.num_calls()}, {"grace_seconds", absl::ToDoubleSeconds(grace)}});
  if (!parts_.state.WaitForGrace(start + grace)) {
    parts_.log.Log(LogLevel::kWarning, "the grace is over; calls are told to stop",
                   {{"calls", parts_.state.num_calls()}});
    parts_.state.StopCalls();
    parts_.state.WaitUntilIdle(absl::Now() + kStopWait);
  }
  // Shutdown waits for calls by itself, among them health's Watch, which never end; then it cuts them off.
  server_->Shutdown(absl::ToChronoTime(absl::Now() + kFlushWait));
  server_->Wait();
  if (http_ != nullptr) http_->Stop();
  parts_.log.Log(LogLevel::kInfo, "stopped", {{"seconds", absl::ToDoubleSeconds(absl::Now() - start)}});
}

void ServerRunner::ShortenGrace() { parts_.state.ShortenGrace(); }

void ServerRunner::RunUntilSignal() {
  const sigset_t signals = EndSignals();
  int signal = 0;
  sigwait(&signals, &signal);
  parts_.log.Log(LogLevel::kInfo, "signal", {{"name", signal == SIGTERM ? "SIGTERM" : "SIGINT"}});
  std::atomic<bool> done{false};
  std::thread second([&] {
    const timespec patience{.tv_sec = 0, .tv_nsec = 50'000'000};
    while (!done) {
      if (sigtimedwait(&signals, nullptr, &patience) > 0) ShortenGrace();
    }
  });
  Shutdown(absl::Seconds(options_.drain_seconds));
  done = true;
  second.join();
}

}  // namespace ilre
