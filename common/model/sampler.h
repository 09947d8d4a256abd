// Chooses the next token from logits.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/types/span.h"
#include "common/base/random.h"
#include "common/model/tokenizer.h"

namespace ilre {

struct SamplingOptions {
  float temperature = 0;         // 0: greedy, the rest is then not used but the penalty
  float top_p = 1;               // in (0, 1]: the smallest set of best tokens with at least this probability
  int top_k = 0;                 // only so many best tokens; 0: all
  uint64_t seed = 0;             // the same seed, prompt and options give the same answer
  float repetition_penalty = 1;  // > 0; logits of tokens already there are divided (if positive) or multiplied by it
  absl::Status Validate() const;
};

// One sequence's sampler: remembers which tokens came and the random state. Not thread-safe.
class Sampler {
 public:
  // `options` must be valid. `prompt` counts for the repetition penalty.
  Sampler(const SamplingOptions& options, absl::Span<const TokenId> prompt);

  // logits: [vocab_size], changed by the call. Ties go to the smallest id. Logits that are NaN are never chosen.
  TokenId Next(absl::Span<float> logits);

 private:
  void Penalize(absl::Span<float> logits) const;

  SamplingOptions options_;
  Random random_;
  absl::flat_hash_set<TokenId> seen_;
};

}  // namespace ilre
