#include "common/kernels/cached_attention.h"

#include <algorithm>
#include <limits>
#include <type_traits>
#include <vector>

#include "common/base/check.h"
#include "common/kernels/aligned.h"
#include "hwy/cache_control.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "common/kernels/cached_attention.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
// After highway.h:
#include "common/kernels/math-inl.h"

#ifndef ILRE_KERNELS_CACHED_ATTENTION_SHARED
#define ILRE_KERNELS_CACHED_ATTENTION_SHARED
namespace ilre::kernels {

inline int64_t RoundUpTo(int64_t value, int64_t multiple) { return (value + multiple - 1) / multiple * multiple; }

// A cache's capacity in tokens, and the padding of scores: whole steps of two vectors, whatever the processor.
inline constexpr int64_t kCacheStep = 2 * LayerCache::kTile;
// Values' rows are whole vectors.
inline constexpr int64_t kValueColumns = 16;

}  // namespace ilre::kernels
#endif  // ILRE_KERNELS_CACHED_ATTENTION_SHARED

// A row is a query of a query head: row i * R + r of key head g is query i of head g * R + r, R = H / G. A few rows of
// one key head are computed together, so that keys and values are read, and widened, once for all of them. Scores are
// kept [rows, keys]: vectors over keys for the products with keys and for the softmax, a number at a time against
// vectors of columns for the product with the values.

HWY_BEFORE_NAMESPACE();
namespace ilre::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

const hn::ScalableTag<float> kFloats;
using Floats = hn::Vec<decltype(kFloats)>;
constexpr int64_t kLanes = HWY_LANES(float);
static_assert(LayerCache::kTile % kLanes == 0 && kValueColumns % kLanes == 0);

// Rows computed together, and vectors of columns of values: as many sums as registers hold beside the factors. Checked
// builds, whose compilers choke on unrolled code, have small tiles: results are the same, bit for bit.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr int64_t kMostRows = 2;
constexpr int kMixVectors = 2;
#else
constexpr bool kManyRegisters = HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_NEON;
constexpr int64_t kMostRows = kManyRegisters ? 6 : 4;
constexpr int kMixVectors = kManyRegisters ? 4 : 2;
#endif

HWY_INLINE Floats LoadFloats(const float* from) { return hn::LoadU(kFloats, from); }
HWY_INLINE Floats LoadFloats(const hwy::float16_t* from) {
  const hn::Rebind<hwy::float16_t, decltype(kFloats)> halves;
  return hn::PromoteTo(kFloats, hn::LoadU(halves, from));
}

HWY_INLINE void StoreNumbers(Floats values, float* to) { hn::StoreU(values, kFloats, to); }
HWY_INLINE void StoreNumbers(Floats values, hwy::float16_t* to) {
  const hn::Rebind<hwy::float16_t, decltype(kFloats)> halves;
  const Floats greatest = hn::Set(kFloats, 65504.0f);
  hn::StoreU(hn::DemoteTo(halves, hn::Clamp(values, hn::Neg(greatest), greatest)), halves, to);
}

// One key head of a cache.
template <typename Number>
struct HeadCache {
  HeadCache(const LayerCache& cache, int64_t kv_head)
      : dim(cache.head_dim),
        value_width(RoundUpTo(dim, kValueColumns)),
        keys(static_cast<Number*>(cache.keys) + kv_head * cache.capacity * dim),
        values(static_cast<Number*>(cache.values) + kv_head * cache.capacity * value_width) {}

  int64_t dim, value_width;
  Number* keys;    // [capacity / kTile, dim, kTile]
  Number* values;  // [capacity, value_width]
};

// Rounds a row of `dim` floats to Number, filled up with zeros to a multiple of 16. to: that many.
template <typename Number>
void RoundRow(const float* from, int64_t dim, Number* to) {
  int64_t c = 0;
  for (; c + kLanes <= dim; c += kLanes) StoreNumbers(hn::LoadU(kFloats, from + c), to + c);
  if (c == RoundUpTo(dim, kValueColumns)) return;
  HWY_ALIGN float last[kLanes] = {};
  std::copy(from + c, from + dim, last);
  StoreNumbers(hn::Load(kFloats, last), to + c);
  for (c += kLanes; c < RoundUpTo(dim, kValueColumns); c += kLanes) StoreNumbers(hn::Zero(kFloats), to + c);
}

