#include "common/kernels/banded_attention.h"

#include <algorithm>
#include <limits>

#include "common/base/check.h"
#include "common/kernels/aligned.h"
#include "hwy/cache_control.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "common/kernels/banded_attention.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
// After highway.h:
#include "common/kernels/math-inl.h"
#include "common/kernels/tile-inl.h"

// One task is a block of rows of one key head. A row is a query of a query head: row i * R + r of key head g is query i
// of head g * R + r, R = H / G, so that heads that share keys are computed together.
//
// Scores are kept transposed, [keys, rows of the block]: the dot products then read keys as they lie, a number at a
// time, against vectors of queries; the greatest score and the sum of a row need no work across lanes; and the product
// with the values reads the scores as they lie. All keys that the block sees are scored before any value is touched, so
// that no row depends on how its keys would be cut into pieces.

HWY_BEFORE_NAMESPACE();
namespace ilre::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

const hn::ScalableTag<float> kFloats;
using Floats = hn::Vec<decltype(kFloats)>;
constexpr int64_t kLanes = HWY_LANES(float);
constexpr int64_t kBlockRows = 2 * kLanes;

int64_t BlockRows() { return kBlockRows; }

struct Range {
  int64_t begin, end;
  int64_t size() const { return end - begin; }
};

// Rows [first_row, first_row + num_rows) of key head `kv_head`, and the keys that any of them sees.
struct Block {
  Block(const BandedAttentionArgs& args, int64_t kv_head, int64_t first_row, int64_t num_rows)
      : kv_head(kv_head), group(args.num_heads / args.num_kv_heads), first_row(first_row), num_rows(num_rows) {
    first_place = args.num_past + first_row / group;
    last_place = args.num_past + (first_row + num_rows - 1) / group;
    band = {std::max<int64_t>(0, first_place - args.window + 1), last_place + 1};
    sinks = {0, std::min(args.num_sinks, band.begin)};
  }

  int64_t head(int64_t row) const { return kv_head * group + row % group; }
  int64_t query(int64_t row) const { return row / group; }

  // Vectors that the rows fill: one token's heads (decoding) fill half a block at most.
  int64_t num_vectors() const { return num_rows <= kLanes ? 1 : 2; }

  int64_t kv_head, group, first_row, num_rows;
  int64_t first_place, last_place;  // of the block's queries in the cache
  Range sinks, band;                // keys; every row sees all of `sinks`
};

// queries: [d, kBlockRows], scaled; zero for rows that the block does not have.
void PackQueries(const BandedAttentionArgs& args, const Block& block, float* queries) {
  for (int64_t r = 0; r < kBlockRows; ++r) {
    const int64_t row = block.first_row + r;
    const float* q =
        r < block.num_rows ? args.q + block.query(row) * args.q_stride + block.head(row) * args.head_dim : nullptr;
    for (int64_t c = 0; c < args.head_dim; ++c) queries[c * kBlockRows + r] = q != nullptr ? q[c] * args.scale : 0.0f;
  }
}

// scores [kKeys, kVectors * kLanes] = k [kKeys, dim] times queries [dim, kVectors * kLanes]; rows of both are
// kBlockRows apart.
template <int kKeys, int kVectors>
HWY_NOINLINE void ScoreTile(const float* HWY_RESTRICT k, int64_t k_stride, int64_t dim,
                            const float* HWY_RESTRICT queries, float* HWY_RESTRICT scores) {
  for (int j = 0; j < kKeys; ++j) {  // the next tile's keys
    for (int64_t c = 0; c < dim; c += 16) hwy::Prefetch(k + (kKeys + j) * k_stride + c);
  }
  Floats sums[kKeys][kVectors];
#pragma GCC unroll 16
  for (int j = 0; j < kKeys; ++j) {
#pragma GCC unroll 2
    for (int i = 0; i < kVectors; ++i) sums[j][i] = hn::Zero(kFloats);
  }
  for (int64_t c = 0; c < dim; ++c, queries += kBlockRows) {
    Floats q[kVectors];
#pragma GCC unroll 2
    for (int i = 0; i < kVectors; ++i) q[i] = hn::Load(kFloats, queries + i * kLanes);
#pragma GCC unroll 16
    for (int j = 0; j < kKeys; ++j) {
      const Floats factor = hn::Set(kFloats, k[j * k_stride + c]);
#pragma GCC unroll 2
      for (int i = 0; i < kVectors; ++i) sums[j][i] = hn::MulAdd(factor, q[i], sums[j][i]);
    }
  }
#pragma GCC unroll 16
  for (int j = 0; j < kKeys; ++j, scores += kBlockRows) {
#pragma GCC unroll 2
    for (int i = 0; i < kVectors; ++i) hn::Store(sums[j][i], kFloats, scores + i * kLanes);
  }
}

