#include "common/kernels/bf16_attention.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <limits>

#include "common/base/check.h"
#include "common/kernels/aligned.h"
#include "common/kernels/bf16.h"
#include "common/kernels/bf16_tile.h"
#include "common/kernels/elementwise.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "common/kernels/bf16_attention.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
// After highway.h:
#include "common/kernels/math-inl.h"

// Works as banded_attention.cc: a block of 32 rows of one key head at a time, a row being a query of a query head;
// scores transposed, [keys, rows]. Keys go in pairs that begin at even places of the cache, whatever the block: a key
// of a pair that a row does not see has no weight, which changes no sum.

HWY_BEFORE_NAMESPACE();
namespace ilre::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

const hn::ScalableTag<float> kFloats;
using Floats = hn::Vec<decltype(kFloats)>;
constexpr int64_t kLanes = HWY_LANES(float);
static_assert(kPairRows % kLanes == 0);

// The numbers in the lower and upper halves of bf16 pairs.
template <class V>
HWY_INLINE Floats Lower(V pairs) {
  return hn::BitCast(kFloats, hn::ShiftLeft<16>(pairs));
}
template <class V>
HWY_INLINE Floats Upper(V pairs) {
  return hn::BitCast(kFloats, hn::And(pairs, hn::Set(hn::RebindToUnsigned<decltype(kFloats)>(), 0xFFFF0000u)));
}

// What bf16_tile.h does, in float32.
void ScorePairs(const PairScores& task) {
  const hn::RebindToUnsigned<decltype(kFloats)> words;
  for (int64_t j = 0; j < task.num_keys; j += 2) {
    const uint16_t* HWY_RESTRICT key = task.keys + j * task.key_stride;
    const uint16_t* HWY_RESTRICT next = key + task.key_stride;
    for (int64_t r = 0; r < kPairRows; r += kLanes) {
      Floats sum = hn::Zero(kFloats), next_sum = sum;
      for (int64_t c = 0; c < task.dim; c += 2) {
        const auto pairs = hn::LoadU(words, task.queries + c / 2 * kPairRows + r);
        const Floats low = Lower(pairs), high = Upper(pairs);
        sum = hn::MulAdd(low, hn::Set(kFloats, FloatFromBf16(key[c])), sum);
        sum = hn::MulAdd(high, hn::Set(kFloats, FloatFromBf16(key[c + 1])), sum);
        next_sum = hn::MulAdd(low, hn::Set(kFloats, FloatFromBf16(next[c])), next_sum);
        next_sum = hn::MulAdd(high, hn::Set(kFloats, FloatFromBf16(next[c + 1])), next_sum);
      }
      hn::StoreU(sum, kFloats, task.scores + j * kPairRows + r);
      hn::StoreU(next_sum, kFloats, task.scores + (j + 1) * kPairRows + r);
    }
  }
}

void MixPairs(const PairMix& task) {
  const hn::RebindToUnsigned<decltype(kFloats)> words;
  for (int64_t r = 0; r < kPairRows; ++r) {
    for (int64_t column = 0; column < task.dim; column += kLanes) {
      Floats sum = hn::LoadU(kFloats, task.sums + r * task.dim + column);
      for (int64_t p = 0; p < task.num_pairs; ++p) {
        const auto weight = hn::Set(words, task.weights[p * kPairRows + r]);
        const auto pairs =
            hn::LoadU(words, reinterpret_cast<const uint32_t*>(task.values + p * task.pair_stride + column * 2));
        sum = hn::MulAdd(Lower(weight), Lower(pairs), sum);
        sum = hn::MulAdd(Upper(weight), Upper(pairs), sum);
      }
      hn::StoreU(sum, kFloats, task.sums + r * task.dim + column);
    }
  }
}

// Pairs of keys [begin, end), in numbers of pairs.
struct PairRange {
  int64_t begin, end;
  int64_t size() const { return end - begin; }
};

// Rows [first_row, first_row + num_rows) of key head `kv_head`, and the pairs that hold the keys they see.
struct PairBlock {
  PairBlock(const Bf16AttentionArgs& args, int64_t kv_head, int64_t first_row, int64_t num_rows)
      : kv_head(kv_head), group(args.num_heads / args.num_kv_heads), first_row(first_row), num_rows(num_rows) {
    first_place = args.num_past + first_row / group;
    last_place = args.num_past + (first_row + num_rows - 1) / group;
    const int64_t begin = std::max<int64_t>(0, first_place - args.window + 1);
    const int64_t sink_end = std::min(args.num_sinks, begin);
    band = {begin / 2, last_place / 2 + 1};
    sinks = {0, (sink_end + 1) / 2};
    if (sinks.end > band.begin) band.begin = 0;
    if (band.begin == 0) sinks.end = 0;
  }

  int64_t head(int64_t row) const { return kv_head * group + row % group; }
  int64_t query(int64_t row) const { return row / group; }
  int64_t place(const Bf16AttentionArgs& args, int64_t r) const {  // of a row's query; rows too many: the last one's
    return args.num_past + query(first_row + std::min(r, num_rows - 1));
  }
  int64_t num_pairs() const { return sinks.size() + band.size(); }

