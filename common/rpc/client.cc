#include "common/rpc/client.h"

#include <grpcpp/create_channel.h>
#include <grpcpp/support/channel_arguments.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/base/errors.h"
#include "common/base/status_macros.h"
#include "common/rpc/status_conversion.h"
#include "common/rpc/trace_context.h"

namespace ilre {
namespace {

// How long a cancelled caller's call may go on before it is noticed.
constexpr std::chrono::milliseconds kLookInterval(10);

bool IsServiceName(absl::string_view name) {
  return std::all_of(name.begin(), name.end(), [](char c) { return absl::ascii_isalnum(c) || c == '.' || c == '_'; });
}

// CANCELLED is repeated for what WasCutOff says; a call that its own caller cancels is not repeated.
std::string ServiceConfig(const ChannelOptions& options) {
  constexpr char kBalancing[] = R"("loadBalancingConfig":[{"round_robin":{}}])";
  if (options.repeatable_service.empty()) return absl::StrCat("{", kBalancing, "}");
  return absl::StrCat("{", kBalancing, R"(,"healthCheckConfig":{"serviceName":")", options.repeatable_service,
                      R"("},"methodConfig":[{"name":[{"service":")", options.repeatable_service,
                      R"("}],"retryPolicy":{"maxAttempts":4,"initialBackoff":"0.05s","maxBackoff":"1s",)",
                      R"("backoffMultiplier":3,"retryableStatusCodes":["UNAVAILABLE","CANCELLED"]}}]})");
}

// A call that runs. Lives until its callback has come.
struct RunningCall {
  grpc::ClientContext client;
  std::mutex mutex;
  std::condition_variable changed;
  bool done = false;
  grpc::Status status;
};

// gRPC's server ends a call that arrives while it shuts down with a bare CANCELLED, though nobody cancelled it.
bool WasCutOff(const grpc::Status& status) {
  return status.error_code() == grpc::StatusCode::CANCELLED && status.error_details().empty();
}

}  // namespace

absl::Status ChannelOptions::Validate() const {
  if (target.empty()) return errors::InvalidArgument("the address of the server is empty");
  if (!IsServiceName(repeatable_service)) return errors::InvalidArgument("not the name of a service");
  return tls.Validate();
}

absl::StatusOr<std::shared_ptr<grpc::Channel>> MakeChannel(const ChannelOptions& options) {
  ILRE_RETURN_IF_ERROR(options.Validate());
  ILRE_ASSIGN_OR_RETURN(const auto credentials, MakeChannelCredentials(options.tls));
  grpc::ChannelArguments arguments;
  arguments.SetServiceConfigJSON(ServiceConfig(options));
  arguments.SetMaxReceiveMessageSize(options.max_message_bytes);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 30'000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 10'000);
  // A server that comes back is found within two seconds.
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 2'000);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 2'000);
  arguments.SetInt(GRPC_ARG_DNS_MIN_TIME_BETWEEN_RESOLUTIONS_MS, 2'000);
  return grpc::CreateCustomChannel(options.target, credentials, arguments);
}

void FillClientContext(const CallContext& context, grpc::ClientContext* client) {
  if (context.deadline != absl::InfiniteFuture()) client->set_deadline(absl::ToChronoTime(context.deadline));
  if (!context.request_id.empty()) client->AddMetadata("x-request-id", context.request_id);
  if (!context.authorization.empty()) client->AddMetadata("authorization", context.authorization);
  if (!context.traceparent.empty()) {
    client->AddMetadata("traceparent", ChildTraceparent(context.traceparent));
    if (!context.tracestate.empty()) client->AddMetadata("tracestate", context.tracestate);
  }
}

absl::Status StatusOfCall(const CallContext& context, absl::string_view what, const grpc::Status& status) {
  if (!WasCutOff(status)) return FromGrpcStatus(status);
  ILRE_RETURN_IF_ERROR(context.Check(what));
  return MakeError(absl::StatusCode::kUnavailable, "UNAVAILABLE", absl::StrCat(what, ": the server went away"));
}

absl::Status CallAndWait(const CallContext& context, absl::string_view what,
                         const std::function<void(grpc::ClientContext*, std::function<void(grpc::Status)>)>& start) {
  ILRE_RETURN_IF_ERROR(context.Check(what));
  RunningCall call;
  FillClientContext(context, &call.client);
  start(&call.client, [&call](grpc::Status status) {
    std::lock_guard lock(call.mutex);
    call.status = std::move(status);
    call.done = true;
    call.changed.notify_all();  // under the lock: the waiting thread ends the call's life
  });
  std::unique_lock lock(call.mutex);
  bool cancelled = false;
  while (!call.done) {
    call.changed.wait_for(lock, kLookInterval);
    if (call.done || cancelled || !context.ShouldStop()) continue;
    cancelled = true;
    lock.unlock();
    call.client.TryCancel();  // the callback comes soon after
    lock.lock();
  }
  if (call.status.ok()) return absl::OkStatus();
  if (absl::Status stopped = context.Check(what); !stopped.ok() && cancelled) return stopped;
  return StatusOfCall(context, what, call.status);
}

}  // namespace ilre