// Writes keys and values of tokens [first, first + count) of the call to the cache.
template <typename Number>
void Append(const CachedAttentionArgs& args, int64_t kv_head, int64_t first, int64_t count,
            AlignedVector<float>& scratch) {
  constexpr int64_t kTile = LayerCache::kTile;
  const HeadCache<Number> cache(args.cache, kv_head);
  scratch.resize(std::max<size_t>(scratch.size(), static_cast<size_t>(kTile * cache.value_width)));
  auto* const rows = reinterpret_cast<Number*>(scratch.data());
  while (count > 0) {
    const int64_t place = args.num_past + first, in_tile = place % kTile, n = std::min(count, kTile - in_tile);
    for (int64_t j = 0; j < n; ++j) {
      const int64_t from = (first + j) * args.in_stride + kv_head * cache.dim;
      RoundRow(args.k + from, cache.dim, rows + j * cache.value_width);
      RoundRow(args.v + from, cache.dim, cache.values + (place + j) * cache.value_width);
    }
    Number* const tile = cache.keys + (place - in_tile) * cache.dim + in_tile;
    for (int64_t c = 0; c < cache.dim; ++c) {
      for (int64_t j = 0; j < n; ++j) tile[c * kTile + j] = rows[j * cache.value_width + c];
    }
    first += n;
    count -= n;
  }
}

// Rows [first, first + count) of a key head.
struct RowRange {
  int64_t kv_head, group, first, count;

  int64_t query(int64_t r) const { return (first + r) / group; }
  int64_t head(int64_t r) const { return kv_head * group + (first + r) % group; }
};

// scores [kRows, keys], score_stride apart, of two vectors of keys. keys: [dim, kTile] from the first vector's lane on,
// the second vector's `second` numbers behind it. queries: [kRows, dim].
template <int kRows, typename Number>
HWY_INLINE void ScoreStep(const Number* HWY_RESTRICT keys, int64_t second, int64_t dim,
                          const float* HWY_RESTRICT queries, float* HWY_RESTRICT scores, int64_t score_stride) {
  constexpr int64_t kTile = LayerCache::kTile;
  Floats sums[kRows][2];
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) sums[r][0] = sums[r][1] = hn::Zero(kFloats);
  const Number* HWY_RESTRICT ahead = keys + 2 * kCacheStep * dim;  // keys of a step to come: they are far
  for (int64_t c = 0; c < dim; ++c) {
    const Floats first = LoadFloats(keys + c * kTile), other = LoadFloats(keys + second + c * kTile);
    hwy::Prefetch(ahead + c * kCacheStep);
    if constexpr (sizeof(Number) == 4) hwy::Prefetch(ahead + c * kCacheStep + kTile);
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
      const Floats q = hn::Set(kFloats, queries[r * dim + c]);
      sums[r][0] = hn::MulAdd(first, q, sums[r][0]);
      sums[r][1] = hn::MulAdd(other, q, sums[r][1]);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
    hn::StoreU(sums[r][0], kFloats, scores + r * score_stride);
    hn::StoreU(sums[r][1], kFloats, scores + r * score_stride + kLanes);
  }
}

template <int kRows, typename Number>
HWY_NOINLINE void ScoreCachedKeys(const HeadCache<Number>& cache, int64_t first_key, int64_t num_keys,
                                  const float* queries, float* scores, int64_t score_stride) {
  constexpr int64_t kTile = LayerCache::kTile;
  for (int64_t j = 0; j < num_keys; j += 2 * kLanes) {
    const auto place = [&](int64_t key) { return key / kTile * kTile * cache.dim + key % kTile; };
    ScoreStep<kRows>(cache.keys + first_key * cache.dim + place(j), place(j + kLanes) - place(j), cache.dim, queries,
                     scores + j, score_stride);
  }
}

// scores [padded], a multiple of 2 kLanes, of which [begin, end) count -> exp(score - greatest), 0 for the others.
// Returns 1 / their sum.
float Exponentiate(int64_t begin, int64_t end, int64_t padded, float* scores) {
  std::fill(scores, scores + begin, -std::numeric_limits<float>::infinity());
  std::fill(scores + end, scores + padded, -std::numeric_limits<float>::infinity());
  Floats greatest = hn::LoadU(kFloats, scores), other = greatest;
  for (int64_t j = 0; j < padded; j += 2 * kLanes) {
    greatest = hn::Max(greatest, hn::LoadU(kFloats, scores + j));
    other = hn::Max(other, hn::LoadU(kFloats, scores + j + kLanes));
  }
  greatest = hn::MaxOfLanes(kFloats, hn::Max(greatest, other));
  Floats sum = hn::Zero(kFloats), other_sum = sum;
  for (int64_t j = 0; j < padded; j += 2 * kLanes) {
    const Floats e = ExpNonPositive(kFloats, hn::Sub(hn::LoadU(kFloats, scores + j), greatest));
    const Floats f = ExpNonPositive(kFloats, hn::Sub(hn::LoadU(kFloats, scores + j + kLanes), greatest));
    hn::StoreU(e, kFloats, scores + j);
    hn::StoreU(f, kFloats, scores + j + kLanes);
    sum = hn::Add(sum, e);
    other_sum = hn::Add(other_sum, f);
  }
  return 1.0f / hn::GetLane(hn::SumOfLanes(kFloats, hn::Add(sum, other_sum)));
}

