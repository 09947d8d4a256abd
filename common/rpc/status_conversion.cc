#include "common/rpc/status_conversion.h"

#include <algorithm>
#include <cstdint>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/time/time.h"
#include "common/base/errors.h"
#include "common/rpc/text.h"
#include "google/rpc/error_details.pb.h"

namespace ilre {
namespace {

// A message travels three times: percent-encoded as grpc-message (three bytes for one, at worst), in the details, and
// as the description of a field. With these limits the trailers stay under 8 KiB.
constexpr size_t kMaxMessageBytes = 700;
constexpr size_t kMaxReasonBytes = 63;  // AIP-193
constexpr size_t kMaxNameBytes = 200;
constexpr size_t kMaxMetadataBytes = 1000;  // keys and values together

constexpr absl::Duration kMaxRetryDelay = absl::Hours(24);

absl::StatusCode CodeOf(int64_t code) {
  const bool exists = code >= 0 && code <= static_cast<int64_t>(absl::StatusCode::kUnauthenticated);
  return exists ? static_cast<absl::StatusCode>(code) : absl::StatusCode::kUnknown;
}

google::rpc::ErrorInfo ErrorInfoOf(const absl::Status& status, const ErrorDetails& details) {
  google::rpc::ErrorInfo info;
  const std::string reason = ErrorReason(status);
  info.set_reason(reason.empty() ? absl::StatusCodeToString(status.code()) : CleanLine(reason, kMaxReasonBytes));
  info.set_domain(kErrorDomain);
  size_t room = kMaxMetadataBytes;
  for (const auto& [key, value] : details.metadata) {
    const std::string clean_key = CleanLine(key, kMaxNameBytes), clean_value = CleanLine(value, kMaxNameBytes);
    if (clean_key.size() + clean_value.size() > room) break;
    room -= clean_key.size() + clean_value.size();
    (*info.mutable_metadata())[clean_key] = clean_value;
  }
  return info;
}

google::protobuf::Duration ToProto(absl::Duration duration) {
  google::protobuf::Duration proto;
  absl::Duration rest;
  proto.set_seconds(absl::IDivDuration(duration, absl::Seconds(1), &rest));
  proto.set_nanos(static_cast<int32_t>(absl::ToInt64Nanoseconds(rest)));
  return proto;
}

// What one detail adds to `status`; nothing for kinds we do not know and for what cannot be read.
absl::Status WithDetail(absl::Status status, const google::protobuf::Any& detail) {
  if (google::rpc::BadRequest bad; detail.Is<google::rpc::BadRequest>() && detail.UnpackTo(&bad)) {
    if (bad.field_violations_size() == 0) return status;
    return WithField(std::move(status), CleanLine(bad.field_violations(0).field(), kMaxNameBytes));
  }
  if (google::rpc::ResourceInfo resource; detail.Is<google::rpc::ResourceInfo>() && detail.UnpackTo(&resource)) {
    return WithResource(std::move(status), CleanLine(resource.resource_name(), kMaxNameBytes));
  }
  if (google::rpc::RetryInfo retry; detail.Is<google::rpc::RetryInfo>() && detail.UnpackTo(&retry)) {
    const absl::Duration delay =
        absl::Seconds(retry.retry_delay().seconds()) + absl::Nanoseconds(retry.retry_delay().nanos());
    if (delay <= absl::ZeroDuration()) return status;
    return WithRetryDelay(std::move(status), std::min(delay, kMaxRetryDelay));
  }
  if (google::rpc::ErrorInfo info; detail.Is<google::rpc::ErrorInfo>() && detail.UnpackTo(&info)) {
    if (info.domain() != kErrorDomain) return status;
    size_t room = kMaxMetadataBytes;
    for (const auto& [key, value] : info.metadata()) {
      if (key.size() + value.size() > room) continue;
      room -= key.size() + value.size();
      status = WithMetadata(std::move(status), CleanLine(key, kMaxNameBytes), CleanLine(value, kMaxNameBytes));
    }
  }
  return status;
}

bool IsReason(absl::string_view reason) {
  return !reason.empty() && reason.size() <= kMaxReasonBytes && std::all_of(reason.begin(), reason.end(), [](char c) {
    return absl::ascii_isupper(c) || absl::ascii_isdigit(c) || c == '_';
  });
}

std::string ReasonOf(const google::rpc::Status& status) {
  for (const google::protobuf::Any& detail : status.details()) {
    google::rpc::ErrorInfo info;
    if (detail.Is<google::rpc::ErrorInfo>() && detail.UnpackTo(&info) && info.domain() == kErrorDomain &&
        IsReason(info.reason())) {
      return info.reason();
    }
  }
  return absl::StatusCodeToString(CodeOf(status.code()));
}

}  // namespace

google::rpc::Status ToRpcStatus(const absl::Status& status, absl::string_view request_id) {
  google::rpc::Status proto;
  if (status.ok()) return proto;
  proto.set_code(static_cast<int>(CodeOf(static_cast<int64_t>(status.raw_code()))));
  proto.set_message(CleanLine(status.message(), kMaxMessageBytes));
  const ErrorDetails details = DetailsOf(status);
  proto.add_details()->PackFrom(ErrorInfoOf(status, details));
  if (!details.field.empty()) {
    google::rpc::BadRequest bad;
    bad.add_field_violations()->set_field(CleanLine(details.field, kMaxNameBytes));
    bad.mutable_field_violations(0)->set_description(proto.message());
    proto.add_details()->PackFrom(bad);
  }
  if (!details.resource.empty()) {
    google::rpc::ResourceInfo resource;
    resource.set_resource_type("ilre.v1.Document");
    resource.set_resource_name(CleanLine(details.resource, kMaxNameBytes));
    proto.add_details()->PackFrom(resource);
  }
  if (details.retry_delay > absl::ZeroDuration()) {
    google::rpc::RetryInfo retry;
    *retry.mutable_retry_delay() = ToProto(std::min(details.retry_delay, kMaxRetryDelay));
    proto.add_details()->PackFrom(retry);
  }
  if (!request_id.empty()) {
    google::rpc::RequestInfo request;
    request.set_request_id(CleanLine(request_id, kMaxNameBytes));
    proto.add_details()->PackFrom(request);
  }
  return proto;
}

grpc::Status ToGrpcStatus(const absl::Status& status, absl::string_view request_id) {
  if (status.ok()) return grpc::Status::OK;
  const google::rpc::Status proto = ToRpcStatus(status, request_id);
  return grpc::Status(static_cast<grpc::StatusCode>(proto.code()), proto.message(), proto.SerializeAsString());
}

absl::Status FromRpcStatus(const google::rpc::Status& proto) {
  const absl::StatusCode code = CodeOf(proto.code());
  if (code == absl::StatusCode::kOk) return absl::OkStatus();
  absl::Status status = MakeError(code, ReasonOf(proto), CleanLine(proto.message(), kMaxMessageBytes));
  for (const google::protobuf::Any& detail : proto.details()) status = WithDetail(std::move(status), detail);
  return status;
}

absl::Status FromGrpcStatus(const grpc::Status& status) {
  if (status.ok()) return absl::OkStatus();
  google::rpc::Status proto;
  if (!proto.ParseFromString(status.error_details())) proto.Clear();
  proto.set_code(static_cast<int>(CodeOf(status.error_code())));
  // grpc's message is the one for people; the details repeat it, or come from somebody else.
  proto.set_message(CleanLine(status.error_message(), kMaxMessageBytes));
  return FromRpcStatus(proto);
}

int HttpStatusCode(absl::StatusCode code) {
  switch (code) {
    case absl::StatusCode::kOk:
      return 200;
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kOutOfRange:
      return 400;
    case absl::StatusCode::kUnauthenticated:
      return 401;
    case absl::StatusCode::kPermissionDenied:
      return 403;
    case absl::StatusCode::kNotFound:
      return 404;
    case absl::StatusCode::kAlreadyExists:
    case absl::StatusCode::kAborted:
      return 409;
    case absl::StatusCode::kResourceExhausted:
      return 429;
    case absl::StatusCode::kCancelled:
      return 499;
    case absl::StatusCode::kUnimplemented:
      return 501;
    case absl::StatusCode::kUnavailable:
      return 503;
    case absl::StatusCode::kDeadlineExceeded:
      return 504;
    default:
      return 500;
  }
}

}  // namespace ilre