  int64_t kv_head, group, first_row, num_rows;
  int64_t first_place, last_place;
  PairRange sinks, band;
};

// queries: [d / 2, kPairRows]; zero for rows that the block does not have. scaled, bits: memory for d, and for
// kPairRows * d.
void PackQueries(const Bf16AttentionArgs& args, const PairBlock& block, float* scaled, uint16_t* bits,
                 uint32_t* queries) {
  const int64_t dim = args.head_dim;
  if (block.num_rows < kPairRows) std::fill_n(queries, dim / 2 * kPairRows, 0u);
  const Floats scale = hn::Set(kFloats, args.scale);
  for (int64_t r = 0; r < block.num_rows; ++r) {
    const int64_t row = block.first_row + r;
    const float* q = args.q + block.query(row) * args.q_stride + block.head(row) * dim;
    for (int64_t c = 0; c < dim; c += kLanes) {
      hn::StoreU(hn::Mul(hn::LoadU(kFloats, q + c), scale), kFloats, scaled + c);
    }
    ConvertToBf16(scaled, dim, bits + r * dim);
  }
  for (int64_t c = 0; c < dim / 2; ++c, queries += kPairRows) {
    for (int64_t r = 0; r < block.num_rows; ++r) std::memcpy(&queries[r], bits + r * dim + 2 * c, sizeof(uint32_t));
  }
}

// Sets the scores of keys that a row does not see to -infinity. scores: those of the pairs of `range`.
void HideKeys(const Bf16AttentionArgs& args, const PairBlock& block, const PairRange& range, float* scores) {
  HWY_ALIGN float places[kPairRows];  // counted from the block's first
  for (int64_t r = 0; r < kPairRows; ++r) {
    places[r] = static_cast<float>(block.place(args, r) - block.first_place);
  }
  const Floats hidden = hn::Set(kFloats, -std::numeric_limits<float>::infinity());
  const int64_t span = block.last_place - block.first_place;
  for (int64_t j = range.begin * 2; j < range.end * 2; ++j, scores += kPairRows) {
    // Rows at places [least, greatest] see the key.
    const int64_t least = std::max<int64_t>(0, j - block.first_place);
    int64_t greatest = span;
    if (j >= args.num_sinks && args.window - 1 < block.last_place - j)
      greatest = j + args.window - 1 - block.first_place;
    if (least == 0 && greatest == span) continue;
    // Distances beyond the block are all the same.
    const Floats low = hn::Set(kFloats, static_cast<float>(std::min<int64_t>(least, span + 1)));
    const Floats high = hn::Set(kFloats, static_cast<float>(std::max<int64_t>(greatest, -1)));
    for (int64_t r = 0; r < kPairRows; r += kLanes) {
      const Floats place = hn::Load(kFloats, places + r);
      const auto seen = hn::And(hn::Ge(place, low), hn::Le(place, high));
      hn::StoreU(hn::IfThenElse(seen, hn::LoadU(kFloats, scores + r), hidden), kFloats, scores + r);
    }
  }
}

// One vector of rows of scores [2 * num_pairs, kPairRows] -> weights exp(score - greatest) as bf16 pairs [num_pairs,
// kPairRows]. Returns 1 / the sums of the weights.
Floats Exponentiate(int64_t num_pairs, const float* scores, uint32_t* weights) {
  const hn::RebindToUnsigned<decltype(kFloats)> words;
  Floats greatest = hn::LoadU(kFloats, scores), other = greatest;  // two chains, since each waits for itself
  for (int64_t j = 0; j < 2 * num_pairs; j += 2) {
    greatest = hn::Max(greatest, hn::LoadU(kFloats, scores + j * kPairRows));
    other = hn::Max(other, hn::LoadU(kFloats, scores + (j + 1) * kPairRows));
  }
  greatest = hn::Max(greatest, other);
  const auto half = hn::Set(words, 0x8000u), upper = hn::Set(words, 0xFFFF0000u);
  const auto weight_of = [&](const float* score) HWY_ATTR {  // rounded to bf16; weights are never negative
    const Floats e = RoughExpNonPositive(kFloats, hn::Sub(hn::LoadU(kFloats, score), greatest));
    return hn::And(hn::Add(hn::BitCast(words, e), half), upper);
  };
  Floats sum = hn::Zero(kFloats);
  for (int64_t p = 0; p < num_pairs; ++p, scores += 2 * kPairRows, weights += kPairRows) {
    const auto first = weight_of(scores), second = weight_of(scores + kPairRows);
    sum = hn::Add(sum, hn::BitCast(kFloats, first));
    sum = hn::Add(sum, hn::BitCast(kFloats, second));
    hn::StoreU(hn::Or(hn::ShiftRight<16>(first), second), words, weights);
  }
  return hn::Div(hn::Set(kFloats, 1.0f), sum);
}

struct AttentionScratch {
  AlignedVector<float> scores, sums, inverse_sums, scaled;
  AlignedVector<uint16_t> bits;
  AlignedVector<uint32_t> queries, weights;
};

