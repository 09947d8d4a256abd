// Text that may come from outside, made fit to be sent on or logged.
#pragma once

#include <cstddef>
#include <string>

#include "absl/strings/string_view.h"

namespace ilre {

// `text` as valid UTF-8 of at most `max_bytes`, cut at a character, with "..." where it was cut: control characters
// become spaces, bytes that are no UTF-8 become '?'.
std::string CleanLine(absl::string_view text, size_t max_bytes);

// `num_bytes` random bytes as lower-case hexadecimal digits; unpredictable.
std::string RandomHex(int num_bytes);

}  // namespace ilre
