#include "common/rpc/rpc_errors.h"

#include "absl/strings/str_cat.h"
#include "common/base/errors.h"

namespace ilre::errors {

absl::Status Draining() {
  return WithRetryDelay(MakeError(absl::StatusCode::kUnavailable, "DRAINING", "the server is shutting down"),
                        absl::Seconds(1));
}

absl::Status Overloaded(absl::string_view what, absl::Duration retry_delay) {
  return WithRetryDelay(MakeError(absl::StatusCode::kResourceExhausted, "OVERLOADED",
                                  absl::StrCat("too many ", what, " are waiting; try again later")),
                        retry_delay);
}

absl::Status Unauthenticated(absl::string_view why) {
  return MakeError(absl::StatusCode::kUnauthenticated, "UNAUTHENTICATED", why);
}

}  // namespace ilre::errors