template <int kKeys, int kVectors>
HWY_INLINE void ScoreTileOf(int64_t keys, const float* k, int64_t k_stride, int64_t dim, const float* queries,
                            float* scores) {
  if constexpr (kKeys > 1) {
    if (keys < kKeys) return ScoreTileOf<kKeys - 1, kVectors>(keys, k, k_stride, dim, queries, scores);
  }
  ScoreTile<kKeys, kVectors>(k, k_stride, dim, queries, scores);
}

// scores: [keys, kBlockRows], of which as many vectors are written as the block's rows fill.
void ScoreKeys(const BandedAttentionArgs& args, const Block& block, const Range& keys, const float* queries,
               float* scores) {
  const float* k = args.k + keys.begin * args.k_stride + block.kv_head * args.head_dim;
  const auto score = block.num_vectors() == 1 ? ScoreTileOf<kTileRows, 1> : ScoreTileOf<kTileRows, 2>;
  for (int64_t j = 0; j < keys.size(); j += kTileRows) {
    score(std::min(kTileRows, keys.size() - j), k + j * args.k_stride, args.k_stride, args.head_dim, queries,
          scores + j * kBlockRows);
  }
}

// Sets the scores of keys that a row of the block does not see to -infinity. Such keys are near the ends of the band
// alone. scores: those of the band.
void HideKeys(const BandedAttentionArgs& args, const Block& block, float* scores) {
  HWY_ALIGN float places[kBlockRows];  // of each row's query, counted from the block's first
  for (int64_t r = 0; r < kBlockRows; ++r) {
    const int64_t row = block.first_row + std::min(r, block.num_rows - 1);
    places[r] = static_cast<float>(args.num_past + block.query(row) - block.first_place);
  }
  const Floats hidden = hn::Set(kFloats, -std::numeric_limits<float>::infinity());
  // Keeps the scores of key j for rows whose place is in [least, greatest].
  const auto keep = [&](int64_t j, int64_t least, int64_t greatest) {
    float* row = scores + (j - block.band.begin) * kBlockRows;
    for (int64_t r = 0; r < block.num_vectors() * kLanes; r += kLanes) {
      const Floats place = hn::Load(kFloats, places + r);
      const auto seen = hn::And(hn::Ge(place, hn::Set(kFloats, static_cast<float>(least))),
                                hn::Le(place, hn::Set(kFloats, static_cast<float>(greatest))));
      hn::Store(hn::IfThenElse(seen, hn::Load(kFloats, row + r), hidden), kFloats, row + r);
    }
  };
  // Row at place p sees key j >= num_sinks iff j <= p < j + window; all distances here are below the block's rows.
  const int64_t span = block.last_place - block.first_place;
  const int64_t left_end = block.last_place - args.window + 1;  // first key that all rows have in their window
  for (int64_t j = std::max(block.band.begin, args.num_sinks); j < std::min(left_end, block.band.end); ++j) {
    keep(j, 0, j + args.window - 1 - block.first_place);
  }
  for (int64_t j = block.first_place + 1; j < block.band.end; ++j) keep(j, j - block.first_place, span);
}

// Turns one vector of rows of scores [keys, kBlockRows] into exp(score - greatest of the row). Returns 1 / their sums.
Floats Exponentiate(int64_t num_keys, float* scores) {
  Floats greatest = hn::Load(kFloats, scores);
  for (int64_t j = 1; j < num_keys; ++j) greatest = hn::Max(greatest, hn::Load(kFloats, scores + j * kBlockRows));
  Floats sum = hn::Zero(kFloats);
  for (int64_t j = 0; j < num_keys; ++j) {
    float* row = scores + j * kBlockRows;
    const Floats e = ExpNonPositive(kFloats, hn::Sub(hn::Load(kFloats, row), greatest));
    sum = hn::Add(sum, e);
    hn::Store(e, kFloats, row);
  }
  return hn::Div(hn::Set(kFloats, 1.0f), sum);
}

