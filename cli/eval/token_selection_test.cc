// The rivals' choices against their definitions, computed plainly from a small model's queries and keys.
#include "cli/eval/token_selection.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <vector>

#include "common/base/random.h"
#include "common/base/test_matchers.h"
#include "common/model/checkpoint.h"
#include "gtest/gtest.h"

namespace ilre::cli {
namespace {

constexpr int kLayer = 1;

class TokenSelectionTest : public ::testing::TestWithParam<int> {
 protected:
  void SetUp() override {
    const auto checkpoint = Checkpoint::Open("tests/model/data/tiny-llama");
    ILRE_ASSERT_OK(checkpoint);
    ILRE_ASSERT_OK_AND_ASSIGN(decoder_, Decoder::Load(**checkpoint, {}));
    const ModelConfig& config = decoder_->config();
    Random random(5);
    for (int i = 0; i < GetParam(); ++i) {
      prompt_.push_back(static_cast<TokenId>(random.Below(static_cast<uint64_t>(config.vocab_size))));
    }
    ILRE_ASSERT_OK_AND_ASSIGN(const auto cache, decoder_->NewCache(GetParam()));
    const Tap taps[] = {{Tap::Kind::kQuery, kLayer}, {Tap::Kind::kKey, kLayer}};
    ILRE_ASSERT_OK(decoder_->Forward(prompt_, cache.get(), taps, Decoder::Logits::kNone, &raw_, nullptr));
  }

  // Element i of a head's vector, rotated: `x` of [tokens, heads, dim].
  double Rotated(const std::vector<float>& x, int heads, int token, int head, int i) const {
    const int dim = static_cast<int>(decoder_->config().head_dim), half = dim / 2;
    const float* vector = &x[static_cast<size_t>((token * heads + head) * dim)];
    const double angle =
        token * static_cast<double>(RotaryFrequencies(decoder_->config())[static_cast<size_t>(i % half)]);
    const double other = i < half ? -vector[i + half] : vector[i - half];
    return vector[i] * std::cos(angle) + other * std::sin(angle);
  }

  double Product(int query, int key, int head) const {
    const ModelConfig& config = decoder_->config();
    const int heads = static_cast<int>(config.num_heads), kv_heads = static_cast<int>(config.num_kv_heads);
    double sum = 0;
    for (int i = 0; i < config.head_dim; ++i) {
      sum += Rotated(raw_[0], heads, query, head, i) * Rotated(raw_[1], kv_heads, key, head * kv_heads / heads, i);
    }
    return sum;
  }

  std::unique_ptr<Decoder> decoder_;
  std::vector<TokenId> prompt_;
  std::vector<std::vector<float>> raw_;  // queries and keys before rotation
};

TEST_P(TokenSelectionTest, GemFilterIsTheLastTokensProducts) {
  ILRE_ASSERT_OK_AND_ASSIGN(const LayerAttention attention, PrefillTo(*decoder_, prompt_, kLayer));
  const std::vector<float> scores = GemFilterScores(attention);
  const int n = GetParam();
  ASSERT_EQ(scores.size(), prompt_.size());
  for (int t = 0; t < n; ++t) {
    double expected = 0;
    for (int near = std::max(0, t - 2); near <= std::min(n - 1, t + 2); ++near) {
      for (int head = 0; head < decoder_->config().num_heads; ++head) expected += Product(n - 1, near, head) / 5;
    }
    EXPECT_NEAR(scores[static_cast<size_t>(t)], expected, 1e-3 * std::max(1.0, std::abs(expected))) << t;
  }
}

TEST_P(TokenSelectionTest, SnapKvIsTheLastQueriesAttention) {
  ILRE_ASSERT_OK_AND_ASSIGN(const LayerAttention attention, PrefillTo(*decoder_, prompt_, kLayer));
  const std::vector<float> scores = SnapKvScores(attention);
  const int n = GetParam();
  std::vector<double> sums(static_cast<size_t>(n), 0);
  for (int query = std::max(0, n - kLastQueries); query < n; ++query) {
    for (int head = 0; head < decoder_->config().num_heads; ++head) {
      std::vector<double> weights;
      double total = 0;
      for (int key = 0; key <= query; ++key) {
        weights.push_back(
            std::exp(Product(query, key, head) / std::sqrt(static_cast<double>(decoder_->config().head_dim))));
        total += weights.back();
      }
      for (int key = 0; key <= query; ++key)
        sums[static_cast<size_t>(key)] += weights[static_cast<size_t>(key)] / total;
    }
  }
  ASSERT_EQ(scores.size(), sums.size());
  for (int t = 0; t < n; ++t) {
    const double expected = *std::max_element(sums.begin() + std::max(0, t - 3), sums.begin() + std::min(n, t + 4));
    EXPECT_NEAR(scores[static_cast<size_t>(t)], expected, 1e-3 * expected) << t;
  }
}

// More and fewer tokens than queries that are kept, and than are pooled.
INSTANTIATE_TEST_SUITE_P(Lengths, TokenSelectionTest, ::testing::Values(3, 20, 120));

TEST(BestTokensTest, OnlyTheDocumentsAreChosen) {
  const std::vector<float> scores = {9, 1, 5, 5, 2, 5, 9};
  EXPECT_EQ(BestTokens(scores, 1, 6, 2), (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(BestTokens(scores, 1, 6, 4), (std::vector<int64_t>{2, 3, 4, 5}));
  EXPECT_EQ(BestTokens(scores, 1, 6, 100).size(), 5u);
  EXPECT_TRUE(BestTokens(scores, 1, 1, 3).empty());
}

}  // namespace
}  // namespace ilre::cli
