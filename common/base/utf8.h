// UTF-8 as The Unicode Standard defines it (table 3-7): no overlong forms, no surrogates, nothing above U+10FFFF.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"

namespace ilre {

// The length in bytes (1-4) of the well-formed character at the start of `text`, or 0 where there is none: broken or
// cut off. `code_point`, when given, receives its value.
size_t Utf8CharLength(absl::string_view text, uint32_t* code_point = nullptr);

// How many bytes at the start of `text` are well-formed. Equal to text.size() for valid UTF-8.
size_t Utf8ValidPrefix(absl::string_view text);

// Whether `text`, which must not be empty, is the beginning of some well-formed character but not yet a whole one.
bool Utf8IsIncomplete(absl::string_view text);

// `text` with each byte that belongs to no well-formed character replaced by U+FFFD, a cut-off character by one.
std::string Utf8Repaired(absl::string_view text);

}  // namespace ilre
