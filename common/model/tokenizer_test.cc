// Every kind of tokenizer against the ids that the libraries of their origin give (tests/tokenizer/make_golden.py), and
// what must hold for each of them.

#include "common/model/tokenizer.h"

#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "common/base/errors.h"
#include "common/base/file.h"
#include "common/base/random.h"
#include "common/base/test_matchers.h"
#include "common/base/utf8.h"
#include "common/model/pre_tokenizer.h"
#include "common/model/test_texts.h"
#include "common/model/tokenizer_files.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

namespace ilre {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::string Folder(const std::string& name) { return "tests/tokenizer/golden/" + name; }

class GoldenTokenizerTest : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    ILRE_ASSERT_OK_AND_ASSIGN(TokenizerSpec spec, TokenizerSpecFromFolder(Folder(GetParam())));
    ILRE_ASSERT_OK_AND_ASSIGN(tokenizer_, Tokenizer::Create(std::move(spec)));
  }
  // What comes back of a text: without bytes that the vocabulary lacks, and with the space that SentencePiece adds.
  std::string Expected(absl::string_view text) const {
    const TokenizerSpec& spec = tokenizer_->spec();
    std::string expected;
    if (spec.add_space_prefix && !text.empty() && !(spec.space_prefix_if_missing && text[0] == ' ')) expected = " ";
    for (char c : text) {
      if (spec.kind == TokenizerKind::kSentencePiece || HasByte(c)) expected += c;
    }
    return expected;
  }
  bool HasByte(char c) const {
    return absl::string_view(GetParam()) != "smollm" ||
           absl::string_view("\x04\x06\x16\xc0\xf1\xff").find(c) == absl::string_view::npos;
  }
  // As a stream of pieces is encoded; `sizes` are asked for one after the other.
  template <typename Sizes>
  Tokens Stream(absl::string_view text, const Sizes& next_size) const {
    Tokens all;
    TextPosition position = TextPosition::kStart;
    std::string buffer;
    size_t done = 0;
    const auto encode = [&](size_t size) {
      const Tokens tokens = tokenizer_->Encode(buffer.substr(0, size), SpecialTokens::kPlainText, position);
      all.ids.insert(all.ids.end(), tokens.ids.begin(), tokens.ids.end());
      for (uint32_t end : tokens.ends) all.ends.push_back(done + end);
      buffer.erase(0, size);
      done += size;
      position = TextPosition::kContinued;
    };
    for (size_t at = 0; at < text.size();) {
      const absl::string_view piece = text.substr(at, next_size());
      buffer.append(piece.data(), piece.size());
      at += piece.size();
      while (const size_t safe = tokenizer_->SafePrefix(buffer)) encode(safe);
      EXPECT_LE(buffer.size(), 64u * 1024);
    }
    if (!buffer.empty()) encode(buffer.size());
    return all;
  }

  std::unique_ptr<Tokenizer> tokenizer_;
};

INSTANTIATE_TEST_SUITE_P(All, GoldenTokenizerTest,
                         ::testing::Values("gpt2", "smollm", "llama3", "qwen2", "sentencepiece", "llama2", "metaspace",
                                           "gemma", "gemma_json"),
                         [](const auto& info) { return std::string(info.param); });

TEST_P(GoldenTokenizerTest, IdsAreThoseOfTheLibrary) {
  ILRE_ASSERT_OK_AND_ASSIGN(const std::string cases, ReadFile(Folder(GetParam()) + "/cases.json", 1 << 20));
  const nlohmann::json json = nlohmann::json::parse(cases);
  EXPECT_GT(json.size(), 50u);
  for (const auto& item : json) {
    EXPECT_EQ(tokenizer_->EncodeIds(item["text"].get<std::string>()), item["ids"].get<std::vector<TokenId>>())
        << item["text"];
  }
}

