#include "common/kernels/cached_attention.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "common/base/half.h"
#include "common/base/random.h"
#include "common/base/thread_pool.h"
#include "common/kernels/aligned.h"
#include "common/kernels/reference.h"
#include "common/kernels/test_util.h"
#include "gtest/gtest.h"

namespace ilre::kernels {
namespace {

// A sequence of `tokens` tokens with the cache that they go into.
struct Problem {
  Problem(CacheNumbers numbers, int64_t tokens, int heads, int kv_heads, int dim, Random& random)
      : tokens(tokens),
        stride((heads + 2 * kv_heads) * dim + 3),
        width(heads * dim),
        qkv(RandomFloats(tokens * stride, random)),
        out(static_cast<size_t>(tokens * width), 9.0f) {
    args.cache = {numbers, kv_heads, dim, LayerCache::Capacity(tokens)};
    const auto bytes = static_cast<size_t>(LayerCache::Bytes(numbers, args.cache.capacity, kv_heads, dim));
    keys.assign(bytes, 0xFF);  // NaNs, where nothing was written
    values.assign(bytes, 0xFF);
    args.cache.keys = keys.data(), args.cache.values = values.data();
    args.num_heads = heads;
    args.scale = 3.0f / std::sqrt(static_cast<float>(dim));
    args.in_stride = stride;
    args.out_stride = width;
    if (numbers != CacheNumbers::kHalf) return;
    for (int64_t t = 0; t < tokens; ++t) {  // numbers that are halves: what is computed of them is the same
      for (int64_t i = width; i < stride; ++i) {
        float& value = qkv[static_cast<size_t>(t * stride + i)];
        value = std::round(value * 1024) / 1024;
      }
    }
  }

  // The arguments for tokens [begin, end), whose results go to `to` [end - begin, width].
  CachedAttentionArgs Piece(int64_t begin, int64_t end, float* to) const {
    CachedAttentionArgs piece = args;
    piece.num_past = begin;
    piece.num_queries = end - begin;
    piece.q = qkv.data() + begin * stride;
    piece.k = piece.q + width;
    piece.v = piece.k + args.cache.num_kv_heads * args.cache.head_dim;
    piece.out = to;
    return piece;
  }

  void Run(int64_t begin, int64_t end, ThreadPool& pool) {
    const CachedAttentionArgs piece = Piece(begin, end, out.data() + begin * width);
    CachedAttention(&piece, 1, pool);
  }

  std::vector<float> Expected() const {
    std::vector<float> expected(out.size());
    const CachedAttentionArgs piece = Piece(0, tokens, expected.data());
    BandedAttentionArgs all;
    all.num_queries = tokens;
    all.num_heads = args.num_heads, all.num_kv_heads = args.cache.num_kv_heads, all.head_dim = args.cache.head_dim;
    all.scale = args.scale;
    all.window = args.window;
    all.q = piece.q, all.k = piece.k, all.v = piece.v, all.out = piece.out;
    all.q_stride = all.k_stride = all.v_stride = stride;
    reference::BandedAttention(all);
    return expected;
  }

