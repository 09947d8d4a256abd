// Scoring of stored vectors against a question's (late interaction: Khattab and Zaharia, "ColBERT", 2020): for each
// segment of a document and each query vector, the greatest inner product with any token's vector. Made for millions of
// tokens: one pass over the stored bytes, which may lie anywhere (no alignment).
//
// Single-threaded: the caller gives blocks of tokens to its tasks. Inner products are chains of multiply-adds over the
// dimensions in ascending order, so that they depend on the two vectors alone, bitwise. Where all numbers of the query
// vectors are bf16 (and dim is a multiple of 16), products of bf16 vectors go in pairs on processors that multiply such
// (AVX512-BF16), in half the time.
#pragma once

#include <cstdint>

#include "common/kernels/aligned.h"

namespace ilre::kernels {

// The query vectors of one question, laid out for the kernels below: make them once, use them for every block.
// Constant after creation; safe to share between threads.
class PackedQueries {
 public:
  // queries: [num_queries, dim] row-major, copied. num_queries >= 0, dim >= 1.
  PackedQueries(const float* queries, int num_queries, int dim);

  int num_queries() const { return num_queries_; }
  int dim() const { return dim_; }
  // [ceil(num_queries / kGroup), dim, kGroup], zeros beyond num_queries; aligned for vectors.
  const float* panels() const { return panels_.data(); }
  // [ceil(num_queries / kGroup), dim / 2, kGroup], two neighbouring dimensions in bf16 each, the first in the lower
  // half; null where numbers are not bf16, or dim is not a multiple of 16.
  const uint32_t* pairs() const { return pairs_.empty() ? nullptr : pairs_.data(); }

  static constexpr int kGroup = 32;  // queries side by side in a panel

 private:
  int num_queries_, dim_;
  AlignedVector<float> panels_;
  AlignedVector<uint32_t> pairs_;
};

// Segments: token t starts one if bit t % 8 of segment_bitmap[t / 8] is set. It belongs to row number
// (start bits in 0..t) of the result: row 0 is what runs on from before the first start.
//
// best: [1 + number of start bits, num_queries], in and out: the maximum so far; set it to -infinity to begin. Rows
// without tokens (row 0, where token 0 starts a segment) are left alone. An inner product that is NaN is not counted.

// keys: [num_tokens, dim] little-endian bf16 bits, any alignment.
void MaxSimBf16(const uint8_t* keys, int num_tokens, const PackedQueries& queries, const uint8_t* segment_bitmap,
                float* best);

// keys: [num_tokens, dim] int8; a vector's value is int8 * scale. scales: [num_tokens] little-endian floats, any
// alignment.
void MaxSimInt8(const uint8_t* keys, const uint8_t* scales, int num_tokens, const PackedQueries& queries,
                const uint8_t* segment_bitmap, float* best);

// All the inner products. out: [num_tokens, num_queries]. keys and scales as above.
void DotBf16(const uint8_t* keys, int num_tokens, const PackedQueries& queries, float* out);
void DotInt8(const uint8_t* keys, const uint8_t* scales, int num_tokens, const PackedQueries& queries, float* out);

}  // namespace ilre::kernels
