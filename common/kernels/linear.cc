#include "common/kernels/linear.h"

#include <algorithm>
#include <atomic>
#include <cstring>

#include "common/base/check.h"
#include "common/kernels/bf16.h"
#include "hwy/cache_control.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "common/kernels/linear.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
// After highway.h:
#include "common/kernels/tile-inl.h"

// What all targets share: the layout of the packed weights, and one task of the multiplication.
#ifndef ILRE_KERNELS_LINEAR_SHARED
#define ILRE_KERNELS_LINEAR_SHARED
namespace ilre::kernels {

// Weights are kept in panels of 32 outputs, [inputs, 32] each: for each input, the weights of these outputs, the two
// halves interleaved (output i in element 2 i, output 16 + i in element 2 i + 1). A vector of such elements is two
// vectors of float32: one by a shift, the other by a mask.
inline constexpr int64_t kPanelColumns = 32;
inline constexpr int64_t kHalfPanel = kPanelColumns / 2;
inline constexpr int64_t kDepthUnroll = 4;  // inputs are padded with zeros to a multiple of this

// Where output `column` of a panel lies among the elements of one input.
inline int64_t ElementOfColumn(int64_t column) {
  return column < kHalfPanel ? 2 * column : 2 * (column - kHalfPanel) + 1;
}

inline int64_t DivideUp(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Some rows of x times some panels.
struct LinearTask {
  int64_t depth;            // inputs, padded
  const uint16_t* weights;  // [panels, depth, kPanelColumns]
  const float* bias;        // [panels * kPanelColumns]
  int64_t num_panels;
  int64_t num_outputs;  // columns of y to write, <= num_panels * kPanelColumns
  const float* packed;  // rows of x as PackRows laid them out
  int64_t num_rows;
  float* y;
  int64_t y_stride;
  Accumulate accumulate;
};

}  // namespace ilre::kernels
#endif  // ILRE_KERNELS_LINEAR_SHARED

HWY_BEFORE_NAMESPACE();
namespace ilre::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

const hn::ScalableTag<float> kFloats;
using Floats = hn::Vec<decltype(kFloats)>;
constexpr int64_t kLanes = HWY_LANES(float);
static_assert(kHalfPanel % kLanes == 0);

// Inputs whose weights are asked for ahead: 4 KiB.
constexpr int64_t kPrefetchDepth = 64;

// Rows are cut into groups of about the same size, at most kTileRows.
struct Groups {
  explicit Groups(int64_t num_rows) : num_rows(num_rows), count(DivideUp(num_rows, kTileRows)) {}
  int64_t begin(int64_t group) const { return group * num_rows / count; }
  int64_t size(int64_t group) const { return begin(group + 1) - begin(group); }
  int64_t num_rows, count;
};

// Copies one group of rows as [depth / 4, rows, 4], so that a tile reads one stream with constant offsets.
void PackGroup(const float* x, int64_t x_stride, int64_t rows, int64_t in, float* packed) {
  for (int64_t r = 0; r < rows; ++r) {
    const float* row = x + r * x_stride;
    float* to = packed + r * kDepthUnroll;
    int64_t i = 0;
    for (; i + kDepthUnroll <= in; i += kDepthUnroll, to += rows * kDepthUnroll) {
      std::memcpy(to, row + i, kDepthUnroll * sizeof(float));
    }
    if (i < in) {
      std::memset(to, 0, kDepthUnroll * sizeof(float));
      std::memcpy(to, row + i, (in - i) * sizeof(float));
    }
  }
}

// Lays out x, [rows, in], for RunTask, group after group. packed: [rows, depth] floats in all.
void PackRows(const float* x, int64_t x_stride, int64_t rows, int64_t in, float* packed) {
  const int64_t depth = DivideUp(in, kDepthUnroll) * kDepthUnroll;
  const Groups groups(rows);
  for (int64_t g = 0; g < groups.count; ++g) {
    PackGroup(x + groups.begin(g) * x_stride, x_stride, groups.size(g), in, packed + groups.begin(g) * depth);
  }
}

// Adds one vector of sums to its place in y, or stores it there; columns beyond `columns` stay untouched.
HWY_INLINE void StoreSums(Floats sums, int64_t columns, Accumulate accumulate, float* y) {
  if (HWY_LIKELY(columns >= kLanes)) {
    if (accumulate == Accumulate::kAddTo) sums = hn::Add(hn::LoadU(kFloats, y), sums);
    hn::StoreU(sums, kFloats, y);
    return;
  }
  HWY_ALIGN float values[kLanes];
  hn::Store(sums, kFloats, values);
  for (int64_t c = 0; c < columns; ++c) y[c] = accumulate == Accumulate::kAddTo ? y[c] + values[c] : values[c];
}

// kRows rows of x times 2 * kLanes columns of a panel: columns [first, first + kLanes) of each of its halves.
template <int kRows>
HWY_INLINE void MultiplyTile(const LinearTask& task, const float* HWY_RESTRICT x, const uint16_t* HWY_RESTRICT panel,
                             int64_t first, int64_t panel_column, float* HWY_RESTRICT y) {
  const hn::Repartition<uint32_t, decltype(kFloats)> pairs_tag;
  const auto upper_half = hn::Set(pairs_tag, 0xFFFF0000u);
  Floats sums[kRows][2];
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) sums[r][0] = sums[r][1] = hn::Zero(kFloats);
  const uint32_t* HWY_RESTRICT pairs = reinterpret_cast<const uint32_t*>(panel) + first;
  for (int64_t i = 0; i < task.depth; i += kDepthUnroll) {
#pragma GCC unroll 4
    for (int u = 0; u < kDepthUnroll; ++u) {
      const auto bits = hn::Load(pairs_tag, pairs + u * kHalfPanel);
      const Floats low = hn::BitCast(kFloats, hn::ShiftLeft<16>(bits));
      const Floats high = hn::BitCast(kFloats, hn::And(bits, upper_half));
#pragma GCC unroll 16
      for (int r = 0; r < kRows; ++r) {
        const Floats factor = hn::Set(kFloats, x[r * kDepthUnroll + u]);
        sums[r][0] = hn::MulAdd(factor, low, sums[r][0]);
        sums[r][1] = hn::MulAdd(factor, high, sums[r][1]);
      }
    }
    // Weights come from memory or the last-level cache; the processor's own prefetching stops at each page.
    for (int64_t u = 0; u < kDepthUnroll; ++u) hwy::Prefetch(pairs + (kPrefetchDepth + u) * kHalfPanel);
    pairs += kDepthUnroll * kHalfPanel;
    x += kDepthUnroll * kRows;
  }
  const int64_t low_column = panel_column + first, high_column = low_column + kHalfPanel;
  const Floats low_bias = hn::LoadU(kFloats, task.bias + low_column);
  const Floats high_bias = hn::LoadU(kFloats, task.bias + high_column);
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r, y += task.y_stride) {
    StoreSums(hn::Add(sums[r][0], low_bias), task.num_outputs - low_column, task.accumulate, y + low_column);
    StoreSums(hn::Add(sums[r][1], high_bias), task.num_outputs - high_column, task.accumulate, y + high_column);
  }
}