  int64_t tokens, stride, width;
  std::vector<float> qkv;
  AlignedVector<uint8_t> keys, values;
  std::vector<float> out;
  CachedAttentionArgs args;
};

class CachedAttentionTest : public ::testing::TestWithParam<CacheNumbers> {};

TEST_P(CachedAttentionTest, EqualsTheDefinitionInWhateverPieces) {
  ForEachTarget([] {
    Random random(1);
    ThreadPool pool(3);
    for (const auto& [heads, kv_heads, dim] :
         {std::tuple{9, 3, 64}, {4, 4, 80}, {14, 2, 64}, {3, 1, 1}, {2, 1, 17}, {8, 1, 128}, {5, 1, 30}}) {
      SCOPED_TRACE(testing::Message() << "heads " << heads << "/" << kv_heads << ", d " << dim);
      Problem problem(GetParam(), 90, heads, kv_heads, dim, random);
      for (int64_t begin = 0; begin < 90;) {
        const int64_t end = std::min<int64_t>(90, begin + 1 + (random.Below(2) == 0 ? 0 : random.Below(40)));
        problem.Run(begin, end, pool);
        begin = end;
      }
      ExpectClose(problem.out, problem.Expected(), 3e-6, 3e-6);
    }
    Problem one(GetParam(), 1, 1, 1, 3, random);
    one.Run(0, 0, pool);
    EXPECT_EQ(one.out[0], 9.0f);
    one.Run(0, 1, pool);
    EXPECT_EQ(one.out, one.Expected());
  });
}

TEST_P(CachedAttentionTest, AWindowHidesWhatLiesBeforeIt) {
  ForEachTarget([] {
    Random random(5);
    ThreadPool pool(3);
    for (const int64_t window : {1, 2, 15, 31, 32, 33, 64, 89, 90, 1000}) {
      Problem problem(GetParam(), 90, 6, 2, 24, random);
      problem.args.window = window;
      Problem whole = problem;
      whole.args.cache.keys = whole.keys.data(), whole.args.cache.values = whole.values.data();
      for (int64_t begin = 0; begin < 90;) {
        const int64_t end = std::min<int64_t>(90, begin + 1 + (random.Below(2) == 0 ? 0 : random.Below(40)));
        problem.Run(begin, end, pool);
        begin = end;
      }
      ExpectClose(problem.out, problem.Expected(), 3e-6, 3e-6);
      whole.Run(0, 90, pool);
      ASSERT_TRUE(SameBits(problem.out.data(), whole.out.data(), static_cast<int64_t>(whole.out.size()))) << window;
    }
  });
}

TEST_P(CachedAttentionTest, PiecesAndCompanyDoNotShowInABit) {
  ForEachTarget([] {
    Random random(2);
    ThreadPool pool(3);
    for (int trial = 0; trial < 20; ++trial) {
      const int kv_heads = static_cast<int>(1 + random.Below(3)),
                heads = kv_heads * static_cast<int>(1 + random.Below(9));
      const int64_t tokens = static_cast<int64_t>(2 + random.Below(120));
      Problem whole(GetParam(), tokens, heads, kv_heads, static_cast<int>(1 + random.Below(70)), random);
      Problem pieces = whole;
      pieces.args.cache.keys = pieces.keys.data(), pieces.args.cache.values = pieces.values.data();
      Problem other(GetParam(), 70, 6, 2, 48, random), other_alone = other;
      other_alone.args.cache.keys = other_alone.keys.data(), other_alone.args.cache.values = other_alone.values.data();
      whole.Run(0, tokens, InlinePool());
      other_alone.Run(0, 70, InlinePool());
      const int64_t cut = static_cast<int64_t>(random.Below(static_cast<uint64_t>(tokens)));
      pieces.Run(0, cut, pool);
      other.Run(0, 69, pool);
      const CachedAttentionArgs both[] = {pieces.Piece(cut, tokens, pieces.out.data() + cut * pieces.width),
                                          other.Piece(69, 70, other.out.data() + 69 * other.width)};
      CachedAttention(both, 2, pool);
      ASSERT_TRUE(SameBits(pieces.out.data(), whole.out.data(), static_cast<int64_t>(whole.out.size()))) << trial;
      ASSERT_TRUE(SameBits(other.out.data(), other_alone.out.data(), static_cast<int64_t>(other.out.size())));
    }
  });
}

TEST_P(CachedAttentionTest, QueriesThatNobodyAsksForAreAppendedAlone) {
  ForEachTarget([] {
    Random random(4);
    ThreadPool pool(3);
    for (const int64_t tokens : {1, 2, 9, 40}) {
      for (const int64_t first : {int64_t{0}, tokens / 2, tokens - 1, tokens}) {
        Problem whole(GetParam(), tokens, 6, 2, 24, random), part = whole;
        part.args.cache.keys = part.keys.data(), part.args.cache.values = part.values.data();
        whole.Run(0, tokens, pool);
        CachedAttentionArgs piece = part.Piece(0, tokens, part.out.data() + first * part.width);
        piece.first_query = first;
        CachedAttention(&piece, 1, pool);
        EXPECT_EQ(part.keys, whole.keys) << tokens << " " << first;
        EXPECT_EQ(part.values, whole.values);
        for (int64_t i = 0; i < first * part.width; ++i) ASSERT_EQ(part.out[static_cast<size_t>(i)], 9.0f);
        ASSERT_TRUE(SameBits(part.out.data() + first * part.width, whole.out.data() + first * part.width,
                             (tokens - first) * part.width));
      }
    }
  });
}

TEST_P(CachedAttentionTest, LargeNumbersDoNotOverflow) {
  ForEachTarget([] {
    Random random(3);
    Problem problem(GetParam(), 40, 2, 1, 32, random);
    for (float& value : problem.qkv) value *= 1e9f;  // softmax becomes the choice of the greatest
    problem.Run(0, 40, InlinePool());
    for (const float value : problem.out) ASSERT_TRUE(std::isfinite(value));
  });
}

TEST(CachedAttentionHalfTest, CacheHoldsHalves) {
  ForEachTarget([] {
    Random random(4);
    Problem problem(CacheNumbers::kHalf, 20, 1, 1, 16, random);
    for (float& value : problem.qkv) value = static_cast<float>(random.Uniform() * 100);
    problem.Run(0, 20, InlinePool());
    const auto* keys = reinterpret_cast<const uint16_t*>(problem.keys.data());
    const auto* values = reinterpret_cast<const uint16_t*>(problem.values.data());
    const CachedAttentionArgs all = problem.Piece(0, 20, nullptr);
    for (int64_t t = 0; t < 20; ++t) {
      for (int64_t c = 0; c < 16; ++c) {
        const float key = HalfToFloat(keys[t / 16 * 256 + c * 16 + t % 16]), value = HalfToFloat(values[t * 16 + c]);
        EXPECT_NEAR(key, all.k[t * problem.stride + c], key / 1024);
        EXPECT_NEAR(value, all.v[t * problem.stride + c], value / 1024);
      }
    }
  });
}

INSTANTIATE_TEST_SUITE_P(Numbers, CachedAttentionTest, ::testing::Values(CacheNumbers::kFloat32, CacheNumbers::kHalf),
                         [](const auto& info) { return info.param == CacheNumbers::kHalf ? "Half" : "Float32"; });

}  // namespace
}  // namespace ilre::kernels
