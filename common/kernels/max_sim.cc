#include "common/kernels/max_sim.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <type_traits>

#include "common/base/check.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "common/kernels/max_sim.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

#ifndef ILRE_KERNELS_MAX_SIM_SHARED
#define ILRE_KERNELS_MAX_SIM_SHARED
namespace ilre::kernels {

inline int64_t RoundUp(int64_t value, int64_t multiple) { return (value + multiple - 1) / multiple * multiple; }

// Stored vectors as the kernels get them.
struct StoredKeys {
  const uint8_t* values;  // [num_tokens, dim] of bf16 bits or int8
  const uint8_t* scales;  // [num_tokens] floats; null for bf16
  int num_tokens;
};

}  // namespace ilre::kernels
#endif  // ILRE_KERNELS_MAX_SIM_SHARED

HWY_BEFORE_NAMESPACE();
namespace ilre::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

const hn::ScalableTag<float> kFloats;
using Floats = hn::Vec<decltype(kFloats)>;
constexpr int64_t kLanes = HWY_LANES(float);
static_assert(PackedQueries::kGroup % (2 * kLanes) == 0);
// Tokens computed together: as many sums (two vectors each) as registers hold beside their factors.
constexpr int kTileTokens = HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_NEON ? 12 : 6;

// Memory for one tile at a time.
struct Scratch {
  Scratch(int dim, int64_t width)
      : elements(RoundUp(kTileTokens * dim, 64)), floats(elements.size()), dots(kTileTokens * width), greatest(width) {}

  AlignedVector<uint16_t> elements;  // the tile's stored vectors, aligned
  AlignedVector<float> floats;       // [kTileTokens, dim]
  AlignedVector<float> dots;         // [kTileTokens, width]; width: queries rounded up to whole panels
  AlignedVector<float> greatest;     // [width]
};

// to: [count] floats, rounded up to whole vectors.
void Widen(const uint16_t* bits, int64_t count, float* to) {
  const hn::Rebind<uint16_t, decltype(kFloats)> halves;
  const hn::RebindToUnsigned<decltype(kFloats)> words;
  for (int64_t i = 0; i < count; i += kLanes) {
    const auto word = hn::ShiftLeft<16>(hn::PromoteTo(words, hn::Load(halves, bits + i)));
    hn::Store(hn::BitCast(kFloats, word), kFloats, to + i);
  }
}

void Widen(const int8_t* values, int64_t count, float* to) {
  const hn::Rebind<int8_t, decltype(kFloats)> bytes;
  const hn::RebindToSigned<decltype(kFloats)> integers;
  for (int64_t i = 0; i < count; i += kLanes) {
    hn::Store(hn::ConvertTo(kFloats, hn::PromoteTo(integers, hn::Load(bytes, values + i))), kFloats, to + i);
  }
}

// dots [kTokens, 2 * kLanes] of rows `width` apart = keys [kTokens, dim] times panel [dim, kGroup].
template <int kTokens>
HWY_NOINLINE void DotTile(const float* HWY_RESTRICT keys, int64_t dim, const float* HWY_RESTRICT panel,
                          float* HWY_RESTRICT dots, int64_t width) {
  Floats sums[kTokens][2];
#pragma GCC unroll 16
  for (int t = 0; t < kTokens; ++t) sums[t][0] = sums[t][1] = hn::Zero(kFloats);
  for (int64_t c = 0; c < dim; ++c, panel += PackedQueries::kGroup) {
    const Floats q0 = hn::Load(kFloats, panel), q1 = hn::Load(kFloats, panel + kLanes);
#pragma GCC unroll 16
    for (int t = 0; t < kTokens; ++t) {
      const Floats factor = hn::Set(kFloats, keys[t * dim + c]);
      sums[t][0] = hn::MulAdd(factor, q0, sums[t][0]);
      sums[t][1] = hn::MulAdd(factor, q1, sums[t][1]);
    }
  }
#pragma GCC unroll 16
  for (int t = 0; t < kTokens; ++t, dots += width) {
    hn::Store(sums[t][0], kFloats, dots);
    hn::Store(sums[t][1], kFloats, dots + kLanes);
  }
}

template <int kTokens>
HWY_INLINE void DotTileOf(int tokens, const float* keys, int64_t dim, const float* panel, float* dots, int64_t width) {
  if constexpr (kTokens > 1) {
    if (tokens < kTokens) return DotTileOf<kTokens - 1>(tokens, keys, dim, panel, dots, width);
  }
  DotTile<kTokens>(keys, dim, panel, dots, width);
}