template <int kRows>
HWY_NOINLINE void MultiplyPanel(const LinearTask& task, const float* x, const uint16_t* panel, int64_t panel_column,
                                float* y) {
  for (int64_t first = 0; first < kHalfPanel; first += kLanes) {
    MultiplyTile<kRows>(task, x, panel, first, panel_column, y);
  }
}

// The instance of MultiplyPanel for a number of rows known at run time, 1 <= rows <= kRows.
template <int kRows>
HWY_INLINE void MultiplyPanelOf(int64_t rows, const LinearTask& task, const float* x, const uint16_t* panel,
                                int64_t panel_column, float* y) {
  if constexpr (kRows > 1) {
    if (rows < kRows) return MultiplyPanelOf<kRows - 1>(rows, task, x, panel, panel_column, y);
  }
  MultiplyPanel<kRows>(task, x, panel, panel_column, y);
}

void RunTask(const LinearTask& task) {
  const Groups groups(task.num_rows);
  for (int64_t p = 0; p < task.num_panels; ++p) {
    const uint16_t* panel = task.weights + p * task.depth * kPanelColumns;
    for (int64_t g = 0; g < groups.count; ++g) {
      MultiplyPanelOf<kTileRows>(groups.size(g), task, task.packed + groups.begin(g) * task.depth, panel,
                                 p * kPanelColumns, task.y + groups.begin(g) * task.y_stride);
    }
  }
}

}  // namespace ilre::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ilre::kernels {
namespace {

HWY_EXPORT(PackRows);
HWY_EXPORT(RunTask);

}  // namespace

