// Linear layers in eight-bit integers: y = x W^T + b with one scale for each row of W and one for each block of 64
// inputs of a row of x. Two to four times as fast as float32 where the processor multiplies bytes (AVX-512 VNNI, AMX).
//
// Sums of products within a block are exact; the rest is float32 in a fixed order. So results are the same, bit for
// bit, on every processor, and a row of y depends on its own row of x and on W alone.
#pragma once

#include <cstdint>
#include <vector>

#include "common/kernels/aligned.h"
#include "common/kernels/linear.h"

namespace ilre::kernels {

// The ways of computing such a layer. All give the same bits.
enum class Int8Path {
  kPortable,
  kAvx2,
  kAvx512Vnni,
  kAmx,
  kAmxEmulated,  // kAmx with its instructions' definition in their place: for tests, on processors with AVX-512
};

// Rows of activations, rounded to int8. Each row is cut into blocks of 64 inputs (the last one filled up with zeros);
// a block's scale is its greatest absolute value / 127, and its numbers are round(x / scale), ties to even. Keeps its
// memory for the next Assign. Not thread-safe while it changes.
class Int8Rows {
 public:
  // x: [rows, in], row r at x + r * x_stride floats; 0 stands for contiguous rows. rows >= 0, in >= 1. Numbers must be
  // finite: others give rows of NaN or of nothing of use, never a crash.
  void Assign(const float* x, int64_t rows, int64_t in, int64_t x_stride = 0);

  int64_t rows() const { return rows_; }
  int64_t in_features() const { return in_; }

  static constexpr int64_t kBlock = 64;  // inputs with one scale
  static constexpr int64_t kGroup = 8;   // rows side by side

 private:
  friend class Int8Linear;
  int64_t rows_ = 0, in_ = 0;
  bool in_tiles_ = false;         // the layout of values_, that which the path takes that was chosen at Assign
  AlignedVector<int8_t> values_;  // [groups, depth / 4, kGroup, 4], or [groups / 2, blocks, 2 kGroup, kBlock] in tiles
  AlignedVector<float> scales_;   // [groups, blocks, kGroup]; as values_ and sums_ without meaning beyond `rows`
  AlignedVector<int32_t> sums_;   // [groups, blocks, kGroup]: of a block's values
};

// One weight matrix. Constant after creation and safe to share between threads; movable.
class Int8Linear {
 public:
  // An empty layer: no inputs, no outputs.
  Int8Linear() = default;

  // Rounds each row of a packed matrix to int8: scale = greatest absolute value / 127. out >= 0, in >= 1, of any size.
  static Int8Linear FromPacked(const PackedLinear& linear);
  // weight: [out, in] row-major; bias: [out] or null. Copied.
  static Int8Linear FromFloats(const float* weight, int64_t out, int64_t in, const float* bias = nullptr);

  int64_t in_features() const { return in_; }
  int64_t out_features() const { return out_; }

  // Columns [begin, end) of y [x.rows(), end - begin], row r at y + r * y_stride floats; 0 stands for contiguous rows.
  // x.in_features() must be in_features(). begin must be a multiple of 16. Runs on the calling thread.
  void Apply(const Int8Rows& x, float* y, Accumulate accumulate = Accumulate::kStore, int64_t y_stride = 0) const {
    ApplyColumns(x, 0, out_, y, accumulate, y_stride);
  }
  void ApplyColumns(const Int8Rows& x, int64_t begin, int64_t end, float* y, Accumulate accumulate = Accumulate::kStore,
                    int64_t y_stride = 0) const;

  static constexpr int64_t kPanel = 16;  // outputs side by side

 private:
  void ComputeTile(Int8Path path, const Int8Rows& x, int64_t row, int64_t first, float* sums) const;
  void PackRow(int64_t output, const float* weights);

  int64_t out_ = 0, in_ = 0;
  AlignedVector<uint8_t> weights_;  // [panels, depth / 4, kPanel, 4]: int8 + 128
  AlignedVector<float> scales_;     // [out], padded with zeros to whole panels
  AlignedVector<float> bias_;       // the same; empty without a bias
};

// The paths that this processor runs, best first. The best one is taken, once, when first needed.
std::vector<Int8Path> SupportedInt8Paths();
const char* Int8PathName(Int8Path path);
Int8Path ChosenInt8Path();
// For tests and benchmarks: no Apply may run meanwhile, and rows are to be assigned after it.
void SetInt8Path(Int8Path path);

}  // namespace ilre::kernels