TEST_P(GoldenTokenizerTest, AnyBytesComeBackAndOffsetsAreExact) {
  Random random(1);
  for (int round = 0; round < 500; ++round) {
    const std::string text = RandomText(&random, random.Below(60), /*broken=*/true);
    const Tokens tokens = tokenizer_->Encode(text);
    ASSERT_EQ(tokens.ids.size(), tokens.ends.size());
    ASSERT_EQ(tokenizer_->Decode(tokens.ids), Expected(text)) << text;
    if (!tokens.ends.empty()) {
      ASSERT_EQ(tokens.ends.back(), text.size());
    }
    size_t begin = 0;
    for (size_t i = 0; i < tokens.ids.size(); ++i) {
      std::string span;
      for (char c : text.substr(begin, tokens.ends[i] - begin)) {
        if (tokenizer_->spec().kind == TokenizerKind::kSentencePiece || HasByte(c)) span += c;
      }
      if (i == 0 && Expected(text).size() > text.size()) span = " " + span;
      ASSERT_EQ(tokenizer_->TokenBytes(tokens.ids[i]), span) << text;
      begin = tokens.ends[i];
    }
  }
}

TEST_P(GoldenTokenizerTest, StreamsGiveTheSameTokensHoweverTheyAreCut) {
  Random random(2);
  for (int round = 0; round < 400; ++round) {
    const std::string text = RandomText(&random, random.Below(200), /*broken=*/true);
    const Tokens whole = tokenizer_->Encode(text);
    const uint64_t most = 1 + random.Below(40);
    const Tokens streamed = Stream(text, [&] { return 1 + random.Below(most); });
    ASSERT_EQ(streamed.ids, whole.ids) << text;
    ASSERT_EQ(streamed.ends, whole.ends) << text;
  }
}

