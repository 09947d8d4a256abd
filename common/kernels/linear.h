// Linear layers: y = x W^T + b with float32 activations and bfloat16 weights, computed in float32.
#pragma once

#include <cstdint>
#include <vector>

#include "common/base/thread_pool.h"
#include "common/kernels/aligned.h"

namespace ilre::kernels {

enum class Accumulate {
  kStore,  // y = result
  kAddTo,  // y = y + result: residual connections
};

// One weight matrix, packed for the processor's vector units. Constant after creation and safe to share between
// threads; movable.
//
// Every element of y is one chain of multiply-adds over the inputs in ascending order, then "+ bias". It depends,
// bitwise, on its own row of x and its own row of W alone: not on `rows`, the row's place, strides, or the threads.
// (It may differ between processors with and without fused multiply-add.)
class PackedLinear {
 public:
  // An empty layer: no inputs, no outputs.
  PackedLinear() = default;

  // weight: [out, in] row-major bf16 bits; bias: [out] or null. Both are copied. out, in >= 0, of any size: nothing
  // needs to be a multiple of anything.
  static PackedLinear FromBf16(const uint16_t* weight, int64_t out, int64_t in, const float* bias = nullptr);

  int64_t in_features() const { return in_; }
  int64_t out_features() const { return out_; }
  int64_t weight_bytes() const;  // memory that one Apply reads for the weights, padding included

  // x: [rows, in], row r at x + r * x_stride; y: [rows, out], row r at y + r * y_stride. Strides are in floats; 0
  // stands for contiguous rows (in, out). rows >= 0. x and y must not overlap; columns of y beyond `out` are not
  // touched. Runs on the threads of `pool`, so it must not be called from inside its ParallelFor.
  void Apply(const float* x, int64_t rows, float* y, ThreadPool& pool, Accumulate accumulate = Accumulate::kStore,
             int64_t x_stride = 0, int64_t y_stride = 0) const;

  // Writes row `output` of W, exactly, as [in] floats: an embedding tied to the output projection needs no second copy.
  void CopyRow(int64_t output, float* weights) const;
  std::vector<float> Bias() const { return {bias_.begin(), bias_.begin() + out_}; }  // [out]

 private:
  int64_t out_ = 0, in_ = 0;
  AlignedVector<float> bias_;        // [out], padded with zeros to whole panels
  AlignedVector<uint16_t> weights_;  // [panels, in, columns of a panel] bf16 bits; see linear.cc
};

}  // namespace ilre::kernels
