#include "generator_service/generator.h"

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/errors.h"
#include "common/base/test_matchers.h"
#include "common/base/utf8.h"
#include "common/model/test_byte_tokenizer.h"
#include "common/model/test_golden_model.h"
#include "generator_service/test_scripted_decoder.h"
#include "gtest/gtest.h"

namespace ilre {
namespace {

using ::testing::HasSubstr;

class GeneratorTest : public ::testing::Test {
 protected:
  struct Answer {
    absl::StatusOr<Generation> generation;
    std::vector<std::string> pieces;
    std::string Joined() const {
      std::string all;
      for (const std::string& piece : pieces) all += piece;
      return all;
    }
  };

  Answer Generate(const std::vector<TokenId>& script, const GenerateOptions& options, int64_t context_length = 1000) {
    const ScriptedDecoder decoder(script, static_cast<int64_t>(prompt_.size()), context_length);
    Answer answer{absl::UnknownError(""), {}};
    answer.generation =
        Generator(decoder, *tokenizer_).Generate(prompt_, options, [&](absl::string_view piece) -> absl::Status {
          EXPECT_FALSE(piece.empty());
          EXPECT_EQ(Utf8ValidPrefix(piece), piece.size());
          answer.pieces.emplace_back(piece);
          return answer.pieces.size() == emit_fails_at_ ? absl::UnavailableError("gone") : absl::OkStatus();
        });
    return answer;
  }

  const std::unique_ptr<Tokenizer> tokenizer_ = MakeByteTokenizer({"<|end|>"});
  const std::vector<TokenId> prompt_ = {1, 2, 3};
  size_t emit_fails_at_ = 0;  // the piece with which emit fails; from 1
};

TEST_F(GeneratorTest, StreamsWholeCharactersUntilTheEndToken) {
  const std::string text = "Größe: 世界 🙂!";
  const Answer answer = Generate(BytesOf(text), {.max_tokens = 100});
  ILRE_ASSERT_OK(answer.generation);
  EXPECT_EQ(answer.generation->text, text);
  EXPECT_EQ(answer.Joined(), text);
  EXPECT_EQ(answer.generation->reason, FinishReason::kEndToken);
  EXPECT_EQ(answer.generation->num_tokens, static_cast<int>(text.size()));
  EXPECT_EQ(answer.pieces.size(), 12u);  // one a character
  EXPECT_GE(answer.generation->total_ms, answer.generation->first_token_ms);
  EXPECT_GE(answer.generation->first_token_ms, answer.generation->prefill_ms);
}

TEST_F(GeneratorTest, BrokenCharactersAndTokensOutsideTheVocabularyDoNoHarm) {
  std::vector<TokenId> script = BytesOf("a\xE4\xB8");
  script.push_back(kEnd + 5);
  script.push_back('b');
  script.push_back(0xF0);
  const Answer answer = Generate(script, {.max_tokens = 100});
  ILRE_ASSERT_OK(answer.generation);
  EXPECT_EQ(answer.generation->text,
            "a\xEF\xBF\xBD"
            "b\xEF\xBF\xBD");
  EXPECT_EQ(answer.Joined(), answer.generation->text);
}

TEST_F(GeneratorTest, AStopStringEndsTheAnswerAndIsNoPartOfIt) {
  const Answer answer = Generate(BytesOf("42.\n\nUser: more"), {.max_tokens = 100, .stop = {"\nUser", "\n\nUser"}});
  ILRE_ASSERT_OK(answer.generation);
  EXPECT_EQ(answer.generation->text, "42.");
  EXPECT_EQ(answer.Joined(), "42.");
  EXPECT_EQ(answer.generation->reason, FinishReason::kStopString);
  EXPECT_EQ(answer.generation->num_tokens, 9);
}

TEST_F(GeneratorTest, WhatWasHeldBackComesAtTheEnd) {
  const Answer answer = Generate(BytesOf("ends\n"), {.max_tokens = 100, .stop = {"\nUser"}});
  ILRE_ASSERT_OK(answer.generation);
  EXPECT_EQ(answer.Joined(), "ends\n");
  EXPECT_EQ(answer.generation->reason, FinishReason::kEndToken);
}

TEST_F(GeneratorTest, KeepsItsLimits) {
  const std::vector<TokenId> script = BytesOf(std::string(50, 'x'));
  const Answer five = Generate(script, {.max_tokens = 5});
  ILRE_ASSERT_OK(five.generation);
  EXPECT_EQ(five.generation->text, "xxxxx");
  EXPECT_EQ(five.generation->reason, FinishReason::kMaxTokens);
  // Three tokens of the prompt leave room for seven in the cache; the eighth needs none.
  const Answer full = Generate(script, {.max_tokens = 50}, /*context_length=*/10);
  ILRE_ASSERT_OK(full.generation);
  EXPECT_EQ(full.generation->text, std::string(8, 'x'));
  EXPECT_EQ(full.generation->reason, FinishReason::kContextFull);
}

TEST_F(GeneratorTest, APromptThatIsTooLongIsRefused) {
  const Answer answer = Generate({}, {}, /*context_length=*/3);
  EXPECT_THAT(answer.generation, StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("the model takes 3")));
  EXPECT_EQ(ErrorReason(answer.generation.status()), "PROMPT_TOO_LONG");
  const ScriptedDecoder decoder({}, 0, 10);
  EXPECT_THAT(Generator(decoder, *tokenizer_).Generate({}, {}, nullptr),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("empty")));
}