// sums [kRows, width] (kVectors vectors of columns of it) = weights [kRows, num_keys], weight_stride apart, times
// values [num_keys, width].
template <int kRows, int kVectors, typename Number>
HWY_NOINLINE void MixValueColumns(const Number* HWY_RESTRICT values, int64_t width, int64_t num_keys,
                                  const float* HWY_RESTRICT weights, int64_t weight_stride, float* HWY_RESTRICT to) {
  constexpr int64_t kAhead = 48;  // keys whose values are asked for so early
  Floats sums[kRows][kVectors];
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int i = 0; i < kVectors; ++i) sums[r][i] = hn::Zero(kFloats);
  }
  for (int64_t j = 0; j < num_keys; ++j, values += width) {
    Floats columns[kVectors];
#pragma GCC unroll 4
    for (int i = 0; i < kVectors; ++i) {
      columns[i] = LoadFloats(values + i * kLanes);
      if (i * kLanes * sizeof(Number) % kCacheLine == 0) hwy::Prefetch(values + kAhead * width + i * kLanes);
    }
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
      const Floats weight = hn::Set(kFloats, weights[r * weight_stride + j]);
#pragma GCC unroll 4
      for (int i = 0; i < kVectors; ++i) sums[r][i] = hn::MulAdd(columns[i], weight, sums[r][i]);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int i = 0; i < kVectors; ++i) hn::StoreU(sums[r][i], kFloats, to + r * width + i * kLanes);
  }
}

// Memory of one thread.
struct CachedAttentionScratch {
  AlignedVector<float> queries, scores, sums, rounded;
};

template <int kRows, typename Number>
void AttendRows(const CachedAttentionArgs& args, const RowRange& rows, CachedAttentionScratch& scratch) {
  const HeadCache<Number> cache(args.cache, rows.kv_head);
  const int64_t dim = cache.dim, width = cache.value_width;
  const auto begin_of = [&](int r) { return std::max<int64_t>(0, args.num_past + rows.query(r) + 1 - args.window); };
  // A whole number of steps before the keys that are seen, so that a key's part in the sums depends on its place alone.
  const int64_t first_key = begin_of(0) / kCacheStep * kCacheStep;
  const int64_t num_keys = args.num_past + rows.query(kRows - 1) + 1 - first_key;
  const int64_t padded = RoundUpTo(num_keys, kCacheStep);
  const Number* const values = cache.values + first_key * width;
  const auto grow = [](AlignedVector<float>& memory, int64_t size) {
    if (static_cast<int64_t>(memory.size()) < size) memory.resize(static_cast<size_t>(size + size / 2));
    return memory.data();
  };
  float* const queries = grow(scratch.queries, kRows * dim);
  float* const scores = grow(scratch.scores, kRows * padded);
  float* const sums = grow(scratch.sums, kRows * width);
  for (int r = 0; r < kRows; ++r) {
    const float* q = args.q + rows.query(r) * args.in_stride + rows.head(r) * dim;
    for (int64_t c = 0; c < dim; ++c) queries[r * dim + c] = q[c] * args.scale;
  }
  ScoreCachedKeys<kRows>(cache, first_key, num_keys, queries, scores, padded);
  float factors[kRows];
  for (int r = 0; r < kRows; ++r) {
    const int64_t end = args.num_past + rows.query(r) + 1 - first_key;
    factors[r] = Exponentiate(begin_of(r) - first_key, end, padded, scores + r * padded);
  }
  int64_t c = 0;
  for (; c + kMixVectors * kLanes <= width; c += kMixVectors * kLanes) {
    MixValueColumns<kRows, kMixVectors>(values + c, width, num_keys, scores, padded, sums + c);
  }
  for (; c < width; c += kLanes) MixValueColumns<kRows, 1>(values + c, width, num_keys, scores, padded, sums + c);
  for (int r = 0; r < kRows; ++r) {
    float* out = args.out + (rows.query(r) - args.first_query) * args.out_stride + rows.head(r) * dim;
    for (c = 0; c < dim; ++c) out[c] = sums[r * width + c] * factors[r];
  }
}

template <int kRows, typename Number>
HWY_INLINE void AttendRowsOf(const CachedAttentionArgs& args, const RowRange& rows, CachedAttentionScratch& scratch) {
  if constexpr (kRows > 1) {
    if (rows.count < kRows) return AttendRowsOf<kRows - 1, Number>(args, rows, scratch);
  }
  AttendRows<kRows, Number>(args, rows, scratch);
}

