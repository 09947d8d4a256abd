// Random text for tests of tokenizers: of all that makes them stumble.
#pragma once

#include <string>
#include <vector>

#include "common/base/random.h"

namespace ilre {

inline std::string Utf8Of(uint32_t c) {
  if (c < 0x80) return {static_cast<char>(c)};
  const char last = static_cast<char>(0x80 | (c & 0x3F)), third = static_cast<char>(0x80 | (c >> 6 & 0x3F));
  if (c < 0x800) return {static_cast<char>(0xC0 | c >> 6), last};
  if (c < 0x10000) return {static_cast<char>(0xE0 | c >> 12), third, last};
  return {static_cast<char>(0xF0 | c >> 18), static_cast<char>(0x80 | (c >> 12 & 0x3F)), third, last};
}

// Words, runs of white space, digits, contractions, several scripts, emoji, and, if `broken`, bytes that are no UTF-8.
inline std::string RandomText(Random* random, size_t num_pieces, bool broken) {
  static const std::vector<std::string> kPieces = {
      " ",
      "  ",
      "\n",
      "\r\n",
      "\t",
      "\u00a0",
      "\u3000",
      "\u2003",
      "a",
      "the",
      " quick",
      "ing",
      "Zz",
      "'s",
      "'ll",
      "'R",
      "'E",
      "'re",
      "'\u017f",
      "'",
      "\u2019",
      "1",
      "42",
      "2024",
      "\u0663",
      "\u00bd",
      "!",
      "?!",
      "...",
      "_",
      "({[",
      "\u00e9",
      "\u00df",
      "\u0434\u0430",
      "\u65e5\u672c",
      "\ud55c",
      "\u05d0",
      "\u0939\u093f",
      "\u0e44",
      "\U0001F600",
      "\U0001F469\u200d\U0001F467",
      "e\u0301",
      "\u2581",
      "\ufffd",
      "\xef\xbb\xbf",
      "\x04",
      "<|im_end|>",
      "</s>",
      "\U00010330",
      "\U00011de0",
      "\U000e0001",
  };
  static const std::vector<std::string> kBroken = {"\x80", "\xff",         "\xe2\x82", "\xf0\x9f\x98",
                                                   "\xc3", "\xed\xa0\x80", "\xc0\xaf"};
  std::string text;
  for (size_t i = 0; i < num_pieces; ++i) {
    std::string piece = random->Pick(broken && random->Below(8) == 0 ? kBroken : kPieces);
    const uint64_t repeats = random->Below(12) == 0 ? 1 + random->Below(30) : 1;
    for (uint64_t n = 0; n < repeats; ++n) text += piece;
  }
  return text;
}

}  // namespace ilre
