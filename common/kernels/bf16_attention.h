// Banded attention (banded_attention.h) with products of bfloat16 numbers, summed in float32: twice as fast where the
// processor multiplies such pairs (AVX512-BF16).
#pragma once

#include <cstdint>

namespace ilre::kernels {

// As BandedAttentionArgs, but for the types of the cache. Pointers are borrowed for the call.
struct Bf16AttentionArgs {
  int64_t num_queries = 0;     // n >= 0
  int64_t num_past = 0;        // >= 0: keys before the first query's own
  int64_t num_sinks = 0;       // >= 0
  int64_t window = INT64_MAX;  // >= 1
  int num_heads = 0;           // H, a multiple of G
  int num_kv_heads = 0;        // G
  int head_dim = 0;            // d, a multiple of 16
  float scale = 0;
  const float* q = nullptr;     // [n, H * d], rotated; rounded to bf16 after scaling
  const uint16_t* k = nullptr;  // [m, G * d], m = num_past + n rounded up to an even number; rotated
  const uint16_t* v = nullptr;  // [m / 2, G * d, 2]: the values of two keys side by side
  float* out = nullptr;         // [n, H * d]
  int64_t q_stride = 0;         // floats between rows; 0: contiguous
};

// The attention that BandedAttention defines, to about 0.4% of the greatest value: q * scale, keys, values and
// exp(score
// - greatest) are rounded to bf16. All numbers of the cache must be finite, those of a key that fills up m too.
//
// A row of the result depends, bitwise, on its query, its place in the cache, and the keys and values that it sees,
// alone. It is the same on all processors with AVX512-BF16, and on all with AVX2 alone, but not between the two.
//
// Runs on the calling thread. Scratch memory: 200 bytes for each key that a query sees; kept for the next call.
void Bf16Attention(const Bf16AttentionArgs& args);

// Whether products go through AVX512-BF16. For tests: takes it away, or gives it back where the processor has it.
bool UsesBf16Products();
void AllowBf16Products(bool allow);

}  // namespace ilre::kernels