// The functions for products of pairs.
struct PairFunctions {
  void (*score)(const PairScores&);
  void (*mix)(const PairMix&);
};

void AttendBlock(const Bf16AttentionArgs& args, int64_t kv_head, int64_t first_row, int64_t num_rows,
                 bool bf16_products, AttentionScratch& scratch) {
  PairFunctions pairs{ScorePairs, MixPairs};
#if defined(__x86_64__)
  if (bf16_products) pairs = {ScorePairsAvx512Bf16, MixPairsAvx512Bf16};
#endif
  const PairBlock block(args, kv_head, first_row, num_rows);
  const int64_t dim = args.head_dim, width = args.num_kv_heads * dim, num_pairs = block.num_pairs();
  const auto grow = [](auto& memory, int64_t size) {
    if (static_cast<int64_t>(memory.size()) < size) memory.resize(size + size / 2);
  };
  grow(scratch.scores, 2 * num_pairs * kPairRows);
  grow(scratch.weights, num_pairs * kPairRows);
  grow(scratch.queries, dim / 2 * kPairRows);
  grow(scratch.scaled, dim);
  grow(scratch.bits, dim * kPairRows);
  grow(scratch.sums, dim * kPairRows);
  grow(scratch.inverse_sums, kPairRows);

  PackQueries(args, block, scratch.scaled.data(), scratch.bits.data(), scratch.queries.data());
  float* scores = scratch.scores.data();
  for (const PairRange& range : {block.sinks, block.band}) {
    if (range.size() == 0) continue;
    pairs.score({2 * range.size(), dim, args.k + 2 * range.begin * width + kv_head * dim, width, scratch.queries.data(),
                 scores});
    HideKeys(args, block, range, scores);
    scores += 2 * range.size() * kPairRows;
  }
  for (int64_t r = 0; r < kPairRows; r += kLanes) {
    hn::StoreU(Exponentiate(num_pairs, scratch.scores.data() + r, scratch.weights.data() + r), kFloats,
               scratch.inverse_sums.data() + r);
  }
  std::fill_n(scratch.sums.data(), kPairRows * dim, 0.0f);
  const uint32_t* weights = scratch.weights.data();
  for (const PairRange& range : {block.sinks, block.band}) {
    constexpr int64_t kChunk = 64;  // pairs whose weights and values stay in the first-level cache
    for (int64_t p = range.begin; p < range.end; p += kChunk) {
      const int64_t count = std::min(kChunk, range.end - p);
      pairs.mix({count, dim, weights, args.v + 2 * (p * width + kv_head * dim), 2 * width, scratch.sums.data()});
      weights += count * kPairRows;
    }
  }
  for (int64_t r = 0; r < num_rows; ++r) {
    const int64_t row = first_row + r;
    float* out = args.out + (block.query(row) * args.num_heads + block.head(row)) * dim;
    const Floats factor = hn::Set(kFloats, scratch.inverse_sums[r]);
    for (int64_t c = 0; c < dim; c += kLanes) {
      hn::StoreU(hn::Mul(hn::LoadU(kFloats, scratch.sums.data() + r * dim + c), factor), kFloats, out + c);
    }
  }
}

void Attend(const Bf16AttentionArgs& args, bool bf16_products) {
  thread_local AttentionScratch scratch;
  const int64_t num_rows = args.num_queries * (args.num_heads / args.num_kv_heads);
  for (int64_t kv_head = 0; kv_head < args.num_kv_heads; ++kv_head) {
    for (int64_t first = 0; first < num_rows; first += kPairRows) {
      AttendBlock(args, kv_head, first, std::min(kPairRows, num_rows - first), bf16_products, scratch);
    }
  }
}

}  // namespace ilre::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ilre::kernels {
namespace {

HWY_EXPORT(Attend);

bool ProcessorHasBf16Products() {
#if defined(__x86_64__)
  static const bool has = HasAvx512Bf16();
  return has;
#else
  return false;
#endif
}

std::atomic<bool> products_allowed{true};

}  // namespace

bool UsesBf16Products() { return ProcessorHasBf16Products() && products_allowed; }

void AllowBf16Products(bool allow) { products_allowed = allow; }

void Bf16Attention(const Bf16AttentionArgs& arguments) {
  Bf16AttentionArgs args = arguments;
  ILRE_CHECK(args.num_queries >= 0 && args.num_past >= 0 && args.num_sinks >= 0 && args.window >= 1);
  ILRE_CHECK(args.num_kv_heads >= 1 && args.num_heads >= 1 && args.num_heads % args.num_kv_heads == 0);
  ILRE_CHECK(args.head_dim >= 16 && args.head_dim % 16 == 0);
  if (args.q_stride == 0) args.q_stride = static_cast<int64_t>(args.num_heads) * args.head_dim;
  HWY_DYNAMIC_DISPATCH(Attend)(args, UsesBf16Products());
}

}  // namespace ilre::kernels
#endif  // HWY_ONCE
