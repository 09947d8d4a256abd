#include "generator_service/prompt.h"

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/random.h"
#include "common/base/test_matchers.h"
#include "common/model/test_byte_tokenizer.h"
#include "gtest/gtest.h"

namespace ilre {
namespace {

const std::vector<std::string> kControls = {"<|endoftext|>", "<|im_start|>", "<|im_end|>"};

class PromptTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto chat = MakeChatTemplate(*tokenizer_);
    ILRE_ASSERT_OK(chat);
    chat_ = *std::move(chat);
  }

  // The prompt with control tokens spelled out.
  std::string Spell(const std::vector<TokenId>& ids) const {
    std::string text;
    for (const TokenId id : ids) {
      absl::StrAppend(&text, tokenizer_->IsControl(id) ? tokenizer_->spec().tokens[static_cast<size_t>(id)]
                                                       : std::string(tokenizer_->TokenBytes(id)));
    }
    return text;
  }
  int64_t NumControls(const std::vector<TokenId>& ids) const {
    return std::count_if(ids.begin(), ids.end(), [&](TokenId id) { return tokenizer_->IsControl(id); });
  }

  const std::unique_ptr<Tokenizer> tokenizer_ = MakeByteTokenizer(kControls, "{{ '<|im_start|>' }}");
  ChatTemplate chat_;
};

TEST_F(PromptTest, PutsThePartsInOrder) {
  PromptParts parts;
  parts.instruction = "Answer.";
  parts.context = {{.text = "One. "}, {.text = "Two. "}, {.text = "Nine.", .after_gap = true}};
  parts.gap_mark = "[...]";
  parts.question = "How many?";
  parts.answer_prefix = "It is";
  EXPECT_EQ(Spell(BuildPrompt(*tokenizer_, chat_, parts)),
            "<|im_start|>user\nText:\nOne. Two. [...]Nine.\n\nQuestion: How many?\n\nAnswer.<|im_end|>\n"
            "<|im_start|>assistant\nIt is");
}

TEST_F(PromptTest, NamesDocumentsWhereTheyChange) {
  PromptParts parts;
  parts.context = {{.text = "One.", .document = "c/a"},
                   {.text = "Two.", .after_gap = true, .document = "c/a"},
                   {.text = "Nine.", .after_gap = true, .document = "c/b"}};
  parts.question = "How many?";
  EXPECT_EQ(
      Spell(BuildPrompt(*tokenizer_, chat_, parts)),
      "<|im_start|>user\nText:\nDocument c/a:\nOne.\nTwo.\nDocument c/b:\nNine.\n\nQuestion: How many?<|im_end|>\n"
      "<|im_start|>assistant\n");
}

TEST_F(PromptTest, LeavesOutWhatIsEmpty) {
  PromptParts parts;
  parts.question = "Why?";
  EXPECT_EQ(Spell(BuildPrompt(*tokenizer_, chat_, parts)), "<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\n");
}

TEST_F(PromptTest, TokensOfADocumentStandAsTheyAre) {
  const std::vector<TokenId> ids = {72, 105, 200};  // not what a text of these bytes need become
  PromptParts parts;
  parts.context = {{.text = "unused", .ids = ids}};
  parts.question = "?";
  const std::vector<TokenId> prompt = BuildPrompt(*tokenizer_, chat_, parts);
  const auto begin = prompt.begin() + static_cast<long>(chat_.head.size() + std::string("Text:\n").size());
  EXPECT_TRUE(std::equal(ids.begin(), ids.end(), begin));
}

TEST_F(PromptTest, TextFromOutsideCannotForgeATurn) {
  Random random(5);
  const int64_t own_controls = NumControls(chat_.head) + NumControls(chat_.tail);
  // Control tokens whole, and in halves that may meet across the joints of the prompt.
  const std::vector<std::string> bricks = {"<|im_end|>",    "<|im_start|>", "<|im_", "end|>",
                                           "<|endoftext|>", "\n",           "user"};
  const auto hostile = [&] {
    std::string text;
    for (uint64_t i = random.Below(5); i > 0; --i) text += random.Pick(bricks);
    return text;
  };
  for (int round = 0; round < 500; ++round) {
    const std::string first = hostile(), second = hostile();
    PromptParts parts;
    parts.instruction = hostile();
    parts.context = {{.text = first}, {.text = second, .after_gap = true}};
    parts.gap_mark = hostile();
    parts.question = hostile();
    parts.answer_prefix = hostile();
    EXPECT_EQ(NumControls(BuildPrompt(*tokenizer_, chat_, parts)), own_controls);
  }
}

// A tokenizer that says at which position it was asked to encode: its first token is 1 at a text's start, else 2.
class PositionTokenizer : public Tokenizer {
 public:
  Tokens Encode(absl::string_view text, SpecialTokens special, TextPosition position) const override {
    Tokens tokens;
    for (size_t i = 0; i < text.size(); ++i) {
      tokens.ids.push_back(i > 0 ? 3 : position == TextPosition::kStart ? 1 : 2);
      tokens.ends.push_back(static_cast<uint32_t>(i + 1));
    }
    return tokens;
  }
  size_t SafePrefix(absl::string_view buffer) const override { return 0; }
  absl::string_view TokenBytes(TokenId id) const override { return ""; }
  TokenId FindToken(absl::string_view spelling) const override { return -1; }
};

TEST(PromptPositionTest, OnlyTheFirstTextMayStandAtAStart) {
  const PositionTokenizer tokenizer;
  PromptParts parts;
  parts.question = "q";
  parts.answer_prefix = "a";
  ChatTemplate chat{.family = "mistral", .head = {7}, .tail = {8}, .user_position = TextPosition::kStart};
  EXPECT_EQ(BuildPrompt(tokenizer, chat, parts), (std::vector<TokenId>{7, 1, 8, 2}));
  chat.user_position = TextPosition::kContinued;
  EXPECT_EQ(BuildPrompt(tokenizer, chat, parts), (std::vector<TokenId>{7, 2, 8, 2}));
  const std::vector<TokenId> ids = {9};
  parts.context = {{.ids = ids}};
  chat.user_position = TextPosition::kStart;
  const std::vector<TokenId> prompt = BuildPrompt(tokenizer, chat, parts);
  EXPECT_EQ(std::count(prompt.begin(), prompt.end(), 1), 1);  // "Text:" begins; nothing after it does
  EXPECT_EQ(prompt[1], 1);
}

}  // namespace
}  // namespace ilre
