#include "common/kernels/quantized_linear.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <limits>

#include "common/base/check.h"
#include "common/base/half.h"
#include "common/kernels/quantized_tile.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "common/kernels/quantized_linear.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace ilre::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

const hn::ScalableTag<float> kFloats;
constexpr int64_t kLanes = HWY_LANES(float);
static_assert(QuantizedLinear::kBlock % kLanes == 0);

void QuantizeBlock(const float* HWY_RESTRICT x, QuantizedBlock* HWY_RESTRICT block) {
  const hn::RebindToSigned<decltype(kFloats)> integers;
  const hn::Rebind<int8_t, decltype(kFloats)> bytes;
  // As bits, magnitudes are in the order of the numbers, with what is not finite above all others.
  auto greatest = hn::Zero(integers);
  for (int64_t i = 0; i < QuantizedLinear::kBlock; i += kLanes) {
    greatest = hn::Max(greatest, hn::BitCast(integers, hn::Abs(hn::LoadU(kFloats, x + i))));
  }
  const int32_t bits = hn::GetLane(hn::MaxOfLanes(integers, greatest));
  float largest;
  std::memcpy(&largest, &bits, sizeof(largest));
  // Numbers so small are nothing beside what they are added to; 127 / them would overflow.
  if (largest < 1e-30f || bits >= 0x7F800000) {
    std::memset(block, 0, sizeof(*block));
    if (largest < 1e-30f) return;
    block->scale = block->scaled_sum = std::numeric_limits<float>::quiet_NaN();
    return;
  }
  const auto factor = hn::Set(kFloats, 127.0f / largest);
  auto sums = hn::Zero(integers);
  for (int64_t i = 0; i < QuantizedLinear::kBlock; i += kLanes) {
    const auto rounded = hn::NearestInt(hn::Mul(hn::LoadU(kFloats, x + i), factor));
    sums = hn::Add(sums, rounded);
    hn::StoreU(hn::DemoteTo(bytes, rounded), bytes, block->values + i);
  }
  block->sum = hn::GetLane(hn::SumOfLanes(integers, sums));
  block->scale = largest / 127.0f;
  block->scaled_sum = block->scale * static_cast<float>(block->sum);
  block->unused = 0;
}

// Rows of one group -> blocks [num_blocks, rows].
void QuantizeGroup(const float* x, int64_t x_stride, int64_t rows, int64_t num_blocks, QuantizedBlock* blocks) {
  for (int64_t r = 0; r < rows; ++r) {
    const float* row = x + r * x_stride;
    for (int64_t b = 0; b < num_blocks; ++b) QuantizeBlock(row + b * QuantizedLinear::kBlock, blocks + b * rows + r);
  }
}

