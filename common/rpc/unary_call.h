// A unary method: the handler's blocking body runs on an executor, gRPC's threads stay free.
#pragma once

#include <functional>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "common/base/call_context.h"
#include "common/rpc/call_scope.h"
#include "common/rpc/executor.h"
#include "common/rpc/reaction_order.h"
#include "common/rpc/rpc_errors.h"
#include "grpcpp/server_context.h"
#include "grpcpp/support/server_callback.h"

namespace ilre {

// Deletes itself when gRPC is done with it.
class UnaryCall final : public grpc::ServerUnaryReactor {
 public:
  using Body = std::function<absl::Status(const CallContext&)>;

  // `body` may block; request and response live until it has returned. `what` names such calls where there are too many
  // ("questions"). The executor and `parts` must outlive the call.
  static UnaryCall* Start(grpc::CallbackServerContext* context, absl::string_view method, const ServerParts& parts,
                          Executor& executor, absl::string_view what, Body body) {
    auto* call = new UnaryCall(context, method, parts, std::move(body));
    if (absl::Status status = call->scope_.Begin(); !status.ok()) {
      call->End(status);
    } else if (!executor.TrySubmit(call->scope_.context().tenant, [call] { call->Run(); })) {
      call->End(errors::Overloaded(what));
    }
    return call;
  }

 private:
  UnaryCall(grpc::CallbackServerContext* context, absl::string_view method, const ServerParts& parts, Body body)
      : scope_(context, method, parts), body_(std::move(body)) {}

  void Run() {
    absl::Status status = scope_.context().Check("the request");  // it may have waited for long
    if (status.ok()) status = body_(scope_.context());
    End(status);
  }
  // `this` may be gone after it.
  void End(const absl::Status& status) {
    const grpc::Status said = scope_.End(status);
    Reaction::Leads(this);
    Finish(said);
  }
  void OnCancel() override {
    const Reaction reaction(this);
    scope_.Cancel();
  }
  void OnDone() override {
    Reaction::Begins(this);
    delete this;
  }

  CallScope scope_;
  const Body body_;
};

}  // namespace ilre