// The inner products of each tile of tokens, given to consume(first token, number of tokens, dots [tokens, width]).
template <typename Element, class Consume>
HWY_INLINE void ForEachTile(const StoredKeys& keys, const PackedQueries& queries, Scratch& scratch, Consume consume) {
  const int64_t dim = queries.dim(), width = scratch.greatest.size();
  const int64_t row_bytes = dim * static_cast<int64_t>(sizeof(Element));
  Element* elements = reinterpret_cast<Element*>(scratch.elements.data());
  for (int first = 0; first < keys.num_tokens; first += kTileTokens) {
    const int tokens = std::min(kTileTokens, keys.num_tokens - first);
    std::memcpy(static_cast<void*>(elements), keys.values + first * row_bytes, tokens * row_bytes);
    Widen(elements, tokens * dim, scratch.floats.data());
    for (int64_t q = 0; q < width; q += 2 * kLanes) {
      const int64_t panel = q / PackedQueries::kGroup, column = q % PackedQueries::kGroup;
      DotTileOf<kTileTokens>(tokens, scratch.floats.data(), dim,
                             queries.panels() + panel * dim * PackedQueries::kGroup + column, &scratch.dots[q], width);
    }
    if constexpr (std::is_same_v<Element, int8_t>) {
      for (int t = 0; t < tokens; ++t) {
        float scale;
        std::memcpy(&scale, keys.scales + (first + t) * sizeof(float), sizeof(float));
        float* row = &scratch.dots[t * width];
        for (int64_t q = 0; q < width; q += kLanes) {
          hn::Store(hn::Mul(hn::Load(kFloats, row + q), hn::Set(kFloats, scale)), kFloats, row + q);
        }
      }
    }
    consume(first, tokens, scratch.dots.data());
  }
}

// Takes the greatest values of a finished segment into its row and begins anew.
HWY_INLINE void FinishSegment(AlignedVector<float>& greatest, int num_queries, float* best) {
  for (int q = 0; q < num_queries; ++q) best[q] = std::max(best[q], greatest[q]);
  std::fill(greatest.begin(), greatest.end(), -std::numeric_limits<float>::infinity());
}

template <typename Element>
void MaxSimOf(const StoredKeys& keys, const PackedQueries& queries, const uint8_t* segment_bitmap, float* best) {
  const int64_t width = RoundUp(queries.num_queries(), PackedQueries::kGroup);
  Scratch scratch(queries.dim(), width);
  float* greatest = scratch.greatest.data();
  std::fill_n(greatest, width, -std::numeric_limits<float>::infinity());
  ForEachTile<Element>(keys, queries, scratch, [&](int first, int tokens, const float* dots) {
    for (int t = first; t < first + tokens; ++t, dots += width) {
      if (segment_bitmap[t / 8] >> (t % 8) & 1) {
        FinishSegment(scratch.greatest, queries.num_queries(), best);
        best += queries.num_queries();
      }
      for (int64_t q = 0; q < width; q += kLanes) {
        // A product that is not a number loses.
        const Floats dot = hn::Load(kFloats, dots + q), before = hn::Load(kFloats, greatest + q);
        hn::Store(hn::IfThenElse(hn::Gt(dot, before), dot, before), kFloats, greatest + q);
      }
    }
  });
  FinishSegment(scratch.greatest, queries.num_queries(), best);
}

template <typename Element>
void DotOf(const StoredKeys& keys, const PackedQueries& queries, float* out) {
  const int64_t width = RoundUp(queries.num_queries(), PackedQueries::kGroup), n = queries.num_queries();
  Scratch scratch(queries.dim(), width);
  ForEachTile<Element>(keys, queries, scratch, [&](int first, int tokens, const float* dots) {
    for (int t = 0; t < tokens; ++t) std::copy_n(dots + t * width, n, out + (first + t) * n);
  });
}

void MaxSim(const StoredKeys& keys, const PackedQueries& queries, const uint8_t* segment_bitmap, float* best) {
  if (keys.scales == nullptr) return MaxSimOf<uint16_t>(keys, queries, segment_bitmap, best);
  MaxSimOf<int8_t>(keys, queries, segment_bitmap, best);
}

void Dot(const StoredKeys& keys, const PackedQueries& queries, float* out) {
  if (keys.scales == nullptr) return DotOf<uint16_t>(keys, queries, out);
  DotOf<int8_t>(keys, queries, out);
}

}  // namespace ilre::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ilre::kernels {
namespace {

HWY_EXPORT(MaxSim);
HWY_EXPORT(Dot);

}  // namespace

PackedQueries::PackedQueries(const float* queries, int num_queries, int dim) : num_queries_(num_queries), dim_(dim) {
  ILRE_CHECK(num_queries >= 0 && dim >= 1);
  panels_.assign(RoundUp(num_queries, kGroup) * dim, 0.0f);
  for (int64_t q = 0; q < num_queries; ++q) {
    float* column = panels_.data() + q / kGroup * kGroup * dim + q % kGroup;
    for (int64_t c = 0; c < dim; ++c) column[c * kGroup] = queries[q * dim + c];
  }
}

void MaxSimBf16(const uint8_t* keys, int num_tokens, const PackedQueries& queries, const uint8_t* segment_bitmap,
                float* best) {
  HWY_DYNAMIC_DISPATCH(MaxSim)({keys, nullptr, num_tokens}, queries, segment_bitmap, best);
}

void MaxSimInt8(const uint8_t* keys, const uint8_t* scales, int num_tokens, const PackedQueries& queries,
                const uint8_t* segment_bitmap, float* best) {
  HWY_DYNAMIC_DISPATCH(MaxSim)({keys, scales, num_tokens}, queries, segment_bitmap, best);
}

void DotBf16(const uint8_t* keys, int num_tokens, const PackedQueries& queries, float* out) {
  HWY_DYNAMIC_DISPATCH(Dot)({keys, nullptr, num_tokens}, queries, out);
}

void DotInt8(const uint8_t* keys, const uint8_t* scales, int num_tokens, const PackedQueries& queries, float* out) {
  HWY_DYNAMIC_DISPATCH(Dot)({keys, scales, num_tokens}, queries, out);
}

}  // namespace ilre::kernels
#endif  // HWY_ONCE
