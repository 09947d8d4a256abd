#include "common/retrieval/segmenter.h"

#include <cstring>
#include <string>
#include <vector>

#include "common/base/random.h"
#include "gtest/gtest.h"

namespace ilre {
namespace {

std::vector<bool> StartsOf(const std::vector<std::string>& tokens, int max_segment = 1000, int max_indented = 0) {
  Segmenter segmenter(max_segment, max_indented);
  std::vector<bool> starts;
  for (const std::string& token : tokens) starts.push_back(segmenter.StartsSegment(token));
  return starts;
}

// The tokens, with a bar in front of each that starts a segment.
std::string Barred(const std::vector<std::string>& tokens, int max_segment = 1000, int max_indented = 0) {
  const std::vector<bool> starts = StartsOf(tokens, max_segment, max_indented);
  std::string text;
  for (size_t i = 0; i < tokens.size(); ++i) text += (starts[i] ? "|" : "") + tokens[i];
  return text;
}

bool IsSpace(char c) { return std::strchr(" \t\n\v\f\r", c) != nullptr && c != '\0'; }

// The header's rule, over the whole text: whether a boundary lies before byte `at`.
bool BoundaryBefore(const std::string& text, size_t at) {
  if (at == 0) return true;
  if (text[at - 1] == '\n') return true;
  for (const char* stop : {"。", "！", "？"}) {
    if (at >= 3 && text.compare(at - 3, 3, stop) == 0) return true;
  }
  if (at == text.size() || !IsSpace(text[at])) return false;
  size_t end = at;  // behind what closes the sentence
  while (end > 0 && std::strchr("\"')]}", text[end - 1]) != nullptr) --end;
  return end > 0 && std::strchr(".!?", text[end - 1]) != nullptr;
}

// Blanks (a tab is 8) from the beginning of the line of byte `at`, as far as there is nothing else before it.
size_t IndentAt(const std::string& text, size_t at) {
  const size_t newline = at == 0 ? std::string::npos : text.rfind('\n', at - 1);
  size_t indent = 0;
  for (size_t i = newline == std::string::npos ? 0 : newline + 1; i < at && IsSpace(text[i]); ++i) {
    indent += text[i] == ' ' ? 1 : text[i] == '\t' ? 8 : 0;
  }
  return indent;
}

std::vector<bool> PlainStarts(const std::vector<std::string>& tokens, size_t max_segment, size_t max_indented) {
  std::string text;
  for (const std::string& token : tokens) text += token;
  std::vector<bool> starts;
  size_t begin = 0, length = 0, indent = 0, unused = 0;  // boundaries from `unused` on have started no segment yet
  for (const std::string& token : tokens) {
    size_t first = 0;
    while (first < token.size() && IsSpace(token[first])) ++first;
    const size_t place = begin + first;
    bool start = starts.empty();
    if (first < token.size()) {
      bool boundary = false, sentence = false;
      for (size_t at = unused; at <= place; ++at) {
        if (!BoundaryBefore(text, at)) continue;
        boundary = true;
        const bool within_line = at > 0 && text[at - 1] != '\n';
        sentence = sentence || (within_line && text.substr(at, place - at).find('\n') == std::string::npos);
      }
      if (length != 1) {  // a segment of one token is not left yet: its boundary waits
        const bool goes_on = !sentence && length < max_indented && IndentAt(text, place) > indent;
        start = start || (boundary && !goes_on);
        unused = place + 1;
      }
    }
    const bool within_character = !token.empty() && (static_cast<uint8_t>(token[0]) & 0xC0) == 0x80;
    if (length >= max_segment && !within_character) start = true;
    if (start) indent = IndentAt(text, place);
    length = start ? 1 : length + 1;
    starts.push_back(start);
    begin += token.size();
  }
  return starts;
}

// Text of pieces that matter here, cut into tokens anywhere, also within characters.
std::vector<std::string> RandomTokens(Random* random, int num_pieces) {
  static const std::vector<std::string> kPieces = {"a",  "Bc", " ",  " ",  "\n", ".", "!",  "?",  "\"", ")", "]",
                                                   "\t", "'",  "。", "！", "？", "é", "世", "\r", "}",  "("};
  std::string text;
  for (int i = 0; i < num_pieces; ++i) text += random->Pick(kPieces);
  std::vector<std::string> tokens;
  for (size_t begin = 0; begin < text.size();) {
    const size_t size = 1 + random->Below(4);
    tokens.push_back(text.substr(begin, size));
    begin += size;
    if (random->Below(10) == 0) tokens.emplace_back();  // a token without text
  }
  return tokens;
}

TEST(SegmenterTest, CutsSentencesAndLines) {
  EXPECT_EQ(Barred({"He", " came", ".", " She", " went", "."}), "|He came.| She went.");
  EXPECT_EQ(Barred({"a", "\n", "b", "\n", "\n", "c"}), "|a\n|b\n\n|c");
  EXPECT_EQ(Barred({"Really", "?!", " Yes", "."}), "|Really?!| Yes.");
  EXPECT_EQ(Barred({"\"Go", ".\"", " He", " went", ".)", " So"}), "|\"Go.\"| He went.)| So");
}

TEST(SegmenterTest, KeepsTogetherWhatIsNoEnd) {
  EXPECT_EQ(Barred({"3", ".", "14", " and", " a", ".", "b", ",", " c"}), "|3.14 and a.b, c");
  EXPECT_EQ(Barred({"f", "(", "x", ")", " y"}), "|f(x) y");
  EXPECT_EQ(Barred({"end", ".", " "}), "|end. ");  // nothing follows yet
}

TEST(SegmenterTest, ChineseAndJapaneseNeedNoSpace) {
  EXPECT_EQ(Barred({"他", "来", "了", "。", "她", "走", "了", "！", "好", "？", "好"}), "|他来了。|她走了！|好？|好");
  EXPECT_EQ(Barred({"一", "、", "二"}), "|一、二");
  EXPECT_EQ(Barred({"一", "\xE3", "\x80", "\x82", "二"}), "|一。|二");  // a stop in three tokens
}

TEST(SegmenterTest, ATokenAcrossABoundaryBelongsToWhatItBeginsIn) {
  EXPECT_EQ(Barred({"a", ". B", " c", ".", " d"}), "|a. B| c.| d");
  EXPECT_EQ(Barred({"w ", "x\ny", " z"}), "|w x\ny| z");
}

TEST(SegmenterTest, ABoundaryAfterOneTokenWaitsForTheNext) {
  EXPECT_EQ(Barred({"x\n", "y", " z"}), "|x\ny| z");
  EXPECT_EQ(Barred({"1", "\n", "2", "\n", "3"}), "|1\n|2\n|3");
}

TEST(SegmenterTest, WhiteSpaceAtTheStartIsASegmentOfItsOwn) { EXPECT_EQ(Barred({" ", "\n", "a", "b"}), "| \n|ab"); }

TEST(SegmenterTest, CutsWhatIsTooLongButNoCharacter) {
  EXPECT_EQ(Barred({"a", "b", "c", "d", "e"}, 2), "|ab|cd|e");
  EXPECT_EQ(Barred({"a", "\xE4\xB8", "\x96", "b"}, 2), "|a世|b");
  EXPECT_EQ(Barred({"a", "b", "c"}, 1), "|a|b|c");
}

TEST(SegmenterTest, IndentedLinesGoOnWithWhatTheyBelongTo) {
  const std::vector<std::string> code = {"def", " f", ":\n", "  ", " a", "\n\n\t", "b", "\n", "def", " g", "\n ", "c"};
  EXPECT_EQ(Barred(code, 100, 50), "|def f:\n   a\n\n\tb\n|def g\n c");
  EXPECT_EQ(Barred(code, 100, 5), "|def f:\n   a\n\n\t|b\n|def g\n c") << "five are enough";
  EXPECT_EQ(Barred(code), "|def f:\n  | a\n\n\t|b\n|def g\n |c");
  EXPECT_EQ(Barred({" x", " y", "\n ", "z", "\n  ", "u", "\n", "v"}, 100, 50), "| x y\n |z\n  u\n|v") << "no deeper";
  EXPECT_EQ(Barred({"a", ".", "\n  ", "b", ".", " C", " d", "\n  ", "e"}, 100, 50), "|a.\n  b.| C d\n  |e");
}

TEST(SegmenterTest, EqualsItsRuleOnRandomText) {
  Random random(3);
  for (int round = 0; round < 3000; ++round) {
    const std::vector<std::string> tokens = RandomTokens(&random, 40);
    const int max_segment = static_cast<int>(1 + random.Below(20));
    const int max_indented = static_cast<int>(random.Below(3)) * max_segment / 2;
    ASSERT_EQ(StartsOf(tokens, max_segment, max_indented),
              PlainStarts(tokens, static_cast<size_t>(max_segment), static_cast<size_t>(max_indented)))
        << Barred(tokens, max_segment, max_indented);
  }
}

TEST(SegmenterTest, WhatComesLaterChangesNothing) {
  Random random(4);
  for (int round = 0; round < 300; ++round) {
    std::vector<std::string> tokens = RandomTokens(&random, 30), other = RandomTokens(&random, 30);
    const size_t common = random.Below(tokens.size() + 1);
    other.insert(other.begin(), tokens.begin(), tokens.begin() + static_cast<long>(common));
    const std::vector<bool> starts = StartsOf(tokens, 7, 5), other_starts = StartsOf(other, 7, 5);
    for (size_t i = 0; i < common; ++i) ASSERT_EQ(starts[i], other_starts[i]);
  }
}

TEST(SegmenterTest, GoesOnFromItsState) {
  Random random(5);
  for (int round = 0; round < 300; ++round) {
    const std::vector<std::string> tokens = RandomTokens(&random, 30);
    const std::vector<bool> whole = StartsOf(tokens, 7, 5);
    Segmenter::State state;
    for (size_t i = 0; i < tokens.size(); ++i) {
      Segmenter restored(7, 5, state);
      ASSERT_EQ(restored.StartsSegment(tokens[i]), whole[i]);
      state = restored.state();
    }
  }
}

}  // namespace
}  // namespace ilre