// Some keys' weights, and the sums that they go into.
struct Mix {
  int64_t num_keys;
  const float* weights;  // [num_keys, kBlockRows]
  const float* values;   // [num_keys, dim], value_stride apart
  int64_t value_stride;
  int64_t dim;
  float* sums;  // [kBlockRows, dim]
};

// Adds to kRows rows of sums, from row `first`, in kVectors vectors of columns, from `column`.
template <int kRows, int kVectors, class D>
HWY_NOINLINE void MixTile(D d, const Mix& mix, int64_t first, int64_t column) {
  constexpr int64_t kPrefetchKeys = 8;  // so many keys ahead
  const int64_t value_stride = mix.value_stride, dim = mix.dim;
  float* HWY_RESTRICT to = mix.sums + first * dim + column;
  hn::Vec<D> sums[kRows][kVectors];
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 2
    for (int i = 0; i < kVectors; ++i) sums[r][i] = hn::LoadU(d, to + r * dim + i * hn::Lanes(d));
  }
  const float* HWY_RESTRICT weights = mix.weights + first;
  const float* HWY_RESTRICT v = mix.values + column;
  for (int64_t j = 0; j < mix.num_keys; ++j, v += value_stride, weights += kBlockRows) {
    hn::Vec<D> values[kVectors];
#pragma GCC unroll 2
    for (int i = 0; i < kVectors; ++i) {
      values[i] = hn::LoadU(d, v + i * hn::Lanes(d));
      hwy::Prefetch(v + kPrefetchKeys * value_stride + i * hn::Lanes(d));
    }
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      const auto weight = hn::Set(d, weights[r]);
#pragma GCC unroll 2
      for (int i = 0; i < kVectors; ++i) sums[r][i] = hn::MulAdd(weight, values[i], sums[r][i]);
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 2
    for (int i = 0; i < kVectors; ++i) hn::StoreU(sums[r][i], d, to + r * dim + i * hn::Lanes(d));
  }
}

template <int kRows, int kVectors, class D>
HWY_INLINE void MixTileOf(D d, int64_t rows, const Mix& mix, int64_t first, int64_t column) {
  if constexpr (kRows > 1) {
    if (rows < kRows) return MixTileOf<kRows - 1, kVectors>(d, rows, mix, first, column);
  }
  MixTile<kRows, kVectors>(d, mix, first, column);
}

// kVectors vectors of columns, from `column`, for all rows of the block.
template <int kVectors, class D>
void MixColumns(D d, const Mix& mix, int64_t num_rows, int64_t column) {
  const int64_t tiles = (num_rows + kTileRows - 1) / kTileRows;
  for (int64_t t = 0; t < tiles; ++t) {
    const int64_t begin = t * num_rows / tiles, end = (t + 1) * num_rows / tiles;
    MixTileOf<kTileRows, kVectors>(d, end - begin, mix, begin, column);
  }
}

// Adds the weighted values of `keys` to sums [kBlockRows, d]. weights: [keys, kBlockRows].
void MixValues(const BandedAttentionArgs& args, const Block& block, const Range& keys, const float* weights,
               float* sums) {
  constexpr int64_t kChunk = 96;  // keys whose weights, and two vectors of whose values, fit the first-level cache
  for (int64_t j = keys.begin; j < keys.end; j += kChunk, weights += kChunk * kBlockRows) {
    const float* values = args.v + j * args.v_stride + block.kv_head * args.head_dim;
    const Mix mix{std::min(kChunk, keys.end - j), weights, values, args.v_stride, args.head_dim, sums};
    int64_t column = 0;
    for (; column + 2 * kLanes <= mix.dim; column += 2 * kLanes) MixColumns<2>(kFloats, mix, block.num_rows, column);
    for (; column + kLanes <= mix.dim; column += kLanes) MixColumns<1>(kFloats, mix, block.num_rows, column);
    const hn::CappedTag<float, 1> single;
    for (; column < mix.dim; ++column) MixColumns<1>(single, mix, block.num_rows, column);
  }
}

