// GPT-2's way to write any bytes as printable characters: each byte is one character of the vocabulary.
#pragma once

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"

namespace ilre {

// The character for a byte, in UTF-8: itself where it is printable in Latin-1, else one from U+0100 on.
// https://github.com/openai/gpt-2/blob/master/src/encoder.py, bytes_to_unicode.
std::string ByteSpelling(uint8_t byte);

// The bytes that `spelling` writes; false where it has a character that stands for no byte.
bool DecodeByteSpelling(absl::string_view spelling, std::string* bytes);

}  // namespace ilre
