// One call's bookkeeping on the server, the same for every method of every transport: who asks and until when, may it
// begin, what is logged and counted when it ends.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "common/base/call_context.h"
#include "common/rpc/authenticator.h"
#include "common/rpc/log.h"
#include "common/rpc/metrics.h"
#include "common/rpc/server_state.h"
#include "grpcpp/server_context.h"
#include "grpcpp/support/status.h"

namespace ilre {

// What all calls of a server share. Everything must outlive the calls.
struct ServerParts {
  Authenticator& authenticator;
  ServiceMetrics& metrics;
  Logger& log;
  ServerState& state;
};

// What a transport knows of a call before it begins.
struct CallHeaders {
  std::string authorization;  // "Bearer TOKEN", or empty
  std::string request_id;     // taken if it has 1-64 of [A-Za-z0-9._-], else one is made
  std::string traceparent, tracestate;
  absl::Time deadline = absl::InfiniteFuture();
};

// Lives from the call's arrival to its end, usually as a member of its reactor:
//
//   CallScope scope_;                                     // (grpc_context, "ilre.v1.Encoder/GetDocument", parts)
//   if (absl::Status status = scope_.Begin(); !status.ok()) return Finish(scope_.End(status));
//   ... handler.GetDocument(scope_.context(), ...)        // on an executor
//   Finish(scope_.End(status));
//   void OnCancel() override { scope_.Cancel(); }
//
// Cancel and context().cancelled may be called from any thread; the rest by one thread at a time.
class CallScope {
 public:
  // Puts x-request-id into the initial metadata, so must come before anything is sent. `method` is
  // "package.Service/Method"; it must outlive the scope (a literal).
  CallScope(grpc::CallbackServerContext* context, absl::string_view method, const ServerParts& parts);
  CallScope(const CallHeaders& headers, absl::string_view method, const ServerParts& parts);
  // A call that was not ended is recorded as CANCELLED.
  ~CallScope();
  CallScope(const CallScope&) = delete;
  CallScope& operator=(const CallScope&) = delete;

  // May the call begin? UNAVAILABLE DRAINING, UNAUTHENTICATED, or DEADLINE_EXCEEDED for a deadline that is over
  // already. The error has to be given to End. Once, before anything else.
  absl::Status Begin();

  // The tenant is known after Begin. Copies of it stay valid after the scope.
  const CallContext& context() const { return context_; }

  // The client went away.
  void Cancel() {
    if (made_.load(std::memory_order_acquire)) stop_->Stop(CallStop::Cause::kClient);
  }
  // `callback` runs at most once, when the call is told to stop (by Cancel or by a drain whose grace is over): for
  // calls that wait for a message and do not look at context().cancelled. It may call End. It does not run after
  // ~CallScope.
  void OnStop(std::function<void()> callback) { stop_->SetCallback(std::move(callback)); }

  // What the client is told: `status`, or DRAINING for a call that was stopped by the server, or DEADLINE_EXCEEDED
  // where the deadline was what cancelled it. Logs and counts the call the first time; a second time only gives the
  // same again.
  absl::Status EndWithStatus(const absl::Status& status);
  // The same, in grpc's form and with the request's id.
  grpc::Status End(const absl::Status& status);

 private:
  void Open(const CallHeaders& headers);
  void Record(const absl::Status& status);

  const absl::string_view method_;
  const ServerParts parts_;
  const absl::Time start_;
  const std::shared_ptr<CallStop> stop_;
  CallContext context_;
  bool admitted_ = false;
  bool ended_ = false;
  absl::Status end_status_;
  // True after construction. gRPC calls OnCancel only then; this says it to the thread sanitizer, which cannot see into
  // a gRPC that was built without it.
  std::atomic<bool> made_{false};
};

}  // namespace ilre
