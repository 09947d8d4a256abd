#include "common/base/errors.h"

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <utility>

#include "absl/strings/cord.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "absl/types/optional.h"

namespace ilre {
namespace {

constexpr char kReasonUrl[] = "type.ilre/reason";
constexpr char kFieldUrl[] = "type.ilre/field";
constexpr char kResourceUrl[] = "type.ilre/resource";
constexpr char kRetryUrl[] = "type.ilre/retry-ms";
constexpr char kMetadataUrl[] = "type.ilre/metadata/";  // and the key

absl::Status WithPayload(absl::Status status, absl::string_view url, absl::string_view value) {
  if (!status.ok()) status.SetPayload(url, absl::Cord(value));
  return status;
}

std::string OneLine(absl::string_view text) {
  std::string line(text);
  for (char& c : line) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = ' ';
  }
  return line;
}

}  // namespace

absl::Status MakeError(absl::StatusCode code, absl::string_view reason, absl::string_view message) {
  absl::Status status(code, OneLine(message));
  status.SetPayload(kReasonUrl, absl::Cord(reason));
  return status;
}

std::string ErrorReason(const absl::Status& status) {
  absl::optional<absl::Cord> reason = status.GetPayload(kReasonUrl);
  return reason.has_value() ? std::string(*reason) : std::string();
}

absl::Status Annotate(const absl::Status& status, absl::string_view context) {
  if (status.ok()) return status;
  absl::Status annotated(status.code(), absl::StrCat(OneLine(context), ": ", status.message()));
  status.ForEachPayload([&](absl::string_view url, const absl::Cord& payload) { annotated.SetPayload(url, payload); });
  return annotated;
}

absl::Status WithField(absl::Status status, absl::string_view field) {
  return WithPayload(std::move(status), kFieldUrl, field);
}

absl::Status WithResource(absl::Status status, absl::string_view resource) {
  return WithPayload(std::move(status), kResourceUrl, resource);
}

absl::Status WithRetryDelay(absl::Status status, absl::Duration delay) {
  return WithPayload(std::move(status), kRetryUrl, absl::StrCat(absl::ToInt64Milliseconds(delay)));
}

absl::Status WithMetadata(absl::Status status, absl::string_view key, absl::string_view value) {
  return WithPayload(std::move(status), absl::StrCat(kMetadataUrl, key), value);
}

ErrorDetails DetailsOf(const absl::Status& status) {
  ErrorDetails details;
  status.ForEachPayload([&](absl::string_view url, const absl::Cord& payload) {
    const std::string value(payload);
    int64_t milliseconds = 0;
    if (url == kFieldUrl) {
      details.field = value;
    } else if (url == kResourceUrl) {
      details.resource = value;
    } else if (url == kRetryUrl && absl::SimpleAtoi(value, &milliseconds)) {
      details.retry_delay = absl::Milliseconds(milliseconds);
    } else if (absl::ConsumePrefix(&url, kMetadataUrl)) {
      details.metadata[std::string(url)] = value;
    }
  });
  return details;
}

absl::Status ErrnoError(int error_number, absl::string_view what) {
  const std::string message = absl::StrCat(what, ": ", std::strerror(error_number));
  switch (error_number) {
    case ENOENT:
    case ENOTDIR:
      return MakeError(absl::StatusCode::kNotFound, "FILE_NOT_FOUND", message);
    case EACCES:
    case EPERM:
    case EROFS:
      return MakeError(absl::StatusCode::kPermissionDenied, "FILE_PERMISSION", message);
    case EISDIR:
      return MakeError(absl::StatusCode::kInvalidArgument, "NOT_A_FILE", message);
    case ENOSPC:
    case EDQUOT:
      return errors::DiskFull(what);
    case EMFILE:
    case ENFILE:
    case ENOMEM:
      return MakeError(absl::StatusCode::kResourceExhausted, "SYSTEM_LIMIT", message);
    default:
      return MakeError(absl::StatusCode::kInternal, "INPUT_OUTPUT", message);
  }
}

namespace errors {

absl::Status InvalidArgument(absl::string_view message) {
  return MakeError(absl::StatusCode::kInvalidArgument, "INVALID_ARGUMENT", message);
}

absl::Status InvalidField(absl::string_view field, absl::string_view what_is_wrong) {
  return WithField(InvalidArgument(absl::StrCat(field, ": ", what_is_wrong)), field);
}

absl::Status Cancelled(absl::string_view what) {
  return MakeError(absl::StatusCode::kCancelled, "CANCELLED", absl::StrCat(what, " was cancelled"));
}

absl::Status DeadlineExceeded(absl::string_view what) {
  return MakeError(absl::StatusCode::kDeadlineExceeded, "DEADLINE_EXCEEDED",
                   absl::StrCat(what, " ran past its deadline"));
}

absl::Status NotAModel(absl::string_view path, absl::string_view why) {
  return MakeError(absl::StatusCode::kInvalidArgument, "NOT_A_MODEL", absl::StrCat(path, " is not a model: ", why));
}

absl::Status BadModelFile(absl::string_view path, absl::string_view why) {
  return MakeError(absl::StatusCode::kInvalidArgument, "BAD_MODEL_FILE", absl::StrCat("model file ", path, ": ", why));
}

absl::Status DiskFull(absl::string_view what) {
  return MakeError(absl::StatusCode::kResourceExhausted, "DISK_FULL",
                   absl::StrCat(what, ": no space left on the disk"));
}

}  // namespace errors
}  // namespace ilre
