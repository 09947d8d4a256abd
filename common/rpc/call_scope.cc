#include "common/rpc/call_scope.h"

#include <algorithm>
#include <chrono>
#include <iterator>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/time/clock.h"
#include "common/base/errors.h"
#include "common/rpc/rpc_errors.h"
#include "common/rpc/status_conversion.h"
#include "common/rpc/text.h"
#include "common/rpc/trace_context.h"

namespace ilre {
namespace {

constexpr size_t kMaxRequestIdBytes = 64;

bool IsRequestId(absl::string_view id) {
  return !id.empty() && id.size() <= kMaxRequestIdBytes && std::all_of(id.begin(), id.end(), [](char c) {
    return absl::ascii_isalnum(c) || c == '.' || c == '_' || c == '-';
  });
}

// The one value of a header; empty if it is absent or there are several, which nobody sends in good faith.
std::string HeaderOf(const grpc::CallbackServerContext& context, const char* name) {
  const auto [begin, end] = context.client_metadata().equal_range(name);
  if (begin == end || std::next(begin) != end) return "";
  return std::string(begin->second.data(), begin->second.size());
}

CallHeaders HeadersOf(const grpc::CallbackServerContext& context) {
  CallHeaders headers;
  headers.authorization = HeaderOf(context, "authorization");
  headers.request_id = HeaderOf(context, "x-request-id");
  headers.traceparent = HeaderOf(context, "traceparent");
  headers.tracestate = HeaderOf(context, "tracestate");
  // Deadlines of centuries, which is also how grpc says "none".
  const std::chrono::system_clock::time_point deadline = context.deadline();
  if (deadline < std::chrono::system_clock::now() + std::chrono::hours(24 * 365 * 50)) {
    headers.deadline = absl::FromChrono(deadline);
  }
  return headers;
}

LogLevel LevelOf(absl::StatusCode code) {
  switch (code) {
    case absl::StatusCode::kUnknown:
    case absl::StatusCode::kInternal:
    case absl::StatusCode::kDataLoss:
      return LogLevel::kError;
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kResourceExhausted:
    case absl::StatusCode::kDeadlineExceeded:
      return LogLevel::kWarning;
    default:
      return LogLevel::kInfo;
  }
}

}  // namespace

CallScope::CallScope(grpc::CallbackServerContext* context, absl::string_view method, const ServerParts& parts)
    : method_(method), parts_(parts), start_(absl::Now()), stop_(std::make_shared<CallStop>()) {
  Open(HeadersOf(*context));
  context->AddInitialMetadata("x-request-id", context_.request_id);
}

CallScope::CallScope(const CallHeaders& headers, absl::string_view method, const ServerParts& parts)
    : method_(method), parts_(parts), start_(absl::Now()), stop_(std::make_shared<CallStop>()) {
  Open(headers);
}

CallScope::~CallScope() {
  stop_->SetCallback(nullptr);
  if (!ended_) EndWithStatus(errors::Cancelled("the call")).IgnoreError();
}

void CallScope::Open(const CallHeaders& headers) {
  context_.request_id = IsRequestId(headers.request_id) ? headers.request_id : RandomHex(8);
  context_.authorization = headers.authorization;
  context_.deadline = headers.deadline;
  if (IsTraceparent(headers.traceparent)) {
    context_.traceparent = headers.traceparent;
    if (IsTracestate(headers.tracestate)) context_.tracestate = headers.tracestate;
  }
  context_.cancelled = [stop = stop_] { return stop->cause() != CallStop::Cause::kNone; };
  made_.store(true, std::memory_order_release);
}

absl::Status CallScope::Begin() {
  absl::StatusOr<std::string> tenant = parts_.authenticator.Authenticate(context_.authorization);
  if (!tenant.ok()) return parts_.state.draining() ? errors::Draining() : tenant.status();
  context_.tenant = *std::move(tenant);
  admitted_ = parts_.state.Admit(stop_);
  if (!admitted_) return errors::Draining();
  return context_.Check("the call");
}

absl::Status CallScope::EndWithStatus(const absl::Status& status) {
  if (ended_) return end_status_;
  ended_ = true;
  end_status_ = status;
  if (status.code() == absl::StatusCode::kCancelled) {
    if (stop_->cause() == CallStop::Cause::kDrain) {
      end_status_ = errors::Draining();
    } else if (absl::Now() >= context_.deadline) {
      end_status_ = errors::DeadlineExceeded("the call");
    }
  }
  Record(end_status_);
  if (admitted_) parts_.state.Remove(stop_);
  return end_status_;
}

grpc::Status CallScope::End(const absl::Status& status) {
  return ToGrpcStatus(EndWithStatus(status), context_.request_id);
}

void CallScope::Record(const absl::Status& status) {
  const absl::Duration took = absl::Now() - start_;
  parts_.metrics.RecordRequest(method_, status.code(), took);
  const LogLevel level = LevelOf(status.code());
  if (!parts_.log.Enabled(level)) return;
  parts_.log.Log(level, "call",
                 {{"method", method_},
                  {"code", status.ok() ? "OK" : absl::StatusCodeToString(status.code())},
                  {"reason", ErrorReason(status)},
                  {"ms", absl::ToDoubleMilliseconds(took)},
                  {"tenant", context_.tenant},
                  {"request_id", context_.request_id},
                  {"trace_id", TraceIdOf(context_.traceparent)},
                  {"error", std::string(status.message())}});
}

}  // namespace ilre
