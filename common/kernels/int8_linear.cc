#include "common/kernels/int8_linear.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <optional>

#include "common/base/check.h"
#include "common/kernels/int8_amx.h"
#include "common/kernels/int8_tile.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "common/kernels/int8_linear.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace ilre::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

const hn::ScalableTag<float> kFloats;
constexpr int64_t kLanes = HWY_LANES(float);
static_assert(Int8Rows::kBlock % kLanes == 0);

// One block of a row: x [kBlock] -> values [kBlock]. Returns the scale; *sum is that of the values.
float QuantizeBlock(const float* HWY_RESTRICT x, int8_t* HWY_RESTRICT values, int32_t* sum) {
  const hn::RebindToSigned<decltype(kFloats)> integers;
  const hn::Rebind<int16_t, decltype(kFloats)> shorts;
  const hn::Rebind<int8_t, decltype(kFloats)> bytes;
  auto greatest = hn::Zero(kFloats);
  for (int64_t i = 0; i < Int8Rows::kBlock; i += kLanes) {
    greatest = hn::Max(greatest, hn::Abs(hn::LoadU(kFloats, x + i)));
  }
  const float largest = hn::GetLane(hn::MaxOfLanes(kFloats, greatest));
  // Numbers this small are nothing beside what they are added to; 127 / them would overflow.
  const float factor = largest < 1e-30f ? 0.0f : 127.0f / largest;
  auto sums = hn::Zero(integers);
  for (int64_t i = 0; i < Int8Rows::kBlock; i += kLanes) {
    const auto rounded = hn::NearestInt(hn::Mul(hn::LoadU(kFloats, x + i), hn::Set(kFloats, factor)));
    const auto value = hn::DemoteTo(bytes, hn::DemoteTo(shorts, rounded));
    hn::StoreU(value, bytes, values + i);
    sums = hn::Add(sums, hn::PromoteTo(integers, value));
  }
  *sum = hn::GetLane(hn::SumOfLanes(integers, sums));
  return largest < 1e-30f ? 0.0f : largest / 127.0f;
}

// Rows of one group. values: [depth / 4, kGroup, 4] or, in tiles, [blocks, 2 kGroup, kBlock] of which the group has
// half; scales, sums: [blocks, kGroup].
void QuantizeGroup(const float* x, int64_t x_stride, int64_t rows, int64_t in, bool in_tiles, int8_t* values,
                   float* scales, int32_t* sums) {
  constexpr int64_t kBlock = Int8Rows::kBlock, kGroup = Int8Rows::kGroup;
  HWY_ALIGN float rest[kBlock];
  HWY_ALIGN int8_t block[kBlock];
  for (int64_t r = 0; r < rows; ++r) {
    const float* row = x + r * x_stride;
    for (int64_t begin = 0, b = 0; begin < in; begin += kBlock, ++b) {
      const float* from = row + begin;
      if (in - begin < kBlock) {
        std::memset(rest, 0, sizeof(rest));
        std::memcpy(rest, from, static_cast<size_t>(in - begin) * sizeof(float));
        from = rest;
      }
      scales[b * kGroup + r] = QuantizeBlock(from, block, &sums[b * kGroup + r]);
      if (in_tiles) {
        std::memcpy(values + (b * 2 * kGroup + r) * kBlock, block, kBlock);
        continue;
      }
      int8_t* to = values + (begin / 4 * kGroup + r) * 4;
      for (int64_t i = 0; i < kBlock; i += 4, to += kGroup * 4) std::memcpy(to, block + i, 4);
    }
  }
}