// Queries [first, first + count) of one key head; their keys and values are in the cache, or are put there if `append`.
template <typename Number>
void AttendQueries(const CachedAttentionArgs& args, int64_t kv_head, int64_t first, int64_t count, bool append) {
  thread_local CachedAttentionScratch scratch;
  if (append) Append<Number>(args, kv_head, first, count, scratch.rounded);
  const int64_t group = args.num_heads / args.cache.num_kv_heads, num_rows = count * group;
  const int64_t tiles = (num_rows + kMostRows - 1) / kMostRows;
  for (int64_t t = 0; t < tiles; ++t) {
    const int64_t begin = t * num_rows / tiles, end = (t + 1) * num_rows / tiles;
    AttendRowsOf<kMostRows, Number>(args, {kv_head, group, first * group + begin, end - begin}, scratch);
  }
}

void Attend(const CachedAttentionArgs& args, int64_t kv_head, int64_t first, int64_t count, bool append) {
  if (args.cache.numbers == CacheNumbers::kHalf) {
    return AttendQueries<hwy::float16_t>(args, kv_head, first, count, append);
  }
  AttendQueries<float>(args, kv_head, first, count, append);
}

void AppendAll(const CachedAttentionArgs& args, int64_t kv_head) {
  thread_local AlignedVector<float> scratch;
  if (args.cache.numbers == CacheNumbers::kHalf) {
    return Append<hwy::float16_t>(args, kv_head, 0, args.num_queries, scratch);
  }
  Append<float>(args, kv_head, 0, args.num_queries, scratch);
}

}  // namespace ilre::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ilre::kernels {
namespace {

HWY_EXPORT(Attend);
HWY_EXPORT(AppendAll);

constexpr int64_t kTaskQueries = 8;

// Some queries of one key head of one sequence. A lone query is appended to the cache by its task; else all are
// before the first is computed.
struct Task {
  const CachedAttentionArgs* args;
  int64_t kv_head, first, count;
};

bool IsLone(const CachedAttentionArgs& args) { return args.num_queries == 1 && args.first_query == 0; }

void CheckArgs(const CachedAttentionArgs& args) {
  ILRE_CHECK(args.num_queries >= 0 && args.num_past >= 0);
  ILRE_CHECK(args.first_query >= 0 && args.first_query <= args.num_queries);
  ILRE_CHECK(args.num_past + args.num_queries <= args.cache.capacity && args.cache.capacity % kCacheStep == 0);
  ILRE_CHECK(args.cache.num_kv_heads >= 1 && args.num_heads >= 1 && args.num_heads % args.cache.num_kv_heads == 0);
  ILRE_CHECK(args.cache.head_dim >= 1 && args.window >= 1);
}

}  // namespace

int64_t LayerCache::Capacity(int64_t num_tokens) { return RoundUpTo(num_tokens, kCacheStep); }

int64_t LayerCache::Bytes(CacheNumbers numbers, int64_t capacity, int num_kv_heads, int head_dim) {
  return capacity * num_kv_heads * RoundUpTo(head_dim, kValueColumns) * (numbers == CacheNumbers::kHalf ? 2 : 4);
}

void CachedAttention(const CachedAttentionArgs* sequences, int64_t count, ThreadPool& pool) {
  std::vector<Task> tasks, appends;
  for (int64_t s = 0; s < count; ++s) {
    const CachedAttentionArgs& args = sequences[s];
    CheckArgs(args);
    const int64_t num_computed = args.num_queries - args.first_query;
    const int64_t blocks = (num_computed + kTaskQueries - 1) / kTaskQueries;
    // The last queries see the most keys: they go first, so that no thread is left with a long task at the end.
    for (int64_t b = blocks - 1; b >= 0; --b) {
      const int64_t begin = args.first_query + b * num_computed / blocks;
      const int64_t end = args.first_query + (b + 1) * num_computed / blocks;
      for (int64_t g = 0; g < args.cache.num_kv_heads; ++g) tasks.push_back({&args, g, begin, end - begin});
    }
    if (IsLone(args)) continue;
    for (int64_t g = 0; g < args.cache.num_kv_heads; ++g) appends.push_back({&args, g, 0, args.num_queries});
  }
  pool.ParallelFor(static_cast<int64_t>(appends.size()), [&](int64_t i) {
    HWY_DYNAMIC_DISPATCH(AppendAll)(*appends[static_cast<size_t>(i)].args, appends[static_cast<size_t>(i)].kv_head);
  });
  pool.ParallelFor(static_cast<int64_t>(tasks.size()), [&](int64_t i) {
    const Task& task = tasks[static_cast<size_t>(i)];
    HWY_DYNAMIC_DISPATCH(Attend)
    (*task.args, task.kv_head, task.first, task.count, IsLone(*task.args));
  });
}

}  // namespace ilre::kernels
#endif  // HWY_ONCE
