// Every failure that a user can meet has a name and one constructor, here or beside its component, all made by
// MakeError.
//
// The name (the "reason") travels as a payload of the status, so that a transport can put it into its error details and
// a test can ask for it, without either parsing the message.
#pragma once

#include <map>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace ilre {

// A status of `code` with `reason` (UPPER_SNAKE_CASE, stable for ever) and a message of one line for people. Control
// characters in `message` are replaced, since parts of it may come from outside.
absl::Status MakeError(absl::StatusCode code, absl::string_view reason, absl::string_view message);

// The reason given to MakeError; empty for other statuses.
std::string ErrorReason(const absl::Status& status);

// The same error with `context` and ": " in front of its message; code and payloads stay.
absl::Status Annotate(const absl::Status& status, absl::string_view context);

// Details of an error, for a transport to put into its own form. Each returns `status` with the detail added; on an OK
// status they do nothing. The getters give what was added last, or empty.
struct ErrorDetails {
  std::string field;                            // path of the request's field that is wrong, for example sampling.top_p
  std::string resource;                         // name of the document it is about
  absl::Duration retry_delay;                   // trying again after this long helps; zero: not said
  std::map<std::string, std::string> metadata;  // figures that the message also says
};
absl::Status WithField(absl::Status status, absl::string_view field);
absl::Status WithResource(absl::Status status, absl::string_view resource);
absl::Status WithRetryDelay(absl::Status status, absl::Duration delay);
absl::Status WithMetadata(absl::Status status, absl::string_view key, absl::string_view value);
ErrorDetails DetailsOf(const absl::Status& status);

// INTERNAL/UNAVAILABLE/NOT_FOUND/... for an errno of the operating system, naming `what` (an operation on a path).
// ENOSPC and EDQUOT become RESOURCE_EXHAUSTED with reason DISK_FULL.
absl::Status ErrnoError(int error_number, absl::string_view what);

namespace errors {

absl::Status InvalidArgument(absl::string_view message);
// The same about one field of a request.
absl::Status InvalidField(absl::string_view field, absl::string_view what_is_wrong);
absl::Status Cancelled(absl::string_view what);
absl::Status DeadlineExceeded(absl::string_view what);

// A file that is not what its reader expects: not that kind at all, or of that kind but broken.
absl::Status NotAModel(absl::string_view path, absl::string_view why);
absl::Status BadModelFile(absl::string_view path, absl::string_view why);

absl::Status DiskFull(absl::string_view what);

}  // namespace errors
}  // namespace ilre
