// Letters, numbers and spaces as the pre-tokenizers' patterns know them (\p{L}, \p{N}, \s).
#pragma once

#include <array>
#include <cstdint>

namespace ilre {

// Which numbers count: those of \p{N}, or those of the `tokenizers` library's Digits rule, which follows a newer
// Unicode.
enum class NumberRule { kPattern, kDigits };

// Thread-safe: constant.
enum class CharClass : uint8_t {
  kOther = 0,  // also every byte that is part of no well-formed character
  kLetter = 1,
  kNumber = 2,
  kSpace = 3,
  kEnd = 4,       // there is no character: used by scanners for the end of the text
  kNonAscii = 5,  // only in AsciiCharClasses
};

// By byte; kNonAscii from 0x80.
extern const std::array<CharClass, 256> kAsciiCharClasses;

// code_point: below 0x110000.
CharClass CharClassOf(uint32_t code_point, NumberRule rule);

}  // namespace ilre
