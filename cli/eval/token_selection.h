// What rivals of this project's method would keep of a long prompt: tokens chosen by the model's own attention at one
// layer, after all of the prompt has run through the layers below it (a dense prefill, whose cost grows with the square
// of the length, and whose positions end where the model's do).
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/model/decoder.h"

namespace ilre::cli {

// Queries and keys of one layer over a whole prompt, rotated by their places.
struct LayerAttention {
  int64_t num_heads = 0, num_kv_heads = 0, head_dim = 0;
  std::vector<float> queries;  // [last tokens, num_heads * head_dim] of the prompt's last tokens
  std::vector<float> keys;     // [tokens, num_kv_heads * head_dim]
  int64_t num_tokens() const { return static_cast<int64_t>(keys.size()) / (num_kv_heads * head_dim); }
  int64_t num_queries() const { return static_cast<int64_t>(queries.size()) / (num_heads * head_dim); }
};

// The queries that SnapKV looks from; GemFilter takes the last of them.
inline constexpr int kLastQueries = 32;

// Runs `prompt` through the layers below `layer`, which the decoder must have. Queries are kept of the last
// kLastQueries tokens, or of all if there are fewer. Errors: those of Decoder::Forward.
absl::StatusOr<LayerAttention> PrefillTo(const Decoder& decoder, absl::Span<const TokenId> prompt, int layer,
                                         const Decoder::KeepGoing& keep_going = nullptr);

// GemFilter (Shi et al., "Discovering the Gems in Early Layers", arXiv 2409.17422): the last token's products with all
// keys, summed over heads, then the mean over five tokens (beyond the ends: zeros). -> [tokens]
std::vector<float> GemFilterScores(const LayerAttention& attention);

// SnapKV's choice (Li et al., "SnapKV: LLM Knows What You are Looking for Before Generation", arXiv 2404.14469), made
// once for all heads: causal softmax attention of the last queries, summed over queries and heads, then the maximum
// over seven tokens. -> [tokens]
std::vector<float> SnapKvScores(const LayerAttention& attention);

// The `budget` tokens of [begin, end) that score best, the earlier of equal ones; ascending.
std::vector<int64_t> BestTokens(const std::vector<float>& scores, int64_t begin, int64_t end, int64_t budget);

}  // namespace ilre::cli
