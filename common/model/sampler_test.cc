#include "common/model/sampler.h"

#include <cmath>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "common/base/test_matchers.h"
#include "gtest/gtest.h"

namespace ilre {
namespace {

using ::testing::HasSubstr;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

TokenId Greedy(std::vector<float> logits) { return Sampler({}, {}).Next(absl::MakeSpan(logits)); }

// How often each token comes in `draws` draws of one sampler from the same logits.
std::map<TokenId, int> Count(const SamplingOptions& options, const std::vector<float>& logits, int draws) {
  Sampler sampler(options, {});
  std::map<TokenId, int> counts;
  for (int i = 0; i < draws; ++i) {
    std::vector<float> copy = logits;
    ++counts[sampler.Next(absl::MakeSpan(copy))];
  }
  return counts;
}

// Pearson's statistic of counts against the probabilities that they should have; tokens not named must not come.
double ChiSquare(const std::map<TokenId, int>& counts, const std::map<TokenId, double>& probabilities) {
  int draws = 0;
  for (const auto& [id, count] : counts) {
    if (probabilities.count(id) == 0) return kInfinity;
    draws += count;
  }
  double statistic = 0;
  for (const auto& [id, probability] : probabilities) {
    const auto found = counts.find(id);
    const double expected = probability * draws, difference = (found == counts.end() ? 0 : found->second) - expected;
    statistic += difference * difference / expected;
  }
  return statistic;
}

// exp(logit / temperature) of these tokens, shares of their sum.
std::map<TokenId, double> Softmax(const std::vector<float>& logits, double temperature,
                                  const std::vector<TokenId>& ids) {
  std::map<TokenId, double> shares;
  double total = 0;
  for (const TokenId id : ids) total += shares[id] = std::exp(logits[static_cast<size_t>(id)] / temperature);
  for (auto& [id, share] : shares) share /= total;
  return shares;
}

// Greater than the statistic in all but a thousandth of cases, for up to 5 degrees of freedom. Seeds are fixed, so the
// tests always pass or always fail.
constexpr double kChiSquareLimit = 20.5;
constexpr int kDraws = 20000;

TEST(SamplerTest, GreedyTakesTheGreatestAndOfSeveralTheFirst) {
  EXPECT_EQ(Greedy({1, 3, 2}), 1);
  EXPECT_EQ(Greedy({-5, -1, -1, -2}), 1);
  EXPECT_EQ(Greedy({4, 4, 4}), 0);
  EXPECT_EQ(Greedy({-kInfinity, -1e30f}), 1);
}

TEST(SamplerTest, NanIsNeverChosen) {
  EXPECT_EQ(Greedy({kNan, 1, kNan, 2, kNan}), 3);
  EXPECT_EQ(Greedy({kNan, -kInfinity, -7}), 2);
  const std::vector<float> logits = {kNan, 1, kNan, 1};
  const auto counts = Count({.temperature = 1, .seed = 3}, logits, kDraws);
  EXPECT_LT(ChiSquare(counts, {{1, 0.5}, {3, 0.5}}), kChiSquareLimit);
}

TEST(SamplerTest, LogitsThatAreAllNanOrInfiniteGiveSomeToken) {
  for (const float value : {kNan, kInfinity, -kInfinity}) {
    std::vector<float> logits(5, value);
    for (const float temperature : {0.0f, 1.0f}) {
      const TokenId id = Sampler({.temperature = temperature}, {}).Next(absl::MakeSpan(logits));
      EXPECT_GE(id, 0);
      EXPECT_LT(id, 5);
    }
  }
}

TEST(SamplerTest, DrawsBySoftmaxOverTheTemperature) {
  const std::vector<float> logits = {0.5f, -1, 2, 0, 1, -0.5f};
  const std::vector<TokenId> all = {0, 1, 2, 3, 4, 5};
  for (const float temperature : {0.5f, 1.0f, 2.0f}) {
    const auto counts = Count({.temperature = temperature, .seed = 42}, logits, kDraws);
    EXPECT_LT(ChiSquare(counts, Softmax(logits, temperature, all)), kChiSquareLimit) << temperature;
    // The test would see another temperature.
    EXPECT_GT(ChiSquare(counts, Softmax(logits, temperature * 1.2, all)), kChiSquareLimit) << temperature;
  }
}

TEST(SamplerTest, TopKKeepsTheBest) {
  const std::vector<float> logits = {0.5f, -1, 2, 0.5f, 1, 0.5f};
  const auto counts = Count({.temperature = 1, .top_k = 3, .seed = 7}, logits, kDraws);
  EXPECT_LT(ChiSquare(counts, Softmax(logits, 1, {2, 4, 0})), kChiSquareLimit);  // of the ties the smallest id
  EXPECT_EQ(Count({.temperature = 5, .top_k = 1}, logits, 100).size(), 1u);
  EXPECT_EQ(Count({.temperature = 50, .top_k = 100, .seed = 1}, logits, 1000).size(), 6u);  // more than there are
}

TEST(SamplerTest, TopPKeepsTheSmallestSetThatIsProbableEnough) {
  // Probabilities 0.4, 0.3, 0.2, 0.1.
  const std::vector<float> logits = {std::log(0.2f), std::log(0.4f), std::log(0.1f), std::log(0.3f)};
  const auto count = [&](float top_p) { return Count({.temperature = 1, .top_p = top_p, .seed = 5}, logits, kDraws); };
  EXPECT_EQ(count(0.39f).size(), 1u);
  EXPECT_LT(ChiSquare(count(0.41f), Softmax(logits, 1, {1, 3})), kChiSquareLimit);
  EXPECT_LT(ChiSquare(count(0.69f), Softmax(logits, 1, {1, 3})), kChiSquareLimit);
  EXPECT_LT(ChiSquare(count(0.71f), Softmax(logits, 1, {1, 3, 0})), kChiSquareLimit);
  EXPECT_LT(ChiSquare(count(1), Softmax(logits, 1, {0, 1, 2, 3})), kChiSquareLimit);
}

TEST(SamplerTest, TheSameSeedGivesTheSameTokens) {
  const std::vector<float> logits(50, 0.0f);
  const auto draw = [&](uint64_t seed) {
    Sampler sampler({.temperature = 1, .seed = seed}, {});
    std::vector<TokenId> ids;
    for (int i = 0; i < 100; ++i) {
      std::vector<float> copy = logits;
      ids.push_back(sampler.Next(absl::MakeSpan(copy)));
    }
    return ids;
  };
  EXPECT_EQ(draw(1), draw(1));
  EXPECT_NE(draw(1), draw(2));
}

TEST(SamplerTest, ThePenaltyWeakensWhatCame) {
  // From the prompt: 2 is divided, 1.5 is greater then.
  Sampler sampler({.repetition_penalty = 2}, std::vector<TokenId>{0});
  std::vector<float> logits = {2, 1.5f, 1.2f, -1};
  EXPECT_EQ(sampler.Next(absl::MakeSpan(logits)), 1);
  // From the answer: 1 counts now too.
  logits = {2, 1.5f, 1.2f, -1};
  EXPECT_EQ(sampler.Next(absl::MakeSpan(logits)), 2);
  // Negative logits are multiplied; a token that came twice is not penalised twice.
  logits = {-1, -1.5f, -1.9f, -2.5f};
  EXPECT_EQ(sampler.Next(absl::MakeSpan(logits)), 0);
  EXPECT_EQ(logits, (std::vector<float>{-2, -3, -3.8f, -2.5f}));
}

TEST(SamplerTest, ThePenaltyPassesOverIdsThatAreNotThere) {
  Sampler sampler({.repetition_penalty = 2}, std::vector<TokenId>{-1, 3, 1 << 30});
  std::vector<float> logits = {1, 2, 3};
  EXPECT_EQ(sampler.Next(absl::MakeSpan(logits)), 2);
}

TEST(SamplingOptionsTest, RefusesNonsenseByName) {
  ILRE_EXPECT_OK(SamplingOptions{}.Validate());
  const auto refused = [](const SamplingOptions& options, const std::string& name) {
    EXPECT_THAT(options.Validate(), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(name)));
  };
  refused({.temperature = -1}, "temperature");
  refused({.temperature = kNan}, "temperature");
  refused({.top_p = 0}, "top_p");
  refused({.top_p = 1.01f}, "top_p");
  refused({.top_k = -1}, "top_k");
  refused({.repetition_penalty = 0}, "repetition_penalty");
  refused({.repetition_penalty = kInfinity}, "repetition_penalty");
}

}  // namespace
}  // namespace ilre
