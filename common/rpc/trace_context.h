// W3C trace context (https://www.w3.org/TR/trace-context/): checked when it arrives, passed on with a new parent.
#pragma once

#include <string>

#include "absl/strings/string_view.h"

namespace ilre {

// Whether `header` is a traceparent of version 00, or of a later one with the same beginning.
bool IsTraceparent(absl::string_view header);
// Whether `header` may be passed on: at most 512 printable characters.
bool IsTracestate(absl::string_view header);

// The 32 hexadecimal digits that all spans of a trace share; empty for an empty traceparent.
absl::string_view TraceIdOf(absl::string_view traceparent);
// `traceparent`, which must be valid, for a call made on its behalf: the same trace and flags, a new parent.
std::string ChildTraceparent(absl::string_view traceparent);

}  // namespace ilre
