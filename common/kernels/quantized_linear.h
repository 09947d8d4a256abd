// Linear layers whose weights stay as model files quantise them (4 or 8 bits in blocks of 32 inputs): y = x W^T + b
// with x rounded to int8 in blocks of 32, products summed in integers. A token that is decoded alone costs reading the
// weights, and these are a quarter to a half of bfloat16.
//
// Sums of products within a block are exact; the rest is float32 in a fixed order. So results are the same, bit for
// bit, on every processor, and a row of y depends on its own row of x and on W alone.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "common/base/thread_pool.h"
#include "common/kernels/aligned.h"
#include "common/kernels/linear.h"

namespace ilre::kernels {

// Blocks of 32 numbers as GGUF files have them (ggml-common.h of https://github.com/ggml-org/ggml).
enum class QuantizedFormat {
  kQ4_0,  // half d, 16 bytes: d * (code - 8); low nibbles are codes 0 to 15, high ones 16 to 31
  kQ4_1,  // half d, half m, 16 bytes: d * code + m
  kQ8_0,  // half d, 32 int8: d * code
};
int64_t QuantizedBlockBytes(QuantizedFormat format);

// One weight matrix. Constant after creation and safe to share between threads; movable.
class QuantizedLinear {
 public:
  static constexpr int64_t kBlock = 32;  // inputs

  // An empty layer: no inputs, no outputs.
  QuantizedLinear() = default;

  // row(o): the blocks of output o, [in / 32] of them, called from threads of `pool`, needed during this call alone.
  // bias: [out] or null, copied. in: a multiple of 32; out >= 0, any.
  static QuantizedLinear FromBlocks(QuantizedFormat format, int64_t out, int64_t in,
                                    const std::function<const uint8_t*(int64_t)>& row, const float* bias,
                                    ThreadPool& pool);

  int64_t in_features() const { return in_; }
  int64_t out_features() const { return out_; }
  // Whether all numbers of W are: then a finite x gives a finite y.
  bool all_finite() const { return all_finite_; }
  int64_t weight_bytes() const;  // memory that one Apply reads for the weights, padding included

  // As PackedLinear::Apply. Each block of 32 numbers of a row of x is rounded to multiples of its greatest magnitude
  // / 127, ties to even. A row with a number that is not finite gives NaNs; other rows do not notice.
  void Apply(const float* x, int64_t rows, float* y, ThreadPool& pool, Accumulate accumulate = Accumulate::kStore,
             int64_t x_stride = 0, int64_t y_stride = 0) const;

  // Writes row `output` of W, as the format defines its numbers, as [in] floats.
  void CopyRow(int64_t output, float* weights) const;

 private:
  // Whether all is finite.
  bool PackPanel(int64_t panel, const std::function<const uint8_t*(int64_t)>& row);

  QuantizedFormat format_ = QuantizedFormat::kQ8_0;
  int64_t out_ = 0, in_ = 0;
  bool all_finite_ = true;
  AlignedVector<uint8_t> codes_;      // [panels, blocks, bytes of 16 outputs' codes]; see quantized_tile.h
  AlignedVector<uint16_t> scales_;    // [panels, blocks, 16] halves
  AlignedVector<uint16_t> minimums_;  // the same, kQ4_1 alone
  AlignedVector<float> bias_;         // [out], padded with zeros to whole panels
};

// The ways of computing it. All give the same bits.
enum class QuantizedPath { kPortable, kAvx2, kAvx512Vnni };

// Those that this processor runs, best first. The best one is taken, once, when first needed.
std::vector<QuantizedPath> SupportedQuantizedPaths();
const char* QuantizedPathName(QuantizedPath path);
QuantizedPath ChosenQuantizedPath();
// For tests and benchmarks: no Apply may run meanwhile.
void SetQuantizedPath(QuantizedPath path);

}  // namespace ilre::kernels
