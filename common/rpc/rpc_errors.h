// Failures that come from serving calls rather than from what a call asks for.
#pragma once

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace ilre::errors {

// UNAVAILABLE DRAINING: the server shuts down; another one, or this one restarted, will answer. With a delay.
absl::Status Draining();

// RESOURCE_EXHAUSTED OVERLOADED: no place to wait for `what` ("questions"). With a delay.
absl::Status Overloaded(absl::string_view what, absl::Duration retry_delay = absl::Seconds(1));

// UNAUTHENTICATED UNAUTHENTICATED. `why` must not contain anything of the token.
absl::Status Unauthenticated(absl::string_view why);

}  // namespace ilre::errors
