#include "common/base/utf8.h"
#include "absl/strings/string_view.h"

#include <string>

#include "gtest/gtest.h"

namespace ilre {
namespace {

std::string Encode(uint32_t c) {
  std::string s;
  if (c < 0x80) {
    s += static_cast<char>(c);
  } else if (c < 0x800) {
    s += static_cast<char>(0xC0 | c >> 6);
    s += static_cast<char>(0x80 | (c & 0x3F));
  } else if (c < 0x10000) {
    s += static_cast<char>(0xE0 | c >> 12);
    s += static_cast<char>(0x80 | (c >> 6 & 0x3F));
    s += static_cast<char>(0x80 | (c & 0x3F));
  } else {
    s += static_cast<char>(0xF0 | c >> 18);
    s += static_cast<char>(0x80 | (c >> 12 & 0x3F));
    s += static_cast<char>(0x80 | (c >> 6 & 0x3F));
    s += static_cast<char>(0x80 | (c & 0x3F));
  }
  return s;
}

TEST(Utf8Test, EveryCodePoint) {
  for (uint32_t c = 0; c <= 0x110000; ++c) {
    const bool valid = c < 0x110000 && (c < 0xD800 || c > 0xDFFF);
    uint32_t decoded = 0;
    const std::string encoded = Encode(c);
    ASSERT_EQ(Utf8CharLength(encoded, &decoded), valid ? encoded.size() : 0) << c;
    if (valid) {
      ASSERT_EQ(decoded, c);
      for (size_t n = 1; n < encoded.size(); ++n) {
        ASSERT_EQ(Utf8CharLength(absl::string_view(encoded).substr(0, n)), 0u);
        ASSERT_TRUE(Utf8IsIncomplete(absl::string_view(encoded).substr(0, n)));
      }
    }
  }
}

TEST(Utf8Test, BrokenForms) {
  for (const char* bad : {"\x80", "\xC0\x80", "\xC1\xBF", "\xE0\x80\x80", "\xF5\x80\x80\x80", "\xFF"}) {
    EXPECT_EQ(Utf8CharLength(bad), 0u);
    EXPECT_FALSE(Utf8IsIncomplete(bad));
  }
}

TEST(Utf8Test, ValidPrefixStopsAtTheFirstBadByte) {
  const std::string good = "plain ascii of some length, \xC3\xA9t\xC3\xA9, \xE6\x97\xA5\xE6\x9C\xAC";
  EXPECT_EQ(Utf8ValidPrefix(good), good.size());
  for (size_t at = 0; at <= good.size(); ++at) {
    if (at < good.size() && (good[at] & 0xC0) == 0x80) continue;
    std::string bad = good;
    bad.insert(at, "\xFF");
    EXPECT_EQ(Utf8ValidPrefix(bad), at);
  }
}

TEST(Utf8Test, RepairedTextIsValidAndKeepsWhatWas) {
  EXPECT_EQ(Utf8Repaired("gr\xC3\xBC\xC3\x9F"), "gr\xC3\xBC\xC3\x9F");
  EXPECT_EQ(Utf8Repaired("a\xFFz"), "a\xEF\xBF\xBDz");
  EXPECT_EQ(Utf8Repaired("a\xF0\x9F\x98"), "a\xEF\xBF\xBD");  // a character cut at the end is one
  EXPECT_EQ(Utf8Repaired("\x98\x80z"), "\xEF\xBF\xBD\xEF\xBF\xBDz");
  EXPECT_EQ(Utf8Repaired(""), "");
}

}  // namespace
}  // namespace ilre