TEST_F(GeneratorTest, CanBeCancelledAtAnyToken) {
  for (int allowed = 0; allowed < 4; ++allowed) {
    int asked = 0;
    const Answer answer =
        Generate(BytesOf("abcdef"), {.max_tokens = 100, .should_stop = [&] { return asked++ == allowed; }});
    EXPECT_THAT(answer.generation, StatusIs(absl::StatusCode::kCancelled));
    EXPECT_EQ(answer.pieces.size(), static_cast<size_t>(allowed));
  }
}

TEST_F(GeneratorTest, AnErrorOfTheReceiverEndsTheCall) {
  emit_fails_at_ = 3;
  const Answer answer = Generate(BytesOf("abcdef"), {.max_tokens = 100});
  EXPECT_THAT(answer.generation, StatusIs(absl::StatusCode::kUnavailable, HasSubstr("gone")));
  EXPECT_EQ(answer.pieces.size(), 3u);
}

TEST_F(GeneratorTest, OptionsAreChecked) {
  const auto refused = [&](const GenerateOptions& options, const std::string& why) {
    EXPECT_THAT(Generate({}, options).generation, StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(why)));
  };
  refused({.max_tokens = 0}, "max_tokens");
  refused({.stop = {""}}, "0 bytes");
  refused({.stop = {std::string(257, 'x')}}, "257 bytes");
  refused({.stop = std::vector<std::string>(17, "x")}, "17 stop strings");
  refused({.sampling = {.top_p = 2}}, "top_p");
}

// A real decoder, whose greedy answer is known by running all anew for each token.
TEST(GeneratorWithModelTest, GoesOnAsTheModelDoes) {
  ILRE_ASSERT_OK_AND_ASSIGN(const auto checkpoint, Checkpoint::Open(GoldenFolder("smollm2")));
  ILRE_ASSERT_OK_AND_ASSIGN(const auto decoder, Decoder::Load(*checkpoint, {}));
  ILRE_ASSERT_OK_AND_ASSIGN(const auto tokenizer, Tokenizer::Create(checkpoint->tokenizer()));
  const std::vector<TokenId> prompt = {5, 80, 81, 17};
  std::vector<TokenId> ids = prompt;
  StreamingDecoder characters(*tokenizer);
  std::string text;
  for (int i = 0; i < 30; ++i) {
    ILRE_ASSERT_OK_AND_ASSIGN(const auto cache, decoder->NewCache(64));
    std::vector<float> logits;
    ILRE_ASSERT_OK(decoder->Forward(ids, cache.get(), {}, Decoder::Logits::kLast, nullptr, &logits));
    const TokenId next = static_cast<TokenId>(std::max_element(logits.begin(), logits.end()) - logits.begin());
    if (tokenizer->IsStop(next)) break;
    ids.push_back(next);
    text += characters.Push(next);
  }
  text += characters.Finish();
  const int num_tokens = static_cast<int>(ids.size() - prompt.size());
  ASSERT_GT(num_tokens, 5);
  ILRE_ASSERT_OK_AND_ASSIGN(const Generation generation,
                            Generator(*decoder, *tokenizer).Generate(prompt, {.max_tokens = 30}, nullptr));
  EXPECT_EQ(generation.text, text);
  EXPECT_EQ(generation.num_tokens, num_tokens);
}

TEST(FinishReasonTest, HasNames) { EXPECT_EQ(FinishReasonName(FinishReason::kContextFull), "CONTEXT_FULL"); }

}  // namespace
}  // namespace ilre