TEST_P(GoldenTokenizerTest, EndlessWordsStream) {
  Random random(3);
  for (const char* unit : {"a", "an", "\u65e5", " ", "\n", "\t", "!", "\u3000", "\x04", "\xe2"}) {
    std::string text = random.Below(2) == 0 ? "x" : "";
    while (text.size() < 200'000) text += unit;
    text += "1 end";
    const Tokens whole = tokenizer_->Encode(text);
    const Tokens streamed = Stream(text, [&] { return 1000 + random.Below(30000); });
    ASSERT_EQ(streamed.ids, whole.ids) << unit;
  }
}

TEST_P(GoldenTokenizerTest, ControlTokensOnlyWhereAskedFor) {
  std::string control = "<|im_end|>";
  for (const char* end : {"</s>", "<eos>"}) control = tokenizer_->FindToken(end) >= 0 ? end : control;
  const TokenId id = tokenizer_->FindToken(control);
  ASSERT_TRUE(tokenizer_->IsControl(id));
  EXPECT_EQ(tokenizer_->TokenBytes(id), "");
  EXPECT_TRUE(tokenizer_->IsStop(id));
  const std::string text = "in" + control + "the";
  for (TokenId plain : tokenizer_->EncodeIds(text)) EXPECT_FALSE(tokenizer_->IsControl(plain));
  const Tokens parsed = tokenizer_->Encode(text, SpecialTokens::kParse);
  std::vector<TokenId> expected = tokenizer_->EncodeIds("in");
  EXPECT_EQ(parsed.ends[expected.size()], 2 + control.size());
  expected.push_back(id);
  const bool prefix = tokenizer_->spec().add_space_prefix && !tokenizer_->spec().space_prefix_if_missing;
  for (TokenId rest : tokenizer_->EncodeIds("the", SpecialTokens::kPlainText,
                                            prefix ? TextPosition::kStart : TextPosition::kContinued)) {
    expected.push_back(rest);
  }
  EXPECT_EQ(parsed.ids, expected);
  EXPECT_EQ(parsed.ends.back(), text.size());
}

TEST_P(GoldenTokenizerTest, FingerprintNamesWhatIdsDependOn) {
  TokenizerSpec spec = tokenizer_->spec();
  spec.chat_template = "another";
  spec.stop_ids.clear();
  ILRE_ASSERT_OK_AND_ASSIGN(const auto same, Tokenizer::Create(spec));
  EXPECT_EQ(same->fingerprint(), tokenizer_->fingerprint());
  EXPECT_EQ(same->fingerprint().size(), 16u);
  spec.merges.empty() ? void(spec.scores.back() -= 1) : spec.merges.pop_back();
  ILRE_ASSERT_OK_AND_ASSIGN(const auto other, Tokenizer::Create(spec));
  EXPECT_NE(other->fingerprint(), tokenizer_->fingerprint());
}

TEST(TokenizerTest, FingerprintIsTheSameInEveryProcess) {
  ILRE_ASSERT_OK_AND_ASSIGN(TokenizerSpec spec, TokenizerSpecFromFolder(Folder("gpt2")));
  ILRE_ASSERT_OK_AND_ASSIGN(const auto tokenizer, Tokenizer::Create(std::move(spec)));
  EXPECT_EQ(tokenizer->fingerprint(), "4153cda365f6dc05");
}

TEST(TokenizerTest, BytesWithoutTokenBelongToTheNextToken) {
  ILRE_ASSERT_OK_AND_ASSIGN(TokenizerSpec spec, TokenizerSpecFromFolder(Folder("smollm")));
  ILRE_ASSERT_OK_AND_ASSIGN(const auto tokenizer, Tokenizer::Create(std::move(spec)));
  const Tokens tokens = tokenizer->Encode("!\x04?\x04");
  EXPECT_EQ(tokens.ids.size(), 2u);
  EXPECT_THAT(tokens.ends, ElementsAre(1u, 4u));
  EXPECT_THAT(tokenizer->EncodeIds("\x04\x06"), IsEmpty());
}

TEST(TokenizerTest, LongestControlTokenWins) {
  ILRE_ASSERT_OK_AND_ASSIGN(TokenizerSpec spec, TokenizerSpecFromFolder(Folder("gpt2")));
  const TokenId first = static_cast<TokenId>(spec.tokens.size());
  for (const char* token : {"<x", "<x>", "x><"}) {
    spec.tokens.push_back(token);
    spec.types.push_back(TokenType::kUserDefined);
  }
  ILRE_ASSERT_OK_AND_ASSIGN(const auto tokenizer, Tokenizer::Create(std::move(spec)));
  EXPECT_THAT(tokenizer->EncodeIds("<x><x", SpecialTokens::kParse), ElementsAre(first + 1, first));
  EXPECT_EQ(tokenizer->TokenBytes(first), "<x");
}

TEST(TokenizerTest, UserDefinedTokensOfSentencePieceAreTextEverywhere) {
  ILRE_ASSERT_OK_AND_ASSIGN(TokenizerSpec spec, TokenizerSpecFromFolder(Folder("gemma")));
  ILRE_ASSERT_OK_AND_ASSIGN(const auto tokenizer, Tokenizer::Create(spec));
  const Tokens tokens = tokenizer->Encode("a\n\n\n<br>");
  EXPECT_THAT(tokens.ids,
              ElementsAre(tokenizer->FindToken("a"), tokenizer->FindToken("\n\n\n"), tokenizer->FindToken("<br>")));
  EXPECT_THAT(tokens.ends, ElementsAre(1u, 4u, 8u));
  EXPECT_EQ(tokenizer->EncodeIds("a\n\n\n<br>", SpecialTokens::kParse), tokens.ids);
  // No cut where more text would make another token: a run of up to five line breaks, a tag.
  for (const char* text : {"a\n", "a\n\n", "a<b", "a<"}) EXPECT_LE(tokenizer->SafePrefix(text), 1u) << text;
  const size_t cut = tokenizer->SafePrefix("a\n\nb and so on");
  EXPECT_GE(cut, 3u);
  // A blank inside a tag begins no word.
  spec.tokens[19] = "<b r>";
  ILRE_ASSERT_OK_AND_ASSIGN(const auto with_blank, Tokenizer::Create(spec));
  EXPECT_LE(with_blank->SafePrefix("x<b "), 1u);
}

TEST(TokenizerTest, IdsOutOfRangeAreNothing) {
  ILRE_ASSERT_OK_AND_ASSIGN(TokenizerSpec spec, TokenizerSpecFromFolder(Folder("gpt2")));
  ILRE_ASSERT_OK_AND_ASSIGN(const auto tokenizer, Tokenizer::Create(std::move(spec)));
  for (TokenId id : {-1, static_cast<TokenId>(tokenizer->vocab_size()), 1 << 30}) {
    EXPECT_EQ(tokenizer->TokenBytes(id), "");
    EXPECT_FALSE(tokenizer->IsControl(id));
  }
  EXPECT_EQ(tokenizer->FindToken("no such token"), -1);
}

// Each change makes a good spec contradict itself.
struct BadSpec {
  const char* folder;
  void (*change)(TokenizerSpec*);
  const char* message;
};

TEST(TokenizerTest, RefusesSpecsThatContradictThemselves) {
  const BadSpec bad_specs[] = {
      {"gpt2", [](TokenizerSpec* s) { s->tokens.clear(); }, "0 tokens"},
      {"gpt2", [](TokenizerSpec* s) { s->types.pop_back(); }, "token types"},
      {"gpt2", [](TokenizerSpec* s) { s->bos_id = 1 << 20; }, "the begin token"},
      {"gpt2", [](TokenizerSpec* s) { s->eos_id = -2; }, "the end token"},
      {"gpt2", [](TokenizerSpec* s) { s->stop_ids = {-1}; }, "a stop token"},
      {"gpt2", [](TokenizerSpec* s) { s->add_bos = true, s->bos_id = -1; }, "there is none"},
      {"gpt2", [](TokenizerSpec* s) { s->tokens[20] = s->tokens[21]; }, "both spelled"},
      {"gpt2", [](TokenizerSpec* s) { s->tokens[300] = "\xff"; }, "not in the alphabet"},
      {"gpt2", [](TokenizerSpec* s) { s->merges[7].first = "none"; }, "merge 7"},
      {"gpt2", [](TokenizerSpec* s) { s->types.back() = TokenType::kControl; }, "not of normal tokens"},
      {"gpt2", [](TokenizerSpec* s) { s->tokens.emplace_back(), s->types.push_back(TokenType::kNormal); }, "is empty"},
      {"sentencepiece", [](TokenizerSpec* s) { s->scores.pop_back(); }, "token scores"},
      {"sentencepiece", [](TokenizerSpec* s) { s->scores[9] = std::nanf(""); }, "not a number"},
      {"sentencepiece", [](TokenizerSpec* s) { s->scores.clear(); }, "either scores or merges"},
      {"sentencepiece", [](TokenizerSpec* s) { s->types[20] = TokenType::kNormal; }, "no byte token <0x11>"},
      {"sentencepiece", [](TokenizerSpec* s) { s->tokens[20] = "<0xZZ>"; }, "byte token 20"},
      {"sentencepiece", [](TokenizerSpec* s) { s->tokens[300] = "\xff"; }, "token 300 is not UTF-8"},
      {"llama2", [](TokenizerSpec* s) { s->merges[7].first = "none"; }, "merge 7"},
      {"gemma", [](TokenizerSpec* s) { s->tokens[18] = std::string(65, 'x'); }, "user-defined token 18 has over 64"},
  };
  for (const BadSpec& bad : bad_specs) {
    ILRE_ASSERT_OK_AND_ASSIGN(TokenizerSpec spec, TokenizerSpecFromFolder(Folder(bad.folder)));
    bad.change(&spec);
    const absl::Status status = Tokenizer::Create(std::move(spec)).status();
    EXPECT_THAT(status, StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(bad.message)));
    EXPECT_EQ(ErrorReason(status), "BAD_TOKENIZER");
  }
}

