// The small operations between a transformer's matrix products. Activations are float32, token-major.
//
// Strides are in floats; 0 stands for contiguous rows. Each row of a result depends, bitwise, on its own row of the
// input alone, however many rows or threads there are. `out` may be the same memory as `x` where that is said.
// Functions that take a ThreadPool must not be called from inside its ParallelFor.
#pragma once

#include <cstdint>

#include "common/base/thread_pool.h"

namespace ilre::kernels {

// out = x / sqrt(mean(x^2) + eps) * weight, for each row (Zhang and Sennrich, "Root Mean Square Layer Normalization",
// 2019). x: [rows, dim], weight: [dim] or null (then without it), out: [rows, dim], may be x.
void RmsNorm(const float* x, int64_t rows, int64_t dim, const float* weight, float eps, float* out, ThreadPool& pool,
             int64_t x_stride = 0, int64_t out_stride = 0);

// The same in place for each head of each token (Qwen3 normalises queries and keys so).
// x: [rows, heads, dim], row r at x + r * stride, its heads contiguous; weight: [dim].
void RmsNormHeads(float* x, int64_t rows, int64_t heads, int64_t dim, const float* weight, float eps, ThreadPool& pool,
                  int64_t stride = 0);

// Rotary position embedding (Su et al., "RoFormer", 2021), in place, with the pairs (i, i + dim / 2) of each head:
//   x_i' = x_i cos_i - x_{i + dim/2} sin_i,  x_{i + dim/2}' = x_{i + dim/2} cos_i + x_i sin_i.
// x: [rows, heads, dim], row r at x + r * stride, its heads contiguous; dim even. cosines, sines: [rows, dim / 2].
void Rope(float* x, int64_t rows, int64_t heads, int64_t dim, const float* cosines, const float* sines,
          ThreadPool& pool, int64_t stride = 0);

// out = silu(gate) * up, with silu(g) = g / (1 + exp(-g)) to a relative 1e-6.
// gate_up: [rows, 2 * size], the gates of a row first; out: [rows, size], may be gate_up if the strides
// (as given, or contiguous) are equal. Gates below -87 count as 0.
void SiluMul(const float* gate_up, int64_t rows, int64_t size, float* out, ThreadPool& pool, int64_t in_stride = 0,
             int64_t out_stride = 0);

// out = gelu(gate) * up by the approximation with tanh, gelu(g) = g / 2 (1 + tanh(sqrt(2 / pi) (g + 0.044715 g^3)))
// (Hendrycks and Gimpel, "Gaussian Error Linear Units", 2016), to 1e-6 of |g up|. The rest as SiluMul.
void GeluMul(const float* gate_up, int64_t rows, int64_t size, float* out, ThreadPool& pool, int64_t in_stride = 0,
             int64_t out_stride = 0);

// y = y + x. x, y: [count].
void AddInPlace(float* y, const float* x, int64_t count, ThreadPool& pool);

// y = y + scale * x. x, y: [count].
void AddScaled(float* y, float scale, const float* x, int64_t count);

// The sum of a_i b_i, in an order that depends on count alone. a, b: [count].
float InnerProduct(const float* a, const float* b, int64_t count);

// Each row divided by its Euclidean length; a row of zeros (or numbers whose squares vanish)
// becomes zeros. x: [rows, dim], out: [rows, dim], may be x.
void NormalizeRows(const float* x, int64_t rows, int64_t dim, float* out, int64_t x_stride = 0, int64_t out_stride = 0);

// x = softmax(x * scale), in place. x: [count], count >= 1.
void Softmax(float* x, int64_t count, float scale = 1.0f);

// The index of the greatest element, the first of several. NaN is never the greatest; all NaN gives 0.
// x: [count], count >= 1.
int64_t ArgMax(const float* x, int64_t count);

// To bf16 bits, rounded to nearest even (bf16.h), and exactly back. in, out: [count], any alignment of 2 and 4.
void ConvertToBf16(const float* in, int64_t count, uint16_t* out);
void ConvertFromBf16(const uint16_t* in, int64_t count, float* out);

}  // namespace ilre::kernels
