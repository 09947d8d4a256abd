#include "common/kernels/bf16_tile.h"

#if defined(__x86_64__)

#include <cstring>

#include "hwy/base.h"
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // of GCC 12's own intrinsics (its bug 105593)
#endif
#include <immintrin.h>

namespace ilre::kernels {

bool HasAvx512Bf16() {
  return __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
}

HWY_PUSH_ATTRIBUTES("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")
namespace avx512_bf16 {

HWY_INLINE __m512bh Pairs(const void* memory) {
  const __m512i bits = _mm512_loadu_si512(memory);
  __m512bh pairs;
  std::memcpy(&pairs, &bits, sizeof(pairs));
  return pairs;
}

HWY_INLINE __m512bh EachPair(const void* memory) {
  int32_t pair;
  std::memcpy(&pair, memory, sizeof(pair));
  const __m512i bits = _mm512_set1_epi32(pair);
  __m512bh pairs;
  std::memcpy(&pairs, &bits, sizeof(pairs));
  return pairs;
}

// kKeys keys from `first` on, 16 rows for each of kVectors vectors.
template <int kKeys, int kVectors>
HWY_INLINE void Score(const PairScores& task, int64_t first) {
  __m512 sums[kKeys][kVectors];
#pragma GCC unroll 12
  for (int j = 0; j < kKeys; ++j) {
    for (int i = 0; i < kVectors; ++i) sums[j][i] = _mm512_setzero_ps();
  }
  const uint16_t* keys = task.keys + first * task.key_stride;
  const uint32_t* queries = task.queries;
  const int64_t stride = task.key_stride;
  for (int64_t c = 0; c < task.dim; c += 2, queries += kPairRows) {
    __m512bh rows[kVectors];
    for (int i = 0; i < kVectors; ++i) rows[i] = Pairs(queries + 16 * i);
#pragma GCC unroll 12
    for (int j = 0; j < kKeys; ++j) {
      const __m512bh key = EachPair(keys + j * stride + c);
      for (int i = 0; i < kVectors; ++i) sums[j][i] = _mm512_dpbf16_ps(sums[j][i], rows[i], key);
    }
  }
#pragma GCC unroll 12
  for (int j = 0; j < kKeys; ++j) {
    float* to = task.scores + (first + j) * kPairRows;
    for (int i = 0; i < kVectors; ++i) _mm512_storeu_ps(to + 16 * i, sums[j][i]);
  }
}

template <int kVectors>
HWY_NOINLINE void ScoreAll(const PairScores& task) {
  int64_t j = 0;
  for (; j + 12 <= task.num_keys; j += 12) Score<12, kVectors>(task, j);
  for (; j + 4 <= task.num_keys; j += 4) Score<4, kVectors>(task, j);
  for (; j + 2 <= task.num_keys; j += 2) Score<2, kVectors>(task, j);
}

// kRows rows from `first` on, kVectors vectors of columns from `column` on.
template <int kRows, int kVectors>
HWY_INLINE void Mix(const PairMix& task, int64_t first, int64_t column) {
  __m512 sums[kRows][kVectors];
#pragma GCC unroll 12
  for (int r = 0; r < kRows; ++r) {
    for (int i = 0; i < kVectors; ++i) {
      sums[r][i] = _mm512_loadu_ps(task.sums + (first + r) * task.dim + column + i * 16);
    }
  }
  const uint32_t* weights = task.weights + first;
  const uint16_t* values = task.values + column * 2;
  for (int64_t p = 0; p < task.num_pairs; ++p, weights += kPairRows, values += task.pair_stride) {
    __m512bh pairs[kVectors];
    for (int i = 0; i < kVectors; ++i) pairs[i] = Pairs(values + i * 32);
#pragma GCC unroll 12
    for (int r = 0; r < kRows; ++r) {
      const __m512bh weight = EachPair(weights + r);
      for (int i = 0; i < kVectors; ++i) sums[r][i] = _mm512_dpbf16_ps(sums[r][i], pairs[i], weight);
    }
  }
#pragma GCC unroll 12
  for (int r = 0; r < kRows; ++r) {
    for (int i = 0; i < kVectors; ++i) {
      _mm512_storeu_ps(task.sums + (first + r) * task.dim + column + i * 16, sums[r][i]);
    }
  }
}

template <int kVectors>
HWY_INLINE void MixColumns(const PairMix& task, int64_t column) {
  Mix<12, kVectors>(task, 0, column);
  Mix<12, kVectors>(task, 12, column);
  Mix<8, kVectors>(task, 24, column);
}

HWY_NOINLINE void MixAll(const PairMix& task) {
  int64_t column = 0;
  for (; column + 32 <= task.dim; column += 32) MixColumns<2>(task, column);
  if (column < task.dim) MixColumns<1>(task, column);
}

}  // namespace avx512_bf16
HWY_POP_ATTRIBUTES

void ScorePairsAvx512Bf16(const PairScores& task) {
  task.half_rows ? avx512_bf16::ScoreAll<1>(task) : avx512_bf16::ScoreAll<2>(task);
}
void MixPairsAvx512Bf16(const PairMix& task) { avx512_bf16::MixAll(task); }

}  // namespace ilre::kernels

#endif  // __x86_64__
