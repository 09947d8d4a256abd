// Plain first versions, to be replaced one by one.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "common/kernels/bf16.h"
#include "common/kernels/elementwise.h"
#include "common/kernels/reference.h"

namespace ilre::kernels {

void RmsNorm(const float* x, int64_t rows, int64_t dim, const float* weight, float eps, float* out, ThreadPool&,
             int64_t x_stride, int64_t out_stride) {
  for (int64_t r = 0; r < rows; ++r) {
    reference::RmsNorm(x + r * (x_stride ? x_stride : dim), 1, dim, weight, eps,
                       out + r * (out_stride ? out_stride : dim));
  }
}

void RmsNormHeads(float* x, int64_t rows, int64_t heads, int64_t dim, const float* weight, float eps, ThreadPool&,
                  int64_t stride) {
  for (int64_t r = 0; r < rows; ++r) {
    float* row = x + r * (stride ? stride : heads * dim);
    reference::RmsNorm(row, heads, dim, weight, eps, row);
  }
}

void Rope(float* x, int64_t rows, int64_t heads, int64_t dim, const float* cosines, const float* sines, ThreadPool&,
          int64_t stride) {
  for (int64_t r = 0; r < rows; ++r) {
    reference::Rope(x + r * (stride ? stride : heads * dim), 1, heads, dim, cosines + r * dim / 2, sines + r * dim / 2);
  }
}

void SiluMul(const float* gate_up, int64_t rows, int64_t size, float* out, ThreadPool&, int64_t in_stride,
             int64_t out_stride) {
  for (int64_t r = 0; r < rows; ++r) {
    reference::SiluMul(gate_up + r * (in_stride ? in_stride : 2 * size), 1, size,
                       out + r * (out_stride ? out_stride : size));
  }
}

void AddInPlace(float* y, const float* x, int64_t count, ThreadPool&) {
  for (int64_t i = 0; i < count; ++i) y[i] += x[i];
}

void NormalizeRows(const float* x, int64_t rows, int64_t dim, float* out, int64_t x_stride, int64_t out_stride) {
  if (x_stride == 0) x_stride = dim;
  if (out_stride == 0) out_stride = dim;
  for (int64_t r = 0; r < rows; ++r) {
    double squares = 0;
    for (int64_t i = 0; i < dim; ++i) squares += static_cast<double>(x[r * x_stride + i]) * x[r * x_stride + i];
    const float factor = squares > 0 ? static_cast<float>(1 / std::sqrt(squares)) : 0.0f;
    for (int64_t i = 0; i < dim; ++i) out[r * out_stride + i] = x[r * x_stride + i] * factor;
  }
}

void Softmax(float* x, int64_t count, float scale) { reference::Softmax(x, count, scale); }

int64_t ArgMax(const float* x, int64_t count) {
  int64_t best = 0;
  for (int64_t i = 1; i < count; ++i) {
    if (x[i] > x[best] || std::isnan(x[best])) best = i;
  }
  return std::isnan(x[best]) ? 0 : best;
}

void ConvertToBf16(const float* in, int64_t count, uint16_t* out) {
  for (int64_t i = 0; i < count; ++i) out[i] = Bf16FromFloat(in[i]);
}

void ConvertFromBf16(const uint16_t* in, int64_t count, float* out) {
  for (int64_t i = 0; i < count; ++i) out[i] = FloatFromBf16(in[i]);
}

}  // namespace ilre::kernels
