// Products of bf16 pairs for attention, where the processor has them. Internal to common/kernels.
#pragma once

#include <cstdint>

namespace ilre::kernels {

inline constexpr int64_t kPairRows = 32;  // rows of queries computed together

// Keys times queries.
struct PairScores {
  int64_t num_keys;      // even
  int64_t dim;           // a multiple of 16
  const uint16_t* keys;  // [num_keys, dim], key_stride apart
  int64_t key_stride;
  const uint32_t* queries;  // [dim / 2, kPairRows]: two neighbouring dimensions each, the first in the lower half
  float* scores;            // [num_keys, kPairRows]
  bool half_rows = false;   // only the first kPairRows / 2 rows of queries are computed, and written
};

// Weights times values, added to sums.
struct PairMix {
  int64_t num_pairs;        // of keys
  int64_t dim;              // a multiple of 16
  const uint32_t* weights;  // [num_pairs, kPairRows], the first key's in the lower half
  const uint16_t* values;   // [num_pairs, dim, 2], pair_stride apart
  int64_t pair_stride;
  float* sums;  // [kPairRows, dim]
};

#if defined(__x86_64__)
bool HasAvx512Bf16();
void ScorePairsAvx512Bf16(const PairScores& task);
void MixPairsAvx512Bf16(const PairMix& task);
#endif

}  // namespace ilre::kernels
