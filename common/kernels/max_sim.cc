#include "common/kernels/max_sim.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <type_traits>

#include "common/base/check.h"
#include "common/kernels/bf16_attention.h"
#include "common/kernels/bf16_tile.h"
#include "hwy/cache_control.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "common/kernels/max_sim.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
// After highway.h:
#include "common/kernels/tile-inl.h"

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
constexpr int kTileTokens = kTileRows;  // computed together

// Memory for one tile at a time.
struct MaxSimScratch {
  // Grows as needed and is kept by each thread: blocks are small, and many.
  static MaxSimScratch& Get(int64_t dim, int64_t width) {
    thread_local MaxSimScratch scratch;
    const size_t elements = RoundUp(kTileTokens * dim, 64);
    if (scratch.elements.size() < elements) scratch.elements.resize(elements);
    if (scratch.floats.size() < elements) scratch.floats.resize(elements);
    scratch.dots.resize(kTileTokens * width);
    scratch.greatest.resize(width);
    return scratch;
  }

  AlignedVector<uint16_t> elements;  // the tile's stored vectors, aligned
  AlignedVector<float> floats;       // [kTileTokens, dim]
  AlignedVector<float> dots;         // [kTileTokens, width]; width: queries rounded up to two vectors
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

// dots [kTokens, kVectors * kLanes] of rows `width` apart = keys [kTokens, dim] times so many columns of panel
// [dim, kGroup].
template <int kTokens, int kVectors>
HWY_NOINLINE void DotTile(const float* HWY_RESTRICT keys, int64_t dim, const float* HWY_RESTRICT panel,
                          float* HWY_RESTRICT dots, int64_t width) {
  Floats sums[kTokens][kVectors];
#pragma GCC unroll 16
  for (int t = 0; t < kTokens; ++t) {
    for (int i = 0; i < kVectors; ++i) sums[t][i] = hn::Zero(kFloats);
  }
  for (int64_t c = 0; c < dim; ++c, panel += PackedQueries::kGroup) {
    Floats columns[kVectors];
#pragma GCC unroll 2
    for (int i = 0; i < kVectors; ++i) columns[i] = hn::Load(kFloats, panel + i * kLanes);
#pragma GCC unroll 16
    for (int t = 0; t < kTokens; ++t) {
      const Floats factor = hn::Set(kFloats, keys[t * dim + c]);
#pragma GCC unroll 2
      for (int i = 0; i < kVectors; ++i) sums[t][i] = hn::MulAdd(factor, columns[i], sums[t][i]);
    }
  }
#pragma GCC unroll 16
  for (int t = 0; t < kTokens; ++t, dots += width) {
#pragma GCC unroll 2
    for (int i = 0; i < kVectors; ++i) hn::Store(sums[t][i], kFloats, dots + i * kLanes);
  }
}

template <int kTokens, int kVectors>
HWY_INLINE void DotTileOf(int tokens, const float* keys, int64_t dim, const float* panel, float* dots, int64_t width) {
  if constexpr (kTokens > 1) {
    if (tokens < kTokens) return DotTileOf<kTokens - 1, kVectors>(tokens, keys, dim, panel, dots, width);
  }
  DotTile<kTokens, kVectors>(keys, dim, panel, dots, width);
}

// dots: [tokens, width], of the panels' columns that hold queries.
HWY_INLINE void DotQueries(int tokens, const float* keys, const PackedQueries& queries, float* dots, int64_t width) {
  const int64_t dim = queries.dim(), used = RoundUp(queries.num_queries(), kLanes);
  for (int64_t q = 0; q < used; q += 2 * kLanes) {
    const int64_t panel = q / PackedQueries::kGroup, column = q % PackedQueries::kGroup;
    const float* columns = queries.panels() + panel * dim * PackedQueries::kGroup + column;
    if (q + kLanes < used) {
      DotTileOf<kTileTokens, 2>(tokens, keys, dim, columns, dots + q, width);
    } else {
      DotTileOf<kTileTokens, 1>(tokens, keys, dim, columns, dots + q, width);
    }
  }
}

// The inner products of each tile of tokens, given to consume(first token, number of tokens, dots [tokens, width]).
template <typename Element, class Consume>
HWY_INLINE void ForEachTile(const StoredKeys& keys, const PackedQueries& queries, MaxSimScratch& scratch,
                            Consume consume) {
  const int64_t dim = queries.dim(), width = scratch.greatest.size();
  const int64_t row_bytes = dim * static_cast<int64_t>(sizeof(Element));
  Element* elements = reinterpret_cast<Element*>(scratch.elements.data());
  for (int first = 0; first < keys.num_tokens; first += kTileTokens) {
    const int tokens = std::min(kTileTokens, keys.num_tokens - first);
    std::memcpy(static_cast<void*>(elements), keys.values + first * row_bytes, tokens * row_bytes);
    Widen(elements, tokens * dim, scratch.floats.data());
    // The bytes come from memory or from a mapped file: ask for them two tiles early.
    const int64_t ahead = (first + 2 * kTileTokens) * row_bytes;
    const int64_t ahead_end = std::min(ahead + kTileTokens * row_bytes, keys.num_tokens * row_bytes);
    for (int64_t byte = ahead; byte < ahead_end; byte += kCacheLine) hwy::Prefetch(keys.values + byte);
    DotQueries(tokens, scratch.floats.data(), queries, scratch.dots.data(), width);
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
  const int64_t width = RoundUp(queries.num_queries(), 2 * kLanes);
  MaxSimScratch& scratch = MaxSimScratch::Get(queries.dim(), width);
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
  const int64_t width = RoundUp(queries.num_queries(), 2 * kLanes), n = queries.num_queries();
  MaxSimScratch& scratch = MaxSimScratch::Get(queries.dim(), width);
  ForEachTile<Element>(keys, queries, scratch, [&](int first, int tokens, const float* dots) {
    for (int t = 0; t < tokens; ++t) std::copy_n(dots + t * width, n, out + (first + t) * n);
  });
}

#if defined(__x86_64__)
static_assert(PackedQueries::kGroup == kPairRows);

// Raises greatest [kGroup] to the products of tokens [begin, end). products: [tokens, kGroup].
void TakeProducts(const float* products, int begin, int end, float* greatest) {
  for (int64_t q = 0; q < PackedQueries::kGroup; q += kLanes) {
    Floats best = hn::LoadU(kFloats, greatest + q);
    for (int t = begin; t < end; ++t) {
      const Floats product = hn::LoadU(kFloats, products + t * PackedQueries::kGroup + q);
      best = hn::IfThenElse(hn::Gt(product, best), product, best);  // one that is not a number loses
    }
    hn::StoreU(best, kFloats, greatest + q);
  }
}

// MaxSim of one group of queries by products of pairs. best: rows of num_queries, of which this group's are `used`.
void MaxSimPairs(const StoredKeys& keys, int64_t dim, const uint32_t* group, int used, const uint8_t* segment_bitmap,
                 float* best, int64_t num_queries) {
  constexpr int kTokens = 96, kGroup = PackedQueries::kGroup;  // tokens whose products stay in the first-level cache
  constexpr float kNone = -std::numeric_limits<float>::infinity();
  thread_local AlignedVector<float> products(kTokens * kGroup);
  thread_local AlignedVector<uint16_t> last;
  float greatest[kGroup];
  std::fill_n(greatest, kGroup, kNone);
  const auto finish = [&] {
    for (int q = 0; q < used; ++q) best[q] = std::max(best[q], greatest[q]);
    std::fill_n(greatest, kGroup, kNone);
  };
  for (int first = 0; first < keys.num_tokens; first += kTokens) {
    const int tokens = std::min(kTokens, keys.num_tokens - first);
    const uint8_t* from = keys.values + first * dim * 2;
    PairScores task{tokens / 2 * 2,    dim, reinterpret_cast<const uint16_t*>(from), dim, group, products.data(),
                    used <= kGroup / 2};
    ScorePairsAvx512Bf16(task);
    if (tokens % 2 != 0) {  // with one of zeros behind it
      last.assign(static_cast<size_t>(2 * dim), 0);
      std::memcpy(last.data(), from + (tokens - 1) * dim * 2, static_cast<size_t>(2 * dim));
      task.num_keys = 2;
      task.keys = last.data();
      float of_two[2 * kGroup] = {};
      task.scores = of_two;
      ScorePairsAvx512Bf16(task);
      std::copy_n(of_two, kGroup, products.data() + (tokens - 1) * kGroup);
    }
    int taken = 0;
    for (int t = 0; t < tokens; ++t) {
      if ((segment_bitmap[(first + t) / 8] >> ((first + t) % 8) & 1) == 0) continue;
      TakeProducts(products.data(), taken, t, greatest);
      taken = t;
      finish();
      best += num_queries;
    }
    TakeProducts(products.data(), taken, tokens, greatest);
  }
  finish();
}
#endif

void MaxSim(const StoredKeys& keys, const PackedQueries& queries, const uint8_t* segment_bitmap, float* best) {
#if defined(__x86_64__)
  if (keys.scales == nullptr && queries.pairs() != nullptr && UsesBf16Products()) {
    constexpr int kGroup = PackedQueries::kGroup;
    for (int q = 0; q < queries.num_queries(); q += kGroup) {
      MaxSimPairs(keys, queries.dim(), queries.pairs() + q / 2 * queries.dim(),
                  std::min(kGroup, queries.num_queries() - q), segment_bitmap, best + q, queries.num_queries());
    }
    return;
  }
#endif
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
  const auto is_bf16 = [](float value) { return (std::bit_cast<uint32_t>(value) & 0xFFFFu) == 0; };
  if (dim % 16 != 0 || !std::all_of(panels_.begin(), panels_.end(), is_bf16)) return;
  pairs_.resize(panels_.size() / 2);
  for (size_t i = 0; i < pairs_.size(); ++i) {
    const size_t first = i / kGroup * 2 * kGroup + i % kGroup;  // of two columns, kGroup apart
    pairs_[i] = std::bit_cast<uint32_t>(panels_[first]) >> 16 | std::bit_cast<uint32_t>(panels_[first + kGroup]);
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
