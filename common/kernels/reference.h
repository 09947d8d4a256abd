// The kernels as their definitions read: slow, plain, in double precision. Oracles of the tests and the yardstick of
// the benchmark; nothing else uses them. Shapes as in the kernels' headers, all rows contiguous.
#pragma once

#include <cstdint>

#include "common/kernels/banded_attention.h"

namespace ilre::kernels::reference {

// y: [rows, out] = x [rows, in] times weight [out, in] (bf16 bits) transposed, plus bias [out] or null.
void Linear(const float* x, int64_t rows, const uint16_t* weight, int64_t out, int64_t in, const float* bias, float* y);

// As common/kernels/int8_linear.h defines it, of weights as floats; exact sums, so equal to it bit for bit.
void Int8Linear(const float* x, int64_t rows, const float* weight, int64_t out, int64_t in, const float* bias,
                float* y);

// The same arguments and strides as the kernel.
void BandedAttention(const BandedAttentionArgs& args);

void RmsNorm(const float* x, int64_t rows, int64_t dim, const float* weight, float eps, float* out);
void Rope(float* x, int64_t rows, int64_t heads, int64_t dim, const float* cosines, const float* sines);
void SiluMul(const float* gate_up, int64_t rows, int64_t size, float* out);
void GeluMul(const float* gate_up, int64_t rows, int64_t size, float* out);
void Softmax(float* x, int64_t count, float scale);

// out: [num_tokens, num_queries]; keys: [num_tokens, dim] as floats; queries: [num_queries, dim].
void Dot(const float* keys, int num_tokens, int dim, const float* queries, int num_queries, float* out);

// best: [1 + starts, num_queries], from the inner products dots [num_tokens, num_queries].
void SegmentMax(const float* dots, int num_tokens, int num_queries, const uint8_t* segment_bitmap, float* best);

}  // namespace ilre::kernels::reference
