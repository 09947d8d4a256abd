#include "common/model/pre_tokenizer.h"

#include <algorithm>
#include <string>
#include <vector>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "absl/strings/string_view.h"
#include "common/base/random.h"
#include "common/base/utf8.h"
#include "common/model/test_texts.h"
#include "gtest/gtest.h"

namespace ilre {
namespace {

constexpr char kGpt2Pattern[] = R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
// (?i:'s) of PCRE2 does not match U+017F in the same way in all versions; the tokenizers library's engine does.
constexpr char kLlama3Pattern[] =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|'ſ|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr char kQwen2Pattern[] =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|'ſ|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

constexpr PreTokenizerKind kAllKinds[] = {PreTokenizerKind::kGpt2, PreTokenizerKind::kSmolLm, PreTokenizerKind::kLlama3,
                                          PreTokenizerKind::kQwen2};

// Splits valid UTF-8 by a regular expression: the oracle.
class Regex {
 public:
  explicit Regex(const char* pattern) {
    int error = 0;
    PCRE2_SIZE offset = 0;
    code_ = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern), PCRE2_ZERO_TERMINATED, PCRE2_UTF | PCRE2_UCP, &error,
                          &offset, nullptr);
    EXPECT_NE(code_, nullptr) << error << " at " << offset;
    match_ = pcre2_match_data_create_from_pattern(code_, nullptr);
  }
  ~Regex() {
    pcre2_match_data_free(match_);
    pcre2_code_free(code_);
  }
  // The end of the match at or behind `begin`, and where it begins; false if there is none.
  bool Find(absl::string_view text, size_t begin, size_t* match_begin, size_t* match_end) const {
    const int count =
        pcre2_match(code_, reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), begin, 0, match_, nullptr);
    if (count <= 0) return false;
    *match_begin = pcre2_get_ovector_pointer(match_)[0];
    *match_end = pcre2_get_ovector_pointer(match_)[1];
    return true;
  }
  bool Matches(absl::string_view text) const {
    size_t begin = 0, end = 0;
    return Find(text, 0, &begin, &end) && begin == 0 && end == text.size();
  }

 private:
  pcre2_code* code_;
  pcre2_match_data* match_;
};

std::vector<std::string> SplitBy(const Regex& regex, absl::string_view text) {
  std::vector<std::string> words;
  for (size_t begin = 0; begin < text.size();) {
    size_t match_begin = text.size(), match_end = text.size();
    regex.Find(text, begin, &match_begin, &match_end);
    if (match_begin > begin) words.emplace_back(text.substr(begin, match_begin - begin));
    if (match_end > match_begin) words.emplace_back(text.substr(match_begin, match_end - match_begin));
    begin = match_end;
  }
  return words;
}

std::vector<std::string> Expected(PreTokenizerKind kind, absl::string_view text) {
  static const Regex* gpt2 = new Regex(kGpt2Pattern);
  static const Regex* llama3 = new Regex(kLlama3Pattern);
  static const Regex* qwen2 = new Regex(kQwen2Pattern);
  static const Regex* number = new Regex(R"(\p{N}|\x{11DE0})");
  if (kind == PreTokenizerKind::kGpt2) return SplitBy(*gpt2, text);
  if (kind == PreTokenizerKind::kLlama3) return SplitBy(*llama3, text);
  if (kind == PreTokenizerKind::kQwen2) return SplitBy(*qwen2, text);
  std::vector<std::string> words;
  for (const std::string& part : SplitBy(*number, text)) {
    if (number->Matches(part)) {
      words.push_back(part);
    } else {
      for (std::string& word : SplitBy(*gpt2, part)) words.push_back(std::move(word));
    }
  }
  return words;
}

std::vector<std::string> Words(PreTokenizerKind kind, absl::string_view text) {
  std::vector<std::string> words;
  WordScanner scanner(kind, text);
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = scanner.Next(begin).end;
    EXPECT_GT(end, begin);
    words.emplace_back(text.substr(begin, end - begin));
    begin = end;
  }
  return words;
}

