// Calling other servers: channels, and what of the caller's context goes along.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "common/base/call_context.h"
#include "common/rpc/tls.h"
#include "grpcpp/channel.h"
#include "grpcpp/client_context.h"
#include "grpcpp/support/status.h"

namespace ilre {

struct ChannelOptions {
  std::string target;  // as gRPC reads it: HOST:PORT, dns:///name:port, unix:PATH, ...
  ClientTls tls;
  // Full name of a service ("ilre.v1.Retriever") whose calls change nothing: they are tried again, on another server if
  // there is one, when they end with UNAVAILABLE; and servers whose health says NOT_SERVING for it are passed over.
  // Empty: neither.
  std::string repeatable_service;
  int max_message_bytes = 64 << 20;  // of an answer's message

  absl::Status Validate() const;
};

// A channel that spreads calls over all addresses of the target (round_robin) and looks for dead connections. It
// connects by itself, and again. Errors: INVALID_ARGUMENT, those of the certificates.
absl::StatusOr<std::shared_ptr<grpc::Channel>> MakeChannel(const ChannelOptions& options);

// Puts into a fresh client context what `context` hands on: the deadline, the trace (as a child span), the request's
// id, and the authorization.
void FillClientContext(const CallContext& context, grpc::ClientContext* client);

// How a call for `context` ended, as an error of this project: the server's own unchanged. A bare CANCELLED, which is
// what gRPC gives where a server goes away under a call, becomes UNAVAILABLE unless `context` says that it was
// cancelled.
absl::Status StatusOfCall(const CallContext& context, absl::string_view what, const grpc::Status& status);

// Makes one unary call and waits for it: `start` begins it by the callback API,
//   [&](grpc::ClientContext* client, std::function<void(grpc::Status)> done) {
//     stub.async()->Retrieve(client, &request, &response, std::move(done));
//   }
// The call is cancelled as soon as `context` says that it does not matter any more. Returns the server's error
// unchanged; CANCELLED or DEADLINE_EXCEEDED, naming `what`, where the context is the cause.
absl::Status CallAndWait(const CallContext& context, absl::string_view what,
                         const std::function<void(grpc::ClientContext*, std::function<void(grpc::Status)>)>& start);

}  // namespace ilre