// y [rows, columns] = (or +=) sums [kGroup, kPanel] * scales + bias (if any).
void StoreTile(const float* HWY_RESTRICT sums, int64_t rows, int64_t columns, const float* HWY_RESTRICT scales,
               const float* HWY_RESTRICT bias, Accumulate accumulate, float* HWY_RESTRICT y, int64_t y_stride) {
  constexpr int64_t kPanel = Int8Linear::kPanel;
  static_assert(kPanel % kLanes == 0);
  HWY_ALIGN float values[kPanel];
  for (int64_t r = 0; r < rows; ++r, sums += kPanel, y += y_stride) {
    const bool whole = columns == kPanel;
    float* to = whole ? y : values;
    if (!whole) std::memcpy(values, y, static_cast<size_t>(columns) * sizeof(float));
    for (int64_t i = 0; i < kPanel; i += kLanes) {
      auto value = hn::Mul(hn::LoadU(kFloats, sums + i), hn::Load(kFloats, scales + i));
      if (bias != nullptr) value = hn::Add(value, hn::Load(kFloats, bias + i));
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

Int8TileFunction* FunctionOf(Int8Path path) {
#if defined(__x86_64__)
  if (path == Int8Path::kAvx512Vnni) return Int8TileAvx512Vnni;
  if (path == Int8Path::kAvx2) return Int8TileAvx2;
#endif
  return Int8TilePortable;
}

std::atomic<Int8Path>& Chosen() {
  static std::atomic<Int8Path> chosen{SupportedInt8Paths().front()};
  return chosen;
}

bool TakesTiles(Int8Path path) { return path == Int8Path::kAmx || path == Int8Path::kAmxEmulated; }

}  // namespace

std::vector<Int8Path> SupportedInt8Paths() {
  std::vector<Int8Path> paths;
#if defined(__x86_64__)
  if (AmxIsUsable()) paths.push_back(Int8Path::kAmx);
  if (__builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq")) {
    paths.push_back(Int8Path::kAvx512Vnni);
  }
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) paths.push_back(Int8Path::kAvx2);
#endif
  paths.push_back(Int8Path::kPortable);
  return paths;
}

const char* Int8PathName(Int8Path path) {
  switch (path) {
    case Int8Path::kPortable:
      return "portable";
    case Int8Path::kAvx2:
      return "AVX2";
    case Int8Path::kAvx512Vnni:
      return "AVX-512 VNNI";
    case Int8Path::kAmx:
      return "AMX";
    case Int8Path::kAmxEmulated:
      return "AMX, emulated";
  }
  return "unknown";
}

Int8Path ChosenInt8Path() { return Chosen(); }

void SetInt8Path(Int8Path path) { Chosen() = path; }

void Int8Rows::Assign(const float* x, int64_t rows, int64_t in, int64_t x_stride) {
  ILRE_CHECK(rows >= 0 && in >= 1);
  if (x_stride == 0) x_stride = in;
  rows_ = rows;
  in_ = in;
  in_tiles_ = TakesTiles(Chosen());
  const int64_t blocks = DivideUp(in, kBlock);
  const int64_t groups = DivideUp(rows, kGroup), places = in_tiles_ ? DivideUp(groups, 2) * 2 : groups;
  const auto grow = [](auto& memory, int64_t size) {
    if (static_cast<int64_t>(memory.size()) < size) memory.resize(size);
  };
  grow(values_, places * blocks * kBlock * kGroup);
  grow(scales_, places * blocks * kGroup);
  grow(sums_, places * blocks * kGroup);
  for (int64_t g = 0; g < groups; ++g) {
    const int64_t begin = g * kGroup, count = std::min(kGroup, rows - begin);
    int8_t* values = values_.data() + (in_tiles_ ? (g / 2 * 2 * blocks + g % 2) * kGroup : begin * blocks) * kBlock;
    float* scales = scales_.data() + begin * blocks;
    int32_t* sums = sums_.data() + begin * blocks;
    if (count < kGroup && !in_tiles_) {
      std::fill_n(values, blocks * kBlock * kGroup, 0);
      std::fill_n(scales, blocks * kGroup, 0.0f);
      std::fill_n(sums, blocks * kGroup, 0);
    }
    HWY_DYNAMIC_DISPATCH(QuantizeGroup)
    (x + begin * x_stride, x_stride, count, in, in_tiles_, values, scales, sums);
  }
}

void Int8Linear::PackRow(int64_t output, const float* weights) {
  const int64_t depth = DivideUp(in_, Int8Rows::kBlock) * Int8Rows::kBlock;
  float largest = 0;
  for (int64_t i = 0; i < in_; ++i) largest = std::max(largest, std::fabs(weights[i]));
  if (!(largest >= 1e-30f) || !std::isfinite(largest)) {  // nothing, or what no scale can hold
    scales_[output] = largest < 1e-30f ? 0.0f : largest;
    return;
  }
  const float factor = 127.0f / largest;
  scales_[output] = largest / 127.0f;
  uint8_t* panel = weights_.data() + output / kPanel * depth * kPanel + output % kPanel * 4;
  for (int64_t i = 0; i < in_; ++i) {
    const long value = std::lrint(weights[i] * factor);
    panel[i / 4 * kPanel * 4 + i % 4] = static_cast<uint8_t>(std::clamp<long>(value, -127, 127) + 128);
  }
}

Int8Linear Int8Linear::FromFloats(const float* weight, int64_t out, int64_t in, const float* bias) {
  ILRE_CHECK(out >= 0 && in >= 1);
  Int8Linear linear;
  linear.out_ = out;
  linear.in_ = in;
  const int64_t panels = DivideUp(out, kPanel), depth = DivideUp(in, Int8Rows::kBlock) * Int8Rows::kBlock;
  linear.weights_.assign(panels * kPanel * depth, 128);
  linear.scales_.assign(panels * kPanel, 0.0f);
  if (bias != nullptr) {
    linear.bias_.assign(panels * kPanel, 0.0f);
    std::copy(bias, bias + out, linear.bias_.begin());
  }
  for (int64_t o = 0; o < out && weight != nullptr; ++o) linear.PackRow(o, weight + o * in);
  return linear;
}

Int8Linear Int8Linear::FromPacked(const PackedLinear& packed) {
  const std::vector<float> bias = packed.Bias();
  Int8Linear linear = FromFloats(nullptr, packed.out_features(), packed.in_features(), bias.data());
  std::vector<float> row(static_cast<size_t>(packed.in_features()));
  for (int64_t o = 0; o < packed.out_features(); ++o) {
    packed.CopyRow(o, row.data());
    linear.PackRow(o, row.data());
  }
  return linear;
}

// Rows of x from `row` on, as many as the path takes together, times the panel from output `first` on.
void Int8Linear::ComputeTile(Int8Path path, const Int8Rows& x, int64_t row, int64_t first, float* sums) const {
  const int64_t blocks = DivideUp(in_, Int8Rows::kBlock), depth = blocks * Int8Rows::kBlock, group = row * blocks;
  const uint8_t* const weights = weights_.data() + first * depth;
  const int8_t* const values = x.values_.data() + row * depth;
  const float* const scales = x.scales_.data() + group;
  const int32_t* const block_sums = x.sums_.data() + group;
#if defined(__x86_64__)
  if (TakesTiles(path)) {
    const int64_t next = Int8Rows::kGroup * blocks;
    const auto compute = path == Int8Path::kAmx ? AmxTile : AmxTileEmulated;
    return compute({blocks, weights, values, {scales, scales + next}, {block_sums, block_sums + next}, sums});
  }
#endif
  FunctionOf(path)({blocks, weights, values, scales, block_sums, sums});
}

void Int8Linear::ApplyColumns(const Int8Rows& x, int64_t begin, int64_t end, float* y, Accumulate accumulate,
                              int64_t y_stride) const {
  if (x.rows() == 0 || begin == end) return;
  ILRE_CHECK(x.in_features() == in_ && begin % kPanel == 0 && 0 <= begin && begin < end && end <= out_);
  if (y_stride == 0) y_stride = end - begin;
  const Int8Path path = Chosen().load(std::memory_order_relaxed);
  ILRE_CHECK(TakesTiles(path) == x.in_tiles_);
#if defined(__x86_64__)
  std::optional<ScopedAmx> scoped;
  if (path == Int8Path::kAmx) scoped.emplace();
#endif
  const int64_t together = x.in_tiles_ ? 2 * Int8Rows::kGroup : Int8Rows::kGroup;
  const auto store = HWY_DYNAMIC_DISPATCH(StoreTile);
  alignas(kCacheLine) float sums[2 * Int8Rows::kGroup * kPanel];
  for (int64_t first = begin; first < end; first += kPanel) {
    for (int64_t row = 0; row < x.rows(); row += together) {
      ComputeTile(path, x, row, first, sums);
      store(sums, std::min(together, x.rows() - row), std::min(kPanel, end - first), scales_.data() + first,
            bias_.empty() ? nullptr : bias_.data() + first, accumulate, y + row * y_stride + first - begin, y_stride);
    }
  }
}

}  // namespace ilre::kernels
#endif  // HWY_ONCE
