#include "cli/eval/token_selection.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "common/base/status_macros.h"
#include "common/base/thread_pool.h"
#include "common/kernels/elementwise.h"
#include "common/model/rotary_table.h"

namespace ilre::cli {
namespace {

constexpr int64_t kMeanWidth = 5, kMaxWidth = 7;  // tokens, of GemFilter and SnapKV

// q . k of query row `query` and head `head` with each of the first `count` keys.
std::vector<float> Products(const LayerAttention& attention, int64_t query, int64_t head, int64_t count) {
  const int64_t dim = attention.head_dim, key_width = attention.num_kv_heads * dim;
  const int64_t key_head = head / (attention.num_heads / attention.num_kv_heads);
  const float* q = &attention.queries[static_cast<size_t>((query * attention.num_heads + head) * dim)];
  std::vector<float> products(static_cast<size_t>(count));
  for (int64_t t = 0; t < count; ++t) {
    const float* k = &attention.keys[static_cast<size_t>(t * key_width + key_head * dim)];
    products[static_cast<size_t>(t)] = std::inner_product(q, q + dim, k, 0.0f);
  }
  return products;
}

// [tokens] the sum over `rows` of row(i), each of at most so many tokens; computed side by side, added in order.
template <typename Row>
std::vector<float> SumOfRows(int64_t rows, int64_t tokens, const Row& row) {
  std::vector<std::vector<float>> parts(static_cast<size_t>(rows));
  DefaultPool().ParallelFor(rows, [&](int64_t i) { parts[static_cast<size_t>(i)] = row(i); });
  std::vector<float> sum(static_cast<size_t>(tokens), 0.0f);
  for (const std::vector<float>& part : parts) {
    for (size_t t = 0; t < part.size(); ++t) sum[t] += part[t];
  }
  return sum;
}

// What `reduce` makes of the tokens at most width / 2 away from each.
template <typename Reduce>
std::vector<float> Pool(const std::vector<float>& scores, int64_t width, const Reduce& reduce) {
  const auto n = static_cast<int64_t>(scores.size());
  std::vector<float> pooled;
  for (int64_t t = 0; t < n; ++t) {
    const auto begin = scores.begin() + std::max<int64_t>(0, t - width / 2);
    pooled.push_back(reduce(begin, scores.begin() + std::min(n, t + width / 2 + 1)));
  }
  return pooled;
}

}  // namespace

absl::StatusOr<LayerAttention> PrefillTo(const Decoder& decoder, absl::Span<const TokenId> prompt, int layer,
                                         const Decoder::KeepGoing& keep_going) {
  const ModelConfig& config = decoder.config();
  const auto n = static_cast<int64_t>(prompt.size());
  ILRE_ASSIGN_OR_RETURN(const auto cache, decoder.NewCache(n));
  const Tap taps[] = {{Tap::Kind::kQuery, layer}, {Tap::Kind::kKey, layer}};
  std::vector<std::vector<float>> outputs;
  ILRE_RETURN_IF_ERROR(
      decoder.Forward(prompt, cache.get(), taps, Decoder::Logits::kNone, &outputs, nullptr, keep_going));
  LayerAttention attention{
      .num_heads = config.num_heads, .num_kv_heads = config.num_kv_heads, .head_dim = config.head_dim};
  const int64_t query_width = attention.num_heads * attention.head_dim, kept = std::min<int64_t>(n, kLastQueries);
  attention.queries.assign(outputs[0].end() - static_cast<std::ptrdiff_t>(kept * query_width), outputs[0].end());
  attention.keys = std::move(outputs[1]);
  const RotaryTable table(RotaryFrequencies(config), 0, n);
  const auto first = static_cast<size_t>((n - kept) * attention.head_dim / 2);  // of the queries' angles
  kernels::Rope(attention.keys.data(), n, attention.num_kv_heads, attention.head_dim, table.cosines.data(),
                table.sines.data(), DefaultPool());
  kernels::Rope(attention.queries.data(), kept, attention.num_heads, attention.head_dim, table.cosines.data() + first,
                table.sines.data() + first, DefaultPool());
  return attention;
}

std::vector<float> GemFilterScores(const LayerAttention& attention) {
  const int64_t n = attention.num_tokens();
  const std::vector<float> sums = SumOfRows(
      attention.num_heads, n, [&](int64_t head) { return Products(attention, attention.num_queries() - 1, head, n); });
  return Pool(sums, kMeanWidth,
              [](auto begin, auto end) { return std::accumulate(begin, end, 0.0f) / static_cast<float>(kMeanWidth); });
}

std::vector<float> SnapKvScores(const LayerAttention& attention) {
  const int64_t n = attention.num_tokens(), queries = attention.num_queries();
  const float scale = 1 / std::sqrt(static_cast<float>(attention.head_dim));
  const std::vector<float> sums = SumOfRows(queries * attention.num_heads, n, [&](int64_t i) {
    const int64_t query = i / attention.num_heads;
    std::vector<float> row = Products(attention, query, i % attention.num_heads, n - queries + query + 1);
    kernels::Softmax(row.data(), static_cast<int64_t>(row.size()), scale);
    return row;
  });
  return Pool(sums, kMaxWidth, [](auto begin, auto end) { return *std::max_element(begin, end); });
}

std::vector<int64_t> BestTokens(const std::vector<float>& scores, int64_t begin, int64_t end, int64_t budget) {
  std::vector<int64_t> tokens(static_cast<size_t>(end - begin));
  std::iota(tokens.begin(), tokens.end(), begin);
  const auto count = static_cast<std::ptrdiff_t>(std::min(budget, end - begin));
  std::partial_sort(tokens.begin(), tokens.begin() + count, tokens.end(), [&](int64_t a, int64_t b) {
    const float x = scores[static_cast<size_t>(a)], y = scores[static_cast<size_t>(b)];
    return x != y ? x > y : a < b;
  });
  tokens.resize(static_cast<size_t>(count));
  std::sort(tokens.begin(), tokens.end());
  return tokens;
}

}  // namespace ilre::cli