// y [rows, columns] = (or +=) sums [rows, 16] + bias.
void StoreTile(const float* HWY_RESTRICT sums, int64_t rows, int64_t columns, const float* HWY_RESTRICT bias,
               Accumulate accumulate, float* HWY_RESTRICT y, int64_t y_stride) {
  static_assert(kQuantizedPanel % kLanes == 0);
  HWY_ALIGN float values[kQuantizedPanel];
  for (int64_t r = 0; r < rows; ++r, sums += kQuantizedPanel, y += y_stride) {
    const bool whole = columns == kQuantizedPanel;
    float* to = whole ? y : values;
    if (!whole) std::memcpy(values, y, static_cast<size_t>(columns) * sizeof(float));
    for (int64_t i = 0; i < kQuantizedPanel; i += kLanes) {
      auto value = hn::Add(hn::Load(kFloats, sums + i), hn::LoadU(kFloats, bias + i));
      if (accumulate == Accumulate::kAddTo) value = hn::Add(hn::LoadU(kFloats, to + i), value);
      hn::StoreU(value, kFloats, to + i);
    }
    if (!whole) std::memcpy(y, values, static_cast<size_t>(columns) * sizeof(float));
  }
}

}  // namespace ilre::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ilre::kernels {
namespace {

HWY_EXPORT(QuantizeGroup);
HWY_EXPORT(StoreTile);

int64_t DivideUp(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Bytes of one block's codes of a panel.
int64_t CodeBytes(QuantizedFormat format) {
  return kQuantizedPanel * QuantizedLinear::kBlock / (format == QuantizedFormat::kQ8_0 ? 1 : 2);
}

QuantizedTileFunction* FunctionOf(QuantizedPath path) {
#if defined(__x86_64__)
  if (path == QuantizedPath::kAvx512Vnni) return QuantizedTileAvx512Vnni;
  if (path == QuantizedPath::kAvx2) return QuantizedTileAvx2;
#endif
  return QuantizedTilePortable;
}

// Asked once: where a hypervisor answers for the processor, asking takes longer than a small layer.
std::atomic<QuantizedPath>& Chosen() {
  static std::atomic<QuantizedPath> chosen{SupportedQuantizedPaths().front()};
  return chosen;
}

struct Range {
  int64_t begin, end;
  int64_t size() const { return end - begin; }
};

Range Part(int64_t index, int64_t count, int64_t size) { return {index * size / count, (index + 1) * size / count}; }

// Rows are cut into groups of about the same size, at most kQuantizedRows.
int64_t NumGroups(int64_t rows) { return DivideUp(rows, kQuantizedRows); }

// How an Apply is cut into tasks: blocks of rows, each rounded once by every thread that works on it, times chunks of
// panels.
class Plan {
 public:
  Plan(int64_t rows, int64_t panels, int64_t panel_multiplications, int64_t panel_bytes)
      : rows_(rows), panels_(panels), blocks_(DivideUp(rows, kBlockRows)) {
    const int64_t work = std::max<int64_t>(1, DivideUp(rows, blocks_) * panel_multiplications);
    const int64_t panels_per_task =
        std::min(DivideUp(kTaskMultiplications, work), kTaskBytes / std::max<int64_t>(1, panel_bytes));
    chunks_ = DivideUp(panels, std::max<int64_t>(1, panels_per_task));
  }

  int64_t num_tasks() const { return blocks_ * chunks_; }
  int64_t block(int64_t task) const { return task / chunks_; }
  Range rows(int64_t task) const { return Part(block(task), blocks_, rows_); }
  Range panels(int64_t task) const { return Part(task % chunks_, chunks_, panels_); }

 private:
  static constexpr int64_t kBlockRows = 96;  // rows whose rounded form stays in the first two caches
  // Enough work for a task to be worth handing over: some 20 us of multiplying, or of reading weights.
  static constexpr int64_t kTaskMultiplications = 4 << 20, kTaskBytes = 128 << 10;

  int64_t rows_, panels_, blocks_, chunks_;
};

}  // namespace

int64_t QuantizedBlockBytes(QuantizedFormat format) {
  switch (format) {
    case QuantizedFormat::kQ4_0:
      return 2 + 16;
    case QuantizedFormat::kQ4_1:
      return 2 + 2 + 16;
    case QuantizedFormat::kQ8_0:
      return 2 + 32;
  }
  ILRE_CHECK(false);
}

std::vector<QuantizedPath> SupportedQuantizedPaths() {
  std::vector<QuantizedPath> paths;
#if defined(__x86_64__)
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
  if (avx2 && __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq")) {
    paths.push_back(QuantizedPath::kAvx512Vnni);
  }
  if (avx2) paths.push_back(QuantizedPath::kAvx2);
#endif
  paths.push_back(QuantizedPath::kPortable);
  return paths;
}

const char* QuantizedPathName(QuantizedPath path) {
  return path == QuantizedPath::kAvx512Vnni ? "AVX-512 VNNI" : path == QuantizedPath::kAvx2 ? "AVX2" : "portable";
}

QuantizedPath ChosenQuantizedPath() { return Chosen(); }

void SetQuantizedPath(QuantizedPath path) { Chosen() = path; }

QuantizedLinear QuantizedLinear::FromBlocks(QuantizedFormat format, int64_t out, int64_t in,
                                            const std::function<const uint8_t*(int64_t)>& row, const float* bias,
                                            ThreadPool& pool) {
  ILRE_CHECK(out >= 0 && in >= 0 && in % kBlock == 0);
  const int64_t panels = DivideUp(out, kQuantizedPanel), blocks = in / kBlock;
  QuantizedLinear linear;
  linear.format_ = format;
  linear.out_ = out;
  linear.in_ = in;
  linear.codes_.resize(panels * blocks * CodeBytes(format));
  linear.scales_.resize(panels * blocks * kQuantizedPanel);
  if (format == QuantizedFormat::kQ4_1) linear.minimums_.resize(linear.scales_.size());
  linear.bias_.assign(panels * kQuantizedPanel, 0.0f);
  if (bias != nullptr) std::copy(bias, bias + out, linear.bias_.begin());
  constexpr int64_t kPanelsPerTask = 16;
  const int64_t tasks = DivideUp(panels, kPanelsPerTask);
  std::atomic<bool> all_finite{true};
  pool.ParallelFor(tasks, [&](int64_t task) {
    const Range range = Part(task, tasks, panels);
    for (int64_t panel = range.begin; panel < range.end; ++panel) {
      if (!linear.PackPanel(panel, row)) all_finite = false;
    }
  });
  linear.all_finite_ = all_finite;
  return linear;
}

bool QuantizedLinear::PackPanel(int64_t panel, const std::function<const uint8_t*(int64_t)>& row) {
  const int64_t blocks = in_ / kBlock, code_bytes = CodeBytes(format_), block_bytes = QuantizedBlockBytes(format_);
  const bool has_minimum = format_ == QuantizedFormat::kQ4_1;
  const uint8_t flip = format_ == QuantizedFormat::kQ8_0 ? 0x80 : 0;  // int8 to int8 + 128
  const int64_t first = panel * kQuantizedPanel, count = std::min(kQuantizedPanel, out_ - first);
  bool finite = true;
  for (int64_t o = 0; o < count; ++o) {
    const uint8_t* from = row(first + o);
    for (int64_t b = 0; b < blocks; ++b, from += block_bytes) {
      const int64_t block = panel * blocks + b, place = block * kQuantizedPanel + o;
      std::memcpy(&scales_[place], from, 2);
      finite &= IsFiniteHalf(scales_[place]);
      if (has_minimum) {
        std::memcpy(&minimums_[place], from + 2, 2);
        finite &= IsFiniteHalf(minimums_[place]);
      }
      const uint8_t* codes = from + (has_minimum ? 4 : 2);
      uint8_t* to = codes_.data() + block * code_bytes + o * 4;
      for (int64_t i = 0; i < code_bytes / kQuantizedPanel; i += 4, to += kQuantizedPanel * 4) {
        for (int64_t j = 0; j < 4; ++j) to[j] = codes[i + j] ^ flip;
      }
    }
  }
  return finite;
}

int64_t QuantizedLinear::weight_bytes() const {
  return static_cast<int64_t>(codes_.size() + (scales_.size() + minimums_.size()) * sizeof(uint16_t));
}

void QuantizedLinear::CopyRow(int64_t output, float* weights) const {
  const int64_t blocks = in_ / kBlock, code_bytes = CodeBytes(format_), o = output % kQuantizedPanel;
  for (int64_t b = 0; b < blocks; ++b, weights += kBlock) {
    const int64_t block = output / kQuantizedPanel * blocks + b, place = block * kQuantizedPanel + o;
    const float scale = HalfToFloat(scales_[place]);
    const float minimum = minimums_.empty() ? 0.0f : HalfToFloat(minimums_[place]);
    const uint8_t* from = codes_.data() + block * code_bytes + o * 4;
    for (int64_t i = 0; i < code_bytes / kQuantizedPanel; ++i) {
      const uint8_t code = from[i / 4 * kQuantizedPanel * 4 + i % 4];
      if (format_ == QuantizedFormat::kQ8_0) {
        weights[i] = scale * static_cast<float>(code - 128);
      } else if (format_ == QuantizedFormat::kQ4_0) {
        weights[i] = scale * static_cast<float>((code & 15) - 8);
        weights[i + 16] = scale * static_cast<float>((code >> 4) - 8);
      } else {
        weights[i] = scale * static_cast<float>(code & 15) + minimum;
        weights[i + 16] = scale * static_cast<float>(code >> 4) + minimum;
      }
    }
  }
}

void QuantizedLinear::Apply(const float* x, int64_t rows, float* y, ThreadPool& pool, Accumulate accumulate,
                            int64_t x_stride, int64_t y_stride) const {
  ILRE_CHECK(rows >= 0);
  if (rows == 0 || out_ == 0) return;
  if (x_stride == 0) x_stride = in_;
  if (y_stride == 0) y_stride = out_;
  const int64_t blocks = in_ / kBlock, code_bytes = CodeBytes(format_), panels = DivideUp(out_, kQuantizedPanel);
  const Plan plan(rows, panels, blocks * kBlock * kQuantizedPanel, blocks * (code_bytes + 4 * kQuantizedPanel));
  QuantizedTileFunction* const compute = FunctionOf(Chosen().load(std::memory_order_relaxed));
  const auto quantize = HWY_DYNAMIC_DISPATCH(QuantizeGroup);
  const auto store = HWY_DYNAMIC_DISPATCH(StoreTile);
  std::atomic<int64_t> next_task{0};
  pool.ParallelFor(std::min<int64_t>(pool.num_threads(), plan.num_tasks()), [&](int64_t) {
    thread_local AlignedVector<QuantizedBlock> rounded;
    alignas(kCacheLine) float sums[kQuantizedRows * kQuantizedPanel];
    int64_t rounded_block = -1;
    for (int64_t t; (t = next_task.fetch_add(1, std::memory_order_relaxed)) < plan.num_tasks();) {
      const Range block = plan.rows(t), range = plan.panels(t);
      const int64_t groups = NumGroups(block.size());
      if (plan.block(t) != rounded_block) {
        rounded_block = plan.block(t);
        if (static_cast<int64_t>(rounded.size()) < block.size() * blocks) rounded.resize(block.size() * blocks);
        for (int64_t g = 0; g < groups; ++g) {
          const Range group = Part(g, groups, block.size());
          quantize(x + (block.begin + group.begin) * x_stride, x_stride, group.size(), blocks,
                   rounded.data() + group.begin * blocks);
        }
      }
      for (int64_t p = range.begin; p < range.end; ++p) {
        const int64_t scale_place = p * blocks * kQuantizedPanel, column = p * kQuantizedPanel;
        for (int64_t g = 0; g < groups; ++g) {
          const Range group = Part(g, groups, block.size());
          compute({format_, blocks, codes_.data() + p * blocks * code_bytes, scales_.data() + scale_place,
                   minimums_.empty() ? nullptr : minimums_.data() + scale_place, rounded.data() + group.begin * blocks,
                   static_cast<int>(group.size()), sums});
          store(sums, group.size(), std::min(kQuantizedPanel, out_ - column), bias_.data() + column, accumulate,
                y + (block.begin + group.begin) * y_stride + column, y_stride);
        }
      }
    }
  });
}

}  // namespace ilre::kernels
#endif  // HWY_ONCE
