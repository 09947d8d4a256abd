// A server from its options to its end: listening, health, readiness, signals, draining.
//
// A main:
//   BlockSignals();                                         // before any thread
//   ... flags ...
//   auto common = ServerCommon::Create(options);            // tokens, metrics, log, state
//   ... model, store, executors, handlers, services with common->parts() ...
//   auto runner = ServerRunner::Start(options, common->parts(), {{v1::Encoder::service_full_name(), &encoder}}, mount);
//   std::cout << "listening on " << runner->address() ...
//   runner->SetReady(true);
//   runner->RunUntilSignal();                               // drains; then return 0
// Services, executors and handlers must outlive the runner.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/rpc/authenticator.h"
#include "common/rpc/call_scope.h"
#include "common/rpc/http_server.h"
#include "common/rpc/log.h"
#include "common/rpc/metrics.h"
#include "common/rpc/server_options.h"
#include "common/rpc/server_state.h"

namespace grpc {
class Server;
class Service;
}  // namespace grpc

namespace ilre {

// Makes SIGTERM and SIGINT wait for RunUntilSignal, in this thread and in those that it will start, and ignores
// SIGPIPE. Call it first in main.
void BlockSignals();

// Owns what all calls of a server share.
class ServerCommon {
 public:
  // Errors: those of options.Validate() and of Authenticator::Open.
  static absl::StatusOr<std::unique_ptr<ServerCommon>> Create(const ServerOptions& options);

  ServerParts parts() { return {*authenticator_, metrics_, log_, state_}; }

 private:
  explicit ServerCommon(const ServerOptions& options);

  Logger log_;
  ServiceMetrics metrics_;
  ServerState state_;
  std::unique_ptr<Authenticator> authenticator_;
};

// Thread-safe.
class ServerRunner {
 public:
  struct Service {
    std::string full_name;  // "ilre.v1.Encoder"
    grpc::Service* service;
  };

  // Listens when it returns, and says NOT_SERVING until SetReady. Health knows "" and the full names of `services`.
  // Reflection is on. Errors: INVALID_ARGUMENT, BAD_CERTIFICATE, CANNOT_LISTEN.
  static absl::StatusOr<std::unique_ptr<ServerRunner>> Start(const ServerOptions& options, const ServerParts& parts,
                                                             const std::vector<Service>& services,
                                                             const HttpServer::Mount& mount = nullptr);
  // Shuts down without grace, if that was not done.
  ~ServerRunner();
  ServerRunner(const ServerRunner&) = delete;
  ServerRunner& operator=(const ServerRunner&) = delete;

  // HOST:PORT as bound. The second is empty if there is none.
  const std::string& address() const { return address_; }
  std::string http_address() const { return http_ == nullptr ? "" : http_->address(); }

  // Health, /readyz and ilre_ready. Nothing after Shutdown began.
  void SetReady(bool ready);

  // Health says NOT_SERVING, new calls are refused with DRAINING; those that run may go on for `grace`, are then told
  // to stop and end with DRAINING. Returns when no call is left. Later calls return when the first is done. Calls look
  // at their context at least once a block or token, so this takes little longer than `grace`.
  void Shutdown(absl::Duration grace);
  // Ends the grace of a Shutdown that is going on. Any thread.
  void ShortenGrace();

  // Waits for SIGTERM or SIGINT, which must be blocked, and shuts down with the options' grace; a second signal ends
  // the grace.
  void RunUntilSignal();

 private:
  ServerRunner(const ServerOptions& options, const ServerParts& parts);
  void SetHealth(bool serving);
  absl::Status Listen(const std::vector<Service>& services);

  const ServerOptions options_;
  const ServerParts parts_;
  std::string address_;
  std::vector<std::string> health_names_;
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<HttpServer> http_;
  std::mutex mutex_;
  bool stopped_ = false;  // guarded by mutex_
};

}  // namespace ilre