PackedLinear PackedLinear::FromBf16(const uint16_t* weight, int64_t out, int64_t in, const float* bias) {
  ILRE_CHECK(out >= 0 && in >= 0);
  const int64_t panels = DivideUp(out, kPanelColumns), depth = DivideUp(in, kDepthUnroll) * kDepthUnroll;
  PackedLinear linear;
  linear.out_ = out;
  linear.in_ = in;
  linear.weights_.assign(panels * depth * kPanelColumns, 0);
  linear.bias_.assign(panels * kPanelColumns, 0.0f);
  if (bias != nullptr) std::copy(bias, bias + out, linear.bias_.begin());
  for (int64_t o = 0; o < out; ++o) {
    uint16_t* column = linear.weights_.data() + o / kPanelColumns * depth * kPanelColumns;
    column += ElementOfColumn(o % kPanelColumns);
    for (int64_t i = 0; i < in; ++i) column[i * kPanelColumns] = weight[o * in + i];
  }
  return linear;
}

int64_t PackedLinear::weight_bytes() const { return static_cast<int64_t>(weights_.size() * sizeof(uint16_t)); }

void PackedLinear::CopyRow(int64_t output, float* weights) const {
  const int64_t depth = DivideUp(in_, kDepthUnroll) * kDepthUnroll;
  const uint16_t* column = weights_.data() + output / kPanelColumns * depth * kPanelColumns;
  column += ElementOfColumn(output % kPanelColumns);
  for (int64_t i = 0; i < in_; ++i) weights[i] = FloatFromBf16(column[i * kPanelColumns]);
}

namespace {

struct Range {
  int64_t begin, end;
  int64_t size() const { return end - begin; }
};

// How an Apply is cut into tasks: blocks of rows, each packed once by every thread that works on it, times chunks of
// panels.
class Plan {
 public:
  Plan(int64_t rows, int64_t panels, int64_t depth) : rows_(rows), panels_(panels) {
    blocks_ = DivideUp(rows, kBlockRows);
    const int64_t panel_work = std::max<int64_t>(1, DivideUp(rows, blocks_) * depth * kPanelColumns);
    const int64_t panel_bytes = std::max<int64_t>(1, depth * kPanelColumns * 2);
    const int64_t panels_per_task = std::min(DivideUp(kTaskMultiplications, panel_work), kTaskBytes / panel_bytes);
    chunks_ = DivideUp(panels, std::max<int64_t>(1, panels_per_task));
  }

  int64_t num_tasks() const { return blocks_ * chunks_; }
  int64_t block(int64_t task) const { return task / chunks_; }
  Range rows(int64_t task) const {
    const int64_t b = block(task);
    return {b * rows_ / blocks_, (b + 1) * rows_ / blocks_};
  }
  Range panels(int64_t task) const {
    const int64_t c = task % chunks_;
    return {c * panels_ / chunks_, (c + 1) * panels_ / chunks_};
  }

 private:
  // Rows whose packed form stays in the second-level cache while the panels pass by.
  static constexpr int64_t kBlockRows = 96;
  // Enough work for a task to be worth handing over: some 25 us of multiplying, or of reading weights.
  static constexpr int64_t kTaskMultiplications = 3 << 20, kTaskBytes = 256 << 10;

  int64_t rows_, panels_, blocks_, chunks_;
};

}  // namespace

void PackedLinear::Apply(const float* x, int64_t rows, float* y, ThreadPool& pool, Accumulate accumulate,
                         int64_t x_stride, int64_t y_stride) const {
  ILRE_CHECK(rows >= 0);
  if (rows == 0 || out_ == 0) return;
  if (x_stride == 0) x_stride = in_;
  if (y_stride == 0) y_stride = out_;
  const int64_t depth = DivideUp(in_, kDepthUnroll) * kDepthUnroll;
  const Plan plan(rows, DivideUp(out_, kPanelColumns), depth);
  std::atomic<int64_t> next_task{0};
  pool.ParallelFor(std::min<int64_t>(pool.num_threads(), plan.num_tasks()), [&](int64_t) {
    thread_local AlignedVector<float> packed;
    int64_t packed_block = -1;
    for (int64_t t; (t = next_task.fetch_add(1, std::memory_order_relaxed)) < plan.num_tasks();) {
      const Range block = plan.rows(t), panels = plan.panels(t);
      if (plan.block(t) != packed_block) {
        packed_block = plan.block(t);
        if (static_cast<int64_t>(packed.size()) < block.size() * depth) packed.resize(block.size() * depth);
        HWY_DYNAMIC_DISPATCH(PackRows)(x + block.begin * x_stride, x_stride, block.size(), in_, packed.data());
      }
      const int64_t column = panels.begin * kPanelColumns;
      HWY_DYNAMIC_DISPATCH(RunTask)
      ({depth, weights_.data() + column * depth, bias_.data() + column, panels.size(), out_ - column, packed.data(),
        block.size(), y + block.begin * y_stride + column, y_stride, accumulate});
    }
  });
}

}  // namespace ilre::kernels
#endif  // HWY_ONCE