// out = sums * inverse_sums, row by row.
void StoreResult(const BandedAttentionArgs& args, const Block& block, const float* sums, const float* inverse_sums) {
  const int64_t dim = args.head_dim;
  for (int64_t r = 0; r < block.num_rows; ++r) {
    const int64_t row = block.first_row + r;
    float* out = args.out + block.query(row) * args.out_stride + block.head(row) * dim;
    for (int64_t c = 0; c < dim; ++c) out[c] = sums[r * dim + c] * inverse_sums[r];
  }
}

// Floats of scratch memory that a block which sees `num_keys` keys needs.
int64_t ScratchFloats(int64_t num_keys, int64_t head_dim) { return (num_keys + 2 * head_dim + 1) * kBlockRows; }

void AttendBlock(const BandedAttentionArgs& args, int64_t kv_head, int64_t first_row, int64_t num_rows,
                 AlignedVector<float>& scratch) {
  const Block block(args, kv_head, first_row, num_rows);
  const int64_t num_keys = block.sinks.size() + block.band.size();
  const int64_t needed = ScratchFloats(num_keys, args.head_dim);
  if (static_cast<int64_t>(scratch.size()) < needed) scratch.resize(needed + needed / 2);
  float* queries = scratch.data();
  float* sums = queries + args.head_dim * kBlockRows;
  float* inverse_sums = sums + args.head_dim * kBlockRows;
  float* scores = inverse_sums + kBlockRows;
  float* band_scores = scores + block.sinks.size() * kBlockRows;

  PackQueries(args, block, queries);
  ScoreKeys(args, block, block.sinks, queries, scores);
  ScoreKeys(args, block, block.band, queries, band_scores);
  HideKeys(args, block, band_scores);
  for (int64_t r = 0; r < block.num_vectors() * kLanes; r += kLanes) {
    hn::Store(Exponentiate(num_keys, scores + r), kFloats, inverse_sums + r);
  }
  std::fill_n(sums, kBlockRows * args.head_dim, 0.0f);
  MixValues(args, block, block.sinks, scores, sums);
  MixValues(args, block, block.band, band_scores, sums);
  StoreResult(args, block, sums, inverse_sums);
}

}  // namespace ilre::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ilre::kernels {
namespace {

HWY_EXPORT(BlockRows);
HWY_EXPORT(AttendBlock);

BandedAttentionArgs WithStrides(BandedAttentionArgs args) {
  const int64_t query_width = static_cast<int64_t>(args.num_heads) * args.head_dim;
  const int64_t key_width = static_cast<int64_t>(args.num_kv_heads) * args.head_dim;
  if (args.q_stride == 0) args.q_stride = query_width;
  if (args.out_stride == 0) args.out_stride = query_width;
  if (args.k_stride == 0) args.k_stride = key_width;
  if (args.v_stride == 0) args.v_stride = key_width;
  return args;
}

}  // namespace

void BandedAttention(const BandedAttentionArgs& arguments, ThreadPool& pool) {
  const BandedAttentionArgs args = WithStrides(arguments);
  ILRE_CHECK(args.num_queries >= 0 && args.num_past >= 0 && args.num_sinks >= 0 && args.window >= 1);
  ILRE_CHECK(args.num_kv_heads >= 1 && args.num_heads >= 1 && args.num_heads % args.num_kv_heads == 0);
  ILRE_CHECK(args.head_dim >= 1);
  const int64_t num_rows = args.num_queries * (args.num_heads / args.num_kv_heads);
  const int64_t block_rows = HWY_DYNAMIC_DISPATCH(BlockRows)();
  const int64_t num_blocks = (num_rows + block_rows - 1) / block_rows;
  pool.ParallelFor(num_blocks * args.num_kv_heads, [&](int64_t task) {
    thread_local AlignedVector<float> scratch;
    // The last rows see the most keys: they go first, so that no thread is left with a long task at the end.
    const int64_t first_row = (num_blocks - 1 - task / args.num_kv_heads) * block_rows;
    HWY_DYNAMIC_DISPATCH(AttendBlock)
    (args, task % args.num_kv_heads, first_row, std::min(block_rows, num_rows - first_row), scratch);
  });
}

}  // namespace ilre::kernels
#endif  // HWY_ONCE
