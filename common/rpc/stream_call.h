// A method that answers with a stream: the handler's blocking body runs on an executor and writes as it goes.
#pragma once

#include <functional>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "common/base/call_context.h"
#include "common/base/errors.h"
#include "common/rpc/call_scope.h"
#include "common/rpc/executor.h"
#include "common/rpc/reaction_order.h"
#include "common/rpc/rpc_errors.h"
#include "grpcpp/server_context.h"
#include "grpcpp/support/server_callback.h"

namespace ilre {

// Deletes itself when gRPC is done with it. One write is in flight at a time; the body waits for a client that reads
// slowly, but not for ever.
template <typename Response>
class StreamCall final : public grpc::ServerWriteReactor<Response> {
 public:
  using Write = std::function<absl::Status(const Response&)>;
  using Body = std::function<absl::Status(const CallContext&, const Write&)>;

  // How long one write may take before the client counts as gone.
  static constexpr absl::Duration kWritePatience = absl::Seconds(60);

  // As UnaryCall::Start.
  static StreamCall* Start(grpc::CallbackServerContext* context, absl::string_view method, const ServerParts& parts,
                           Executor& executor, absl::string_view what, Body body) {
    auto* call = new StreamCall(context, method, parts, std::move(body));
    if (absl::Status status = call->scope_.Begin(); !status.ok()) {
      call->End(status);
    } else if (!executor.TrySubmit(call->scope_.context().tenant, [call] { call->Run(); })) {
      call->End(errors::Overloaded(what));
    }
    return call;
  }

 private:
  StreamCall(grpc::CallbackServerContext* context, absl::string_view method, const ServerParts& parts, Body body)
      : context_(context), scope_(context, method, parts), body_(std::move(body)) {}

  void Run() {
    absl::Status status = scope_.context().Check("the request");
    if (status.ok()) status = body_(scope_.context(), [this](const Response& response) { return Send(response); });
    const absl::Status written = AwaitWrite();
    if (status.ok()) status = written;
    End(status);
  }

  // `this` may be gone after it.
  void End(const absl::Status& status) {
    const grpc::Status said = scope_.End(status);
    Reaction::Leads(this);
    this->Finish(said);
  }

  absl::Status Send(const Response& response) {
    if (absl::Status status = AwaitWrite(); !status.ok()) return status;
    message_ = response;
    {
      absl::MutexLock lock(&mutex_);
      writing_ = true;
    }
    Reaction::Leads(this);
    this->StartWrite(&message_);
    return absl::OkStatus();
  }

  // Until the last write is done. When nobody wants the answer any more, or the client does not read, the call is torn
  // down, which ends the write.
  absl::Status AwaitWrite() {
    const absl::Time give_up = absl::Now() + kWritePatience;
    bool torn_down = false;
    absl::MutexLock lock(&mutex_);
    const auto written = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return !writing_; };
    while (!mutex_.AwaitWithTimeout(absl::Condition(&written), absl::Milliseconds(50))) {
      if (torn_down || !(scope_.context().ShouldStop() || absl::Now() > give_up)) continue;
      torn_down = true;
      mutex_.Unlock();
      context_->TryCancel();
      mutex_.Lock();
    }
    if (!broken_) return absl::OkStatus();
    const absl::Status why = scope_.context().Check("the answer");
    return why.ok() ? errors::Cancelled("the answer") : why;
  }

  void OnWriteDone(bool ok) override {
    const Reaction reaction(this);
    absl::MutexLock lock(&mutex_);
    writing_ = false;
    broken_ = broken_ || !ok;
  }
  void OnCancel() override {
    const Reaction reaction(this);
    scope_.Cancel();
  }
  void OnDone() override {
    Reaction::Begins(this);
    delete this;
  }

  grpc::CallbackServerContext* const context_;
  CallScope scope_;
  const Body body_;
  Response message_;  // in flight
  absl::Mutex mutex_;
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool broken_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace ilre
