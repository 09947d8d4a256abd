#include "generator_service/batch_generator.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/errors.h"
#include "common/base/random.h"
#include "common/base/test_matchers.h"
#include "common/model/test_byte_tokenizer.h"
#include "common/model/test_golden_model.h"
#include "generator_service/generator.h"
#include "generator_service/test_scripted_decoder.h"
#include "gtest/gtest.h"

namespace ilre {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr absl::Duration kPatience = absl::Seconds(120);  // with a loaded machine

// A gate that threads wait at; a test that goes wrong stops here instead of hanging for ever.
class Gate {
 public:
  void Open() {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      open_ = true;
    }
    changed_.notify_all();
  }
  bool Wait() {
    std::unique_lock<std::mutex> lock(mutex_);
    return changed_.wait_for(lock, absl::ToChronoSeconds(kPatience), [this] { return open_; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool open_ = false;
};

// Looks until `condition` holds.
bool Eventually(const std::function<bool()>& condition) {
  const absl::Time deadline = absl::Now() + kPatience;
  while (!condition()) {
    if (absl::Now() > deadline) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return true;
}

// Each sequence's number of tokens in a call, and what is to happen in it.
using Hook = std::function<absl::Status(const std::vector<size_t>& sizes, const Decoder::KeepGoing& keep_going)>;

class HookedDecoder : public ScriptedDecoder {
 public:
  HookedDecoder(const std::string& script, int64_t prompt_size, Hook hook)
      : ScriptedDecoder(BytesOf(script), prompt_size, 1000), hook_(std::move(hook)) {
    num_layers_ = 1;
    config_.num_kv_heads = config_.head_dim = 1;  // 8 bytes of cache a token
  }
  absl::Status ForwardBatch(absl::Span<const Sequence> sequences, const KeepGoing& keep_going) const override {
    std::vector<size_t> sizes;
    for (const Sequence& sequence : sequences) sizes.push_back(sequence.ids.size());
    absl::Status status = hook_(sizes, keep_going);
    return status.ok() ? Decoder::ForwardBatch(sequences, nullptr) : status;
  }

 private:
  const Hook hook_;
};

// A call of Generate on a thread of its own.
class Call {
 public:
  Call(BatchGenerator* generator, std::vector<TokenId> prompt, GenerateOptions options,
       std::function<absl::Status(absl::string_view)> emit = nullptr)
      : thread_([=, this] {
          result_ = generator->Generate(prompt, options, [&](absl::string_view piece) -> absl::Status {
            text_.append(piece.data(), piece.size());
            return emit ? emit(piece) : absl::OkStatus();
          });
        }) {}
  ~Call() {
    if (thread_.joinable()) thread_.join();
  }
  const absl::StatusOr<Generation>& Wait() {
    if (thread_.joinable()) thread_.join();
    return result_;
  }
  const std::string& text() const { return text_; }  // emitted; after Wait

 private:
  absl::StatusOr<Generation> result_ = absl::UnknownError("");
  std::string text_;
  std::thread thread_;
};

class BatchGeneratorTest : public ::testing::Test {
 protected:
  const std::unique_ptr<Tokenizer> tokenizer_ = MakeByteTokenizer({"<|end|>"});
  const std::vector<TokenId> prompt_ = {1, 2, 3};
};

// ------------------------------------------------------------------------------------------------ answers

struct Question {
  std::vector<TokenId> prompt;
  GenerateOptions options;
};

std::vector<Question> RandomQuestions(int count, int64_t vocab, Random* random) {
  std::vector<Question> questions(static_cast<size_t>(count));
  for (Question& question : questions) {
    for (uint64_t i = 1 + random->Below(40); i > 0; --i) {
      question.prompt.push_back(static_cast<TokenId>(random->Below(static_cast<uint64_t>(vocab))));
    }
    question.options.max_tokens = static_cast<int>(1 + random->Below(25));
    question.options.sampling.seed = random->Next();
    if (random->Below(2) == 0) question.options.sampling.temperature = 1.5;
    if (random->Below(3) == 0) question.options.sampling.repetition_penalty = 1.2f;
    if (random->Below(3) == 0) question.options.stop = {"a", "e"};
  }
  return questions;
}

class BatchedAnswersTest : public ::testing::TestWithParam<std::string> {};

TEST_P(BatchedAnswersTest, EqualThoseOfOneAtATimeBitForBit) {
  ILRE_ASSERT_OK_AND_ASSIGN(const auto checkpoint, Checkpoint::Open(GoldenFolder(GetParam())));
  ILRE_ASSERT_OK_AND_ASSIGN(const auto decoder, Decoder::Load(*checkpoint, {}));
  ILRE_ASSERT_OK_AND_ASSIGN(const auto tokenizer, Tokenizer::Create(checkpoint->tokenizer()));
  Random random(7);
  const std::vector<Question> questions = RandomQuestions(24, decoder->config().vocab_size, &random);
  BatchGenerator batch(*decoder, *tokenizer, {.max_running = 5, .max_waiting = 100, .prefill_tokens = 7});
  std::vector<std::unique_ptr<Call>> calls;
  for (const Question& question : questions) {
    calls.push_back(std::make_unique<Call>(&batch, question.prompt, question.options));
  }
  const Generator alone(*decoder, *tokenizer);
  int64_t num_tokens = 0, prompt_tokens = 0;
  for (size_t i = 0; i < calls.size(); ++i) {
    ILRE_ASSERT_OK_AND_ASSIGN(const Generation expected,
                              alone.Generate(questions[i].prompt, questions[i].options, nullptr));
    ILRE_ASSERT_OK_AND_ASSIGN(const Generation actual, calls[i]->Wait());
    EXPECT_EQ(actual.text, expected.text);
    EXPECT_EQ(calls[i]->text(), expected.text);
    EXPECT_EQ(actual.reason, expected.reason);
    EXPECT_EQ(actual.num_tokens, expected.num_tokens);
    EXPECT_GE(actual.total_ms, actual.first_token_ms);
    EXPECT_GE(actual.first_token_ms, actual.prefill_ms);
    EXPECT_GT(actual.prefill_ms, 0);
    num_tokens += expected.num_tokens + (expected.reason == FinishReason::kEndToken);
    prompt_tokens += static_cast<int64_t>(questions[i].prompt.size());
  }
  const BatchStats stats = batch.stats();
  EXPECT_EQ(stats.decoded_tokens, num_tokens);
  EXPECT_EQ(stats.prompt_tokens, prompt_tokens);
  EXPECT_EQ(stats.finished, 24);
  EXPECT_EQ(stats.running + stats.waiting + stats.cache_bytes + stats.cancelled + stats.failed + stats.refused, 0);
}

INSTANTIATE_TEST_SUITE_P(All, BatchedAnswersTest, ::testing::ValuesIn(GoldenNames()));

TEST_F(BatchGeneratorTest, StreamsAndStopsAsAGeneratorDoes) {
  const HookedDecoder decoder("Größe: 42.\n\nUser: more", 3, [](auto&, auto&) { return absl::OkStatus(); });
  BatchGenerator batch(decoder, *tokenizer_, {});
  Call call(&batch, prompt_, {.max_tokens = 100, .stop = {"\n\nUser"}});
  ILRE_ASSERT_OK(call.Wait());
  EXPECT_EQ(call.text(), "Größe: 42.");
  EXPECT_EQ(call.Wait()->text, "Größe: 42.");
  EXPECT_EQ(call.Wait()->reason, FinishReason::kStopString);
  ILRE_ASSERT_OK(batch.Generate(prompt_, {.max_tokens = 3}, nullptr));
}

TEST_F(BatchGeneratorTest, RefusesWhatAGeneratorRefuses) {
  const HookedDecoder decoder("", 3, [](auto&, auto&) { return absl::OkStatus(); });
  BatchGenerator batch(decoder, *tokenizer_, {});
  const auto refused = [&](const std::vector<TokenId>& prompt, const GenerateOptions& options, const std::string& why) {
    EXPECT_THAT(batch.Generate(prompt, options, nullptr), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(why)));
  };
  refused({}, {}, "empty");
  refused({1, 2, 5000}, {}, "token id 5000");
  refused(prompt_, {.max_tokens = 0}, "max_tokens");
  EXPECT_EQ(ErrorReason(batch.Generate(std::vector<TokenId>(1000, 1), {}, nullptr).status()), "PROMPT_TOO_LONG");
}

// ------------------------------------------------------------------------------------------------ joining and leaving

TEST_F(BatchGeneratorTest, PromptsJoinInChunksBetweenTheTokensOfTheOthers) {
  Gate first_runs, second_waits;
  std::vector<std::vector<size_t>> steps;
  const HookedDecoder decoder("abcdefghij", 20, [&](const std::vector<size_t>& sizes, auto&) {
    steps.push_back(sizes);
    if (steps.size() == 5) {  // three chunks of the first prompt, and two tokens
      first_runs.Open();
      EXPECT_TRUE(second_waits.Wait());
    }
    return absl::OkStatus();
  });
  BatchGenerator batch(decoder, *tokenizer_, {.prefill_tokens = 8});
  const std::vector<TokenId> prompt(20, 1);
  Call first(&batch, prompt, {.max_tokens = 8});
  ASSERT_TRUE(first_runs.Wait());
  Call second(&batch, prompt, {.max_tokens = 3}), third(&batch, prompt, {.max_tokens = 1});
  ASSERT_TRUE(Eventually([&] { return batch.stats().running == 3; }));
  second_waits.Open();
  ILRE_ASSERT_OK(first.Wait());
  ILRE_ASSERT_OK(second.Wait());
  ILRE_ASSERT_OK(third.Wait());
  EXPECT_EQ(first.text(), "abcdefgh");
  ASSERT_GE(steps.size(), 8u);
  EXPECT_THAT(steps[0], ElementsAre(8));
  EXPECT_THAT(steps[2], ElementsAre(4));
  EXPECT_THAT(steps[4], ElementsAre(1));
  EXPECT_THAT(steps[5], ElementsAre(1, 8));
  EXPECT_THAT(steps[6], ElementsAre(1, 8));
  EXPECT_THAT(steps[7], ElementsAre(1, 4, 4));  // one prompt's end, the next one's beginning
  for (const std::vector<size_t>& sizes : steps) {
    size_t of_prompts = 0;
    for (const size_t size : sizes) of_prompts += size > 1 ? size : 0;
    EXPECT_LE(of_prompts, 8u);
  }
}

TEST_F(BatchGeneratorTest, ASlowReaderHoldsUpNobody) {
  Gate reader;
  const HookedDecoder decoder(std::string(50, 'x'), 3, [](auto&, auto&) { return absl::OkStatus(); });
  BatchGenerator batch(decoder, *tokenizer_, {});
  Call slow(&batch, prompt_, {.max_tokens = 40},
            [&](absl::string_view) { return reader.Wait() ? absl::OkStatus() : absl::InternalError("hung"); });
  for (int i = 0; i < 3; ++i) {
    Call quick(&batch, prompt_, {.max_tokens = 50});
    ILRE_ASSERT_OK(quick.Wait());
  }
  // The slow one's answer is done as well, and its place and cache are free, but for the text that it has to fetch.
  EXPECT_TRUE(Eventually([&] { return batch.stats().finished == 4 && batch.stats().cache_bytes == 0; }));
  EXPECT_FALSE(batch.WaitIdle(absl::ZeroDuration()));
  reader.Open();
  ILRE_ASSERT_OK(slow.Wait());
  EXPECT_EQ(slow.text(), std::string(40, 'x'));
  EXPECT_TRUE(batch.WaitIdle(kPatience));
}

TEST_F(BatchGeneratorTest, BeyondItsPlacesItRefuses) {
  Gate gate;
  const HookedDecoder decoder(
      "abc", 3, [&](auto&, auto&) { return gate.Wait() ? absl::OkStatus() : absl::InternalError("hung"); });
  BatchGenerator batch(decoder, *tokenizer_, {.max_running = 2, .max_waiting = 1});
  std::vector<std::unique_ptr<Call>> calls;
  for (int i = 0; i < 3; ++i) {
    calls.push_back(std::make_unique<Call>(&batch, prompt_, GenerateOptions{}));
    ASSERT_TRUE(Eventually([&] { return batch.stats().running + batch.stats().waiting == i + 1; }));
  }
  EXPECT_EQ(batch.stats().running, 2);
  EXPECT_EQ(batch.stats().waiting, 1);
  const absl::Status refusal = batch.Generate(prompt_, {}, nullptr).status();
  EXPECT_THAT(refusal, StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("1 requests are waiting")));
  EXPECT_EQ(ErrorReason(refusal), "OVERLOADED");
  EXPECT_EQ(batch.stats().refused, 1);
  gate.Open();
  for (const auto& call : calls) {
    ILRE_ASSERT_OK(call->Wait());
    EXPECT_EQ(call->text(), "abc");
  }
}

TEST_F(BatchGeneratorTest, ARequestWhoseCacheDoesNotFitWaitsAndOneThatNeverFitsIsRefused) {
  Gate gate;
  const HookedDecoder decoder(
      "abc", 3, [&](auto&, auto&) { return gate.Wait() ? absl::OkStatus() : absl::InternalError("hung"); });
  BatchGenerator batch(decoder, *tokenizer_, {.max_cache_bytes = 8 * 100});
  Call large(&batch, prompt_, {.max_tokens = 60});
  ASSERT_TRUE(Eventually([&] { return batch.stats().running == 1; }));
  EXPECT_EQ(batch.stats().cache_bytes, 8 * 63);
  Call other(&batch, prompt_, {.max_tokens = 40});
  ASSERT_TRUE(Eventually([&] { return batch.stats().waiting == 1; }));
  Call small(&batch, prompt_, {.max_tokens = 5});  // would fit, but comes after the other
  ASSERT_TRUE(Eventually([&] { return batch.stats().waiting == 2; }));
  const absl::Status refusal = batch.Generate(prompt_, {.max_tokens = 98}, nullptr).status();
  EXPECT_THAT(refusal, StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("101 tokens need a cache of 808 bytes")));
  EXPECT_EQ(ErrorReason(refusal), "CACHE_LIMIT");
  gate.Open();
  ILRE_EXPECT_OK(large.Wait());
  ILRE_EXPECT_OK(other.Wait());
  ILRE_EXPECT_OK(small.Wait());
  EXPECT_EQ(batch.stats().cache_bytes, 0);
}

TEST_F(BatchGeneratorTest, WhatIsWrongWithOneDoesNotEndTheOthers) {
  Gate both;
  // Whenever the prompt of two tokens takes part, the call fails.
  const HookedDecoder decoder("abcdef", 3, [&](const std::vector<size_t>& sizes, auto&) -> absl::Status {
    if (!both.Wait()) return absl::InternalError("hung");
    const bool fails = std::count(sizes.begin(), sizes.end(), 2u) > 0;
    return fails ? absl::InternalError("broken") : absl::OkStatus();
  });
  BatchGenerator batch(decoder, *tokenizer_, {});
  Call good(&batch, prompt_, {}), bad(&batch, {1, 2}, {}), also_good(&batch, prompt_, {});
  ASSERT_TRUE(Eventually([&] { return batch.stats().running == 3; }));
  both.Open();
  EXPECT_THAT(bad.Wait(), StatusIs(absl::StatusCode::kInternal, HasSubstr("broken")));
  ILRE_EXPECT_OK(good.Wait());
  ILRE_EXPECT_OK(also_good.Wait());
  EXPECT_EQ(good.text(), "abcdef");
  EXPECT_EQ(also_good.text(), "abcdef");
  EXPECT_EQ(batch.stats().failed, 1);
}

// ------------------------------------------------------------------------------------------------ cancelling

TEST_F(BatchGeneratorTest, ACancelledAnswerLeavesWithinOneToken) {
  std::atomic<bool> stop{false};
  std::atomic<int> steps{0};
  // The third step is past its last layer when the answer is cancelled: its token is run for nothing.
  const HookedDecoder decoder("abcdefghij", 3, [&](auto&, const Decoder::KeepGoing& keep_going) {
    if (++steps == 3) {
      stop = true;
      EXPECT_TRUE(Eventually([&] { return !keep_going(); }));
    }
    return absl::OkStatus();
  });
  BatchGenerator batch(decoder, *tokenizer_, {});
  Call call(&batch, prompt_, {.max_tokens = 9, .should_stop = [&] { return stop.load(); }});
  EXPECT_THAT(call.Wait(), StatusIs(absl::StatusCode::kCancelled));
  EXPECT_EQ(steps, 3);
  EXPECT_EQ(batch.stats().decoded_tokens, 2);
  EXPECT_EQ(batch.stats().tokens_after_cancel, 1);
  EXPECT_EQ(batch.stats().cancelled, 1);
  EXPECT_EQ(batch.stats().cache_bytes, 0);
}

TEST_F(BatchGeneratorTest, TheOthersGoOnWhenOneIsCancelled) {
  Gate both_there, in_step, stopped;
  std::atomic<bool> stop{false}, went_on{false}, both{false};
  const HookedDecoder decoder("abcdefghij", 3, [&](auto& sizes, const Decoder::KeepGoing& keep_going) {
    if (!both_there.Wait()) return absl::InternalError("hung");  // neither is done before the other has come
    if (sizes.size() == 2 && !both.exchange(true)) {             // the first step of the two together
      in_step.Open();
      if (!stopped.Wait()) return absl::InternalError("hung");
      went_on = keep_going();  // one of two is still wanted
    }
    return absl::OkStatus();
  });
  BatchGenerator batch(decoder, *tokenizer_, {});
  std::atomic<int> said_stop{0};
  Call stays(&batch, prompt_, {.max_tokens = 9});
  Call leaves(&batch, prompt_, {.max_tokens = 9, .should_stop = [&] {
                                  said_stop += stop;
                                  return stop.load();
                                }});
  ASSERT_TRUE(Eventually([&] { return batch.stats().running + batch.stats().waiting == 2; }));
  both_there.Open();
  ASSERT_TRUE(in_step.Wait());
  stop = true;
  ASSERT_TRUE(Eventually([&] { return said_stop > 0; }));
  stopped.Open();
  EXPECT_THAT(leaves.Wait(), StatusIs(absl::StatusCode::kCancelled));
  EXPECT_EQ(said_stop, 1);  // it is not asked again
  ILRE_ASSERT_OK(stays.Wait());
  EXPECT_EQ(stays.text(), "abcdefghi");
  EXPECT_TRUE(went_on);
}

TEST_F(BatchGeneratorTest, WhenAllAreCancelledTheModelStopsInTheMiddle) {
  std::atomic<bool> stop{false};
  std::atomic<int> steps{0};
  const HookedDecoder decoder("abc", 3, [&](auto&, const Decoder::KeepGoing& keep_going) -> absl::Status {
    if (++steps == 2) stop = true;
    // A model of endless layers from the second token on.
    if (steps >= 2 && Eventually([&] { return !keep_going(); })) return errors::Cancelled("running the model");
    return absl::OkStatus();
  });
  BatchGenerator batch(decoder, *tokenizer_, {});
  Call call(&batch, prompt_, {.should_stop = [&] { return stop.load(); }});
  EXPECT_THAT(call.Wait(), StatusIs(absl::StatusCode::kCancelled));
  EXPECT_EQ(call.text(), "a");
  EXPECT_EQ(batch.stats().decoded_tokens, 1);
  EXPECT_EQ(batch.stats().tokens_after_cancel, 0);
}

TEST_F(BatchGeneratorTest, AWaitingRequestCanBeCancelledAndMakesRoomForTheNext) {
  Gate gate;
  std::atomic<bool> stop{false};
  const HookedDecoder decoder(
      "abc", 3, [&](auto&, auto&) { return gate.Wait() ? absl::OkStatus() : absl::InternalError("hung"); });
  BatchGenerator batch(decoder, *tokenizer_, {.max_cache_bytes = 8 * 100});
  Call first(&batch, prompt_, {.max_tokens = 60});
  ASSERT_TRUE(Eventually([&] { return batch.stats().running == 1; }));
  Call large(&batch, prompt_, {.max_tokens = 90, .should_stop = [&] { return stop.load(); }});
  ASSERT_TRUE(Eventually([&] { return batch.stats().waiting == 1; }));
  Call small(&batch, prompt_, {.max_tokens = 5});
  ASSERT_TRUE(Eventually([&] { return batch.stats().waiting == 2; }));
  stop = true;
  EXPECT_THAT(large.Wait(), StatusIs(absl::StatusCode::kCancelled));  // although no step has ended
  EXPECT_EQ(batch.stats().running, 2);
  gate.Open();
  ILRE_EXPECT_OK(first.Wait());
  ILRE_EXPECT_OK(small.Wait());
}

TEST_F(BatchGeneratorTest, AnErrorOfTheReceiverEndsItsCallAlone) {
  const HookedDecoder decoder("abcdefghij", 3, [](auto&, auto&) { return absl::OkStatus(); });
  BatchGenerator batch(decoder, *tokenizer_, {});
  Call gone(&batch, prompt_, {.max_tokens = 9}, [](absl::string_view) { return absl::UnavailableError("gone"); });
  Call stays(&batch, prompt_, {.max_tokens = 9});
  EXPECT_THAT(gone.Wait(), StatusIs(absl::StatusCode::kUnavailable, HasSubstr("gone")));
  ILRE_ASSERT_OK(stays.Wait());
  EXPECT_EQ(stays.text(), "abcdefghi");
}

TEST_F(BatchGeneratorTest, ManyThreadsWithRandomCancels) {
  ILRE_ASSERT_OK_AND_ASSIGN(const auto checkpoint, Checkpoint::Open(GoldenFolder("smollm2")));
  ILRE_ASSERT_OK_AND_ASSIGN(const auto decoder, Decoder::Load(*checkpoint, {}));
  ILRE_ASSERT_OK_AND_ASSIGN(const auto tokenizer, Tokenizer::Create(checkpoint->tokenizer()));
  BatchGenerator batch(*decoder, *tokenizer, {.max_running = 4, .max_waiting = 100, .prefill_tokens = 9});
  constexpr int kThreads = 8, kRounds = 25;
  std::atomic<int> finished{0}, ended_early{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      Random random(static_cast<uint64_t>(t));
      for (Question& question : RandomQuestions(kRounds, decoder->config().vocab_size, &random)) {
        const uint64_t way = random.Below(3);
        int countdown = random.Below(2) == 0 ? 0 : static_cast<int>(random.Below(12));
        if (way == 0) question.options.should_stop = [&] { return countdown-- <= 0; };
        const auto result = batch.Generate(question.prompt, question.options, [&](absl::string_view) {
          return way == 1 && countdown-- <= 0 ? absl::UnavailableError("gone") : absl::OkStatus();
        });
        ++(result.ok() ? finished : ended_early);
        EXPECT_TRUE(way != 2 || result.ok()) << result.status();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  const BatchStats stats = batch.stats();
  EXPECT_EQ(finished + ended_early, kThreads * kRounds);
  EXPECT_GT(ended_early, 10);  // those at least that fail at their first text
  EXPECT_LE(stats.tokens_after_cancel, ended_early);
  EXPECT_EQ(stats.finished + stats.cancelled, kThreads * kRounds);
  EXPECT_EQ(stats.running + stats.waiting + stats.cache_bytes + stats.failed + stats.refused, 0);
}

// ------------------------------------------------------------------------------------------------ the end

TEST_F(BatchGeneratorTest, DrainingFinishesWhatIsThereAndTakesNoMore) {
  Gate gate;
  const HookedDecoder decoder(
      "abc", 3, [&](auto&, auto&) { return gate.Wait() ? absl::OkStatus() : absl::InternalError("hung"); });
  BatchGenerator batch(decoder, *tokenizer_, {.max_running = 1});
  Call running(&batch, prompt_, {}), waiting(&batch, prompt_, {});
  ASSERT_TRUE(Eventually([&] { return batch.stats().running + batch.stats().waiting == 2; }));
  batch.Drain();
  const absl::Status refusal = batch.Generate(prompt_, {}, nullptr).status();
  EXPECT_THAT(refusal, StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_EQ(ErrorReason(refusal), "DRAINING");
  EXPECT_FALSE(batch.WaitIdle(absl::Milliseconds(1)));
  gate.Open();
  EXPECT_TRUE(batch.WaitIdle(kPatience));
  ILRE_EXPECT_OK(running.Wait());
  ILRE_EXPECT_OK(waiting.Wait());
  EXPECT_EQ(running.text() + waiting.text(), "abcabc");
}

TEST_F(BatchGeneratorTest, TheDestructorCancelsTheRest) {
  Gate in_step;
  const HookedDecoder decoder("abc", 3, [&](auto&, const Decoder::KeepGoing& keep_going) -> absl::Status {
    in_step.Open();
    return Eventually([&] { return !keep_going(); }) ? errors::Cancelled("running the model") : absl::OkStatus();
  });
  auto batch = std::make_unique<BatchGenerator>(decoder, *tokenizer_, BatchOptions{.max_running = 1});
  Call running(batch.get(), prompt_, {}), waiting(batch.get(), prompt_, {});
  ASSERT_TRUE(in_step.Wait());
  ASSERT_TRUE(Eventually([&] { return batch->stats().running + batch->stats().waiting == 2; }));
  batch = nullptr;
  EXPECT_THAT(running.Wait(), StatusIs(absl::StatusCode::kCancelled));
  EXPECT_THAT(waiting.Wait(), StatusIs(absl::StatusCode::kCancelled));
}

TEST_F(BatchGeneratorTest, OptionsAreChecked) {
  ILRE_EXPECT_OK(BatchOptions().Validate());
  const auto refused = [](const BatchOptions& options, const std::string& why) {
    EXPECT_THAT(options.Validate(), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(why)));
  };
  refused({.max_running = 0}, "max_running is 0");
  refused({.max_waiting = -1}, "max_waiting is -1");
  refused({.max_cache_bytes = 0}, "max_cache_bytes is 0");
  refused({.prefill_tokens = 0}, "prefill_tokens is 0");
}

}  // namespace
}  // namespace ilre
