#include "cli/calibrate/head_attention.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "common/base/thread_pool.h"
#include "common/kernels/elementwise.h"
#include "common/kernels/max_sim.h"
#include "common/model/decoder.h"

namespace ilre::cli {
namespace {

constexpr float kNothing = -std::numeric_limits<float>::infinity();

// Rotates row i of x [n, dim] by its place.
void Rotate(float* x, int64_t n, int64_t dim, const std::vector<int64_t>& places,
            const std::vector<float>& frequencies) {
  std::vector<float> cosines, sines;
  for (const int64_t place : places) {
    for (const float frequency : frequencies) {
      const double angle = static_cast<double>(place) * frequency;
      cosines.push_back(static_cast<float>(std::cos(angle)));
      sines.push_back(static_cast<float>(std::sin(angle)));
    }
  }
  kernels::Rope(x, n, 1, dim, cosines.data(), sines.data(), InlinePool());
}

}  // namespace

float HeadAttention::Vectors::LogSum(size_t i) const { return largest[i] + static_cast<float>(std::log(sums[i])); }

HeadAttention::HeadAttention(const ModelConfig& config, int layer, std::vector<float> queries,
                             const std::vector<int>& owner, int64_t place)
    : group_(static_cast<int>(config.num_heads / config.num_kv_heads)),
      dim_(static_cast<int>(config.head_dim)),
      owner_(owner),
      frequencies_(RotaryFrequencies(config, config.IsLocal(layer))) {
  const size_t tokens = owner_.size(), dim = static_cast<size_t>(dim_), group = static_cast<size_t>(group_);
  std::vector<int64_t> places;
  for (size_t i = 0; i < tokens; ++i) {
    places.push_back(i > 0 && owner_[i] == owner_[i - 1] ? places.back() + 1 : place);
  }
  std::vector<float> own(tokens * dim);
  for (Vectors* vectors : {&plain_, &rotated_}) {
    vectors->bits.resize(group * tokens * dim);
    vectors->largest.assign(group * tokens, kNothing);
    vectors->sums.assign(group * tokens, 0);
    for (size_t head = 0; head < group; ++head) {
      for (size_t token = 0; token < tokens; ++token) {
        for (size_t i = 0; i < dim; ++i) {
          own[token * dim + i] = queries[(token * group + head) * dim + i] / config.ScoreDivisor();
        }
      }
      if (vectors == &rotated_) Rotate(own.data(), static_cast<int64_t>(tokens), dim_, places, frequencies_);
      kernels::ConvertToBf16(own.data(), static_cast<int64_t>(own.size()), vectors->bits.data() + head * tokens * dim);
    }
  }
}

std::vector<float> HeadAttention::Rotated(const float* keys, int n, int64_t first) const {
  std::vector<float> rotated(keys, keys + int64_t{n} * dim_);
  std::vector<int64_t> places;
  for (int i = 0; i < n; ++i) places.push_back(first + i);
  Rotate(rotated.data(), n, dim_, places, frequencies_);
  return rotated;
}

// -> [tokens of questions, n]
std::vector<float> HeadAttention::Products(const Vectors& vectors, int query_head, const std::vector<float>& keys,
                                           int n) const {
  const auto size = static_cast<int64_t>(keys.size());
  std::vector<uint16_t> bits(keys.size());
  std::vector<float> rounded(keys.size()), products(owner_.size() * static_cast<size_t>(n));
  kernels::ConvertToBf16(keys.data(), size, bits.data());
  kernels::ConvertFromBf16(bits.data(), size, rounded.data());
  const uint16_t* queries = vectors.bits.data() + static_cast<size_t>(query_head) * owner_.size() * dim_;
  kernels::DotBf16(reinterpret_cast<const uint8_t*>(queries), static_cast<int>(owner_.size()),
                   kernels::PackedQueries(rounded.data(), n, dim_), products.data());
  return products;
}

void HeadAttention::Add(Vectors* vectors, const std::vector<float>& keys, int n) {
  for (int head = 0; head < group_; ++head) {
    std::vector<float> products = Products(*vectors, head, keys, n);
    for (size_t token = 0; token < owner_.size(); ++token) {
      float* row = products.data() + token * static_cast<size_t>(n);
      const size_t i = static_cast<size_t>(head) * owner_.size() + token;
      const float largest = *std::max_element(row, row + n);
      // Online softmax (Milakov and Gimelshein, 2018). The kernel's share of the greatest is one over the sum.
      kernels::Softmax(row, n);
      const double sum = 1.0 / *std::max_element(row, row + n);
      const float both = std::max(largest, vectors->largest[i]);
      vectors->sums[i] = vectors->sums[i] * std::exp(vectors->largest[i] - both) + sum * std::exp(largest - both);
      vectors->largest[i] = both;
    }
  }
}

void HeadAttention::AddToSums(const float* keys, int n, int64_t first) {
  Add(&plain_, std::vector<float>(keys, keys + int64_t{n} * dim_), n);
  Add(&rotated_, Rotated(keys, n, first), n);
}

void HeadAttention::AddScores(const float* keys, int n, int64_t first, const int64_t* segment_of, const Scores& scores,
                              float* best, float* published) const {
  const auto width = static_cast<size_t>(n), tokens = owner_.size();
  const size_t questions = owner_.empty() ? 0 : static_cast<size_t>(owner_.back()) + 1;
  const std::vector<float> plain(keys, keys + int64_t{n} * dim_), rotated = Rotated(keys, n, first);
  std::vector<float> group_best(questions * width, kNothing);
  const auto add_to_segments = [&](const std::vector<float>& logs, float* segments) {
    for (size_t q = 0; q < questions; ++q) {
      for (size_t t = 0; t < width; ++t) {
        segments[static_cast<int64_t>(q) * scores.num_segments + segment_of[t]] += std::exp(logs[q * width + t]);
      }
    }
  };
  for (int head = 0; head < group_; ++head) {
    std::vector<float> products = Products(plain_, head, plain, n), head_best(questions * width, kNothing);
    for (size_t token = 0; token < tokens; ++token) {
      const float log_sum = plain_.LogSum(static_cast<size_t>(head) * tokens + token);
      const float* row = products.data() + token * width;
      float* of_question = head_best.data() + static_cast<size_t>(owner_[token]) * width;
      for (size_t t = 0; t < width; ++t) of_question[t] = std::max(of_question[t], row[t] - log_sum);
    }
    add_to_segments(head_best, scores.query_heads[static_cast<size_t>(head)]);
    for (size_t i = 0; i < head_best.size(); ++i) group_best[i] = std::max(group_best[i], head_best[i]);

    products = Products(rotated_, head, rotated, n);
    for (size_t token = 0; token < tokens; ++token) {
      float* row = products.data() + token * width;
      float* of_question = published + static_cast<size_t>(owner_[token]) * width;
      const float largest = *std::max_element(row, row + n);
      kernels::Softmax(row, n);
      const float sum = 1.0f / *std::max_element(row, row + n);
      // What the softmax over the block is to be multiplied with to be one over the document.
      const float share = sum * std::exp(largest - rotated_.LogSum(static_cast<size_t>(head) * tokens + token));
      for (size_t t = 0; t < width; ++t) of_question[t] += row[t] * share;
    }
  }
  add_to_segments(group_best, scores.key_head);
  for (size_t i = 0; i < group_best.size(); ++i) best[i] = std::max(best[i], group_best[i]);
}

}  // namespace ilre::cli