TEST(StreamingDecoderTest, GivesOnlyWholeCharacters) {
  ILRE_ASSERT_OK_AND_ASSIGN(TokenizerSpec spec, TokenizerSpecFromFolder(Folder("gpt2")));
  ILRE_ASSERT_OK_AND_ASSIGN(const auto tokenizer, Tokenizer::Create(std::move(spec)));
  // By byte, with what stays unfinished or never becomes a character replaced as Python's errors="replace" does it.
  const std::pair<std::string, std::string> cases[] = {
      {"a\u00e9\u65e5\U0001F600", "a\u00e9\u65e5\U0001F600"},
      {"\xf0\x9f\x98", "\ufffd"},
      {"\xf0\x9f\x98x", "\ufffdx"},
      {"\xe2\x82\xe2\x82\xac", "\ufffd\u20ac"},
      {"\x80\xff", "\ufffd\ufffd"},
      {"\xed\xa0\x80", "\ufffd\ufffd\ufffd"},
      {"\xc3", "\ufffd"},
  };
  for (const auto& [bytes, expected] : cases) {
    StreamingDecoder decoder(*tokenizer);
    std::string text;
    for (char c : bytes) {
      const std::string part = decoder.Push(tokenizer->EncodeIds(std::string(1, c)).at(0));
      EXPECT_EQ(Utf8ValidPrefix(part), part.size());
      text += part;
    }
    text += decoder.Finish();
    EXPECT_EQ(text, expected);
    EXPECT_EQ(decoder.Finish(), "");
  }
}

}  // namespace
}  // namespace ilre