TEST(PreTokenizerTest, EqualsTheRegularExpressions) {
  Random random(1);
  for (int round = 0; round < 4000; ++round) {
    // To PCRE2, whose Unicode is older, U+11DE0 is no number in any pattern; it is one to SmolLM's rule alone.
    const std::string text = RandomText(&random, 1 + random.Below(40), /*broken=*/false);
    for (PreTokenizerKind kind : kAllKinds) ASSERT_EQ(Words(kind, text), Expected(kind, text)) << text;
  }
}

TEST(PreTokenizerTest, ClassesAreThoseOfUnicode) {
  // Where PCRE2's older Unicode knows a character, the classes agree.
  const Regex unassigned(R"(\p{Cn})"), letter(R"(\p{L})"), number(R"(\p{N})"), space(R"(\s)");
  int newer = 0;
  for (uint32_t c = 0; c < 0x110000; ++c) {
    if (c >= 0xD800 && c < 0xE000) continue;
    const std::string text = Utf8Of(c);
    const CharClass expected = letter.Matches(text)   ? CharClass::kLetter
                               : number.Matches(text) ? CharClass::kNumber
                               : space.Matches(text)  ? CharClass::kSpace
                                                      : CharClass::kOther;
    if (CharClassOf(c, NumberRule::kPattern) == expected) continue;
    if (c == 0x180E) continue;  // was a space until Unicode 6.3, and still is to PCRE2
    ASSERT_TRUE(unassigned.Matches(text)) << std::hex << c;
    ++newer;
  }
  EXPECT_LT(newer, 20000);
  EXPECT_EQ(CharClassOf(0x11DE0, NumberRule::kPattern), CharClass::kOther);
  EXPECT_EQ(CharClassOf(0x11DE0, NumberRule::kDigits), CharClass::kNumber);
  for (uint32_t c = 0; c < 0x80; ++c) EXPECT_EQ(kAsciiCharClasses[c], CharClassOf(c, NumberRule::kPattern));
}

TEST(PreTokenizerTest, BrokenBytesAreWordsAsReplacementCharactersAre) {
  Random random(2);
  for (int round = 0; round < 2000; ++round) {
    const std::string text = RandomText(&random, 30, /*broken=*/true);
    for (PreTokenizerKind kind : kAllKinds) {
      std::string replaced;
      std::vector<size_t> ends;
      for (const std::string& word : Words(kind, text)) {
        for (absl::string_view rest = word; !rest.empty();) {
          const size_t length = Utf8CharLength(rest);
          replaced += length == 0 ? "\ufffd" : std::string(rest.substr(0, length));
          rest.remove_prefix(std::max<size_t>(length, 1));
        }
        ends.push_back(replaced.size());
      }
      size_t at = 0, end = 0;
      for (const std::string& word : Expected(kind, replaced)) {
        end += word.size();
        ASSERT_EQ(ends[at++], end);
      }
    }
  }
}

TEST(PreTokenizerTest, LongWordsAreCutBetweenCharacters) {
  for (PreTokenizerKind kind : kAllKinds) {
    for (const char* unit : {"a", "\u65e5", "!", " ", "\n", "\u3000"}) {
      std::string text;
      while (text.size() < 3 * kMaxWordBytes) text += unit;
      for (const std::string& word : Words(kind, text)) {
        EXPECT_LE(word.size(), kMaxWordBytes);
        EXPECT_EQ(word.size() % std::string(unit).size(), 0u);
      }
    }
  }
}

TEST(PreTokenizerTest, CertainBreaksAreWordBeginnings) {
  Random random(3);
  int found = 0;
  for (int round = 0; round < 2000; ++round) {
    const std::string text = RandomText(&random, 30, round % 2 == 0);
    const size_t at = LastCertainBreak(text);
    if (at == 0) continue;
    ++found;
    for (PreTokenizerKind kind : kAllKinds) {
      WordScanner scanner(kind, text);
      size_t end = 0;
      while (end < at) end = scanner.Next(end).end;
      EXPECT_EQ(end, at) << text;
    }
  }
  EXPECT_GT(found, 1000);
}

}  // namespace
}  // namespace ilre
