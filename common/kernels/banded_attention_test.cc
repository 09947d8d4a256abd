#include "common/kernels/banded_attention.h"

#include <cmath>
#include <vector>

#include "common/base/random.h"
#include "common/base/thread_pool.h"
#include "common/kernels/reference.h"
#include "common/kernels/test_util.h"
#include "gtest/gtest.h"

namespace ilre::kernels {
namespace {

// A problem with its own memory.
struct Problem {
  Problem(int64_t queries, int64_t past, int64_t sinks, int64_t window, int heads, int kv_heads, int dim,
          Random& random)
      : q(RandomFloats(queries * heads * dim, random)),
        k(RandomFloats((past + queries) * kv_heads * dim, random)),
        v(RandomFloats((past + queries) * kv_heads * dim, random)),
        out(queries * heads * dim, 9.0f) {
    args = {queries, past, sinks, window, heads, kv_heads, dim, 3.0f / std::sqrt(static_cast<float>(dim))};
    args.q = q.data(), args.k = k.data(), args.v = v.data(), args.out = out.data();
  }

  std::vector<float> q, k, v, out;
  BandedAttentionArgs args;
};

void CheckAgainstReference(Problem problem, ThreadPool& pool) {
  const BandedAttentionArgs& args = problem.args;
  SCOPED_TRACE(testing::Message() << args.num_queries << " queries, past " << args.num_past << ", sinks "
                                  << args.num_sinks << ", window " << args.window << ", heads " << args.num_heads << "/"
                                  << args.num_kv_heads << ", d " << args.head_dim);
  BandedAttention(args, pool);
  std::vector<float> expected(problem.out.size());
  BandedAttentionArgs reference_args = args;
  reference_args.out = expected.data();
  reference::BandedAttention(reference_args);
  ExpectClose(problem.out, expected, 3e-6, 3e-6);
}

TEST(BandedAttentionTest, EqualsTheDefinition) {
  ForEachTarget([] {
    Random random(1);
    ThreadPool pool(3);
    for (int64_t window : {int64_t{1}, int64_t{2}, int64_t{7}, int64_t{40}, INT64_MAX}) {
      for (int64_t sinks : {0, 1, 5, 1000}) {
        CheckAgainstReference({50, 33, sinks, window, 6, 2, 32, random}, pool);
        CheckAgainstReference({50, 0, sinks, window, 3, 1, 64, random}, pool);
        CheckAgainstReference({1, 60, sinks, window, 4, 4, 80, random}, pool);
      }
    }
    CheckAgainstReference({0, 5, 0, 4, 2, 1, 32, random}, pool);
    CheckAgainstReference({1, 0, 0, 1, 1, 1, 1, random}, pool);
    CheckAgainstReference({300, 272, 16, 256, 9, 3, 64, random}, pool);
    CheckAgainstReference({4, 2, 1, 3, 2, 1, 256, random}, pool);
  });
}

TEST(BandedAttentionTest, RandomShapes) {
  ForEachTarget([] {
    Random random(2);
    ThreadPool pool(2);
    for (int trial = 0; trial < 150; ++trial) {
      const int kv_heads = 1 + random.Below(4), group = 1 + random.Below(5);
      const int64_t window = random.Below(4) == 0 ? INT64_MAX : 1 + random.Below(60);
      CheckAgainstReference({static_cast<int64_t>(1 + random.Below(70)), static_cast<int64_t>(random.Below(80)),
                             static_cast<int64_t>(random.Below(20)), window, kv_heads * group, kv_heads,
                             static_cast<int>(1 + random.Below(100)), random},
                            pool);
    }
  });
}

TEST(BandedAttentionTest, AQueryDependsOnNothingElse) {
  ForEachTarget([] {
    Random random(3);
    ThreadPool one(1), three(3);
    Problem problem(90, 70, 5, 40, 6, 2, 48, random);
    BandedAttention(problem.args, three);
    const int64_t width = 6 * 48, key_width = 2 * 48;
    for (int64_t begin = 0; begin < 90; begin += 1 + random.Below(4)) {
      const int64_t count = 1 + random.Below(std::min<int64_t>(20, 90 - begin));
      std::vector<float> part(count * width);
      BandedAttentionArgs args = problem.args;
      args.num_queries = count, args.num_past = 70 + begin;
      args.q += begin * width, args.out = part.data();
      BandedAttention(args, one);
      ASSERT_TRUE(SameBits(part.data(), &problem.out[begin * width], count * width)) << begin << " + " << count;

      // A cache without the keys that have left the window: the sinks, then what the first of these queries sees.
      const int64_t from = 70 + begin - 39;
      std::vector<float> k(problem.k.begin(), problem.k.begin() + 5 * key_width), v(5 * key_width);
      std::copy_n(problem.v.begin(), 5 * key_width, v.begin());
      k.insert(k.end(), problem.k.begin() + from * key_width, problem.k.end());
      v.insert(v.end(), problem.v.begin() + from * key_width, problem.v.end());
      args.num_past = 5 + 39, args.k = k.data(), args.v = v.data();
      std::fill(part.begin(), part.end(), 0.0f);
      BandedAttention(args, one);
      ASSERT_TRUE(SameBits(part.data(), &problem.out[begin * width], count * width)) << "trimmed, " << begin;
    }
  });
}

TEST(BandedAttentionTest, Strides) {
  ForEachTarget([] {
    Random random(4);
    ThreadPool pool(2);
    Problem problem(20, 10, 2, 9, 4, 2, 32, random);
    BandedAttention(problem.args, pool);
    // Queries, keys and values side by side in one buffer, as a fused projection leaves them, for the new tokens.
    const int64_t stride = 4 * 32 + 2 * 2 * 32 + 3, rows = 30;
    std::vector<float> fused(rows * stride), out(20 * 140, 8.0f);
    for (int64_t r = 0; r < rows; ++r) {
      if (r >= 10) std::copy_n(&problem.q[(r - 10) * 128], 128, &fused[r * stride]);
      std::copy_n(&problem.k[r * 64], 64, &fused[r * stride + 128]);
      std::copy_n(&problem.v[r * 64], 64, &fused[r * stride + 192]);
    }
    BandedAttentionArgs args = problem.args;
    args.q = &fused[10 * stride], args.k = &fused[128], args.v = &fused[192], args.out = out.data();
    args.q_stride = args.k_stride = args.v_stride = stride, args.out_stride = 140;
    BandedAttention(args, pool);
    for (int64_t r = 0; r < 20; ++r) {
      EXPECT_TRUE(SameBits(&out[r * 140], &problem.out[r * 128], 128));
      for (int64_t c = 128; c < 140; ++c) EXPECT_EQ(out[r * 140 + c], 8.0f);
    }
  });
}

TEST(BandedAttentionTest, LargeScoresDoNotOverflow) {
  ForEachTarget([] {
    Random random(5);
    ThreadPool pool(2);
    Problem problem(33, 7, 0, 20, 2, 1, 32, random);
    problem.args.scale = 1e6f;  // softmax becomes the choice of the greatest
    BandedAttention(problem.args, pool);
    for (float value : problem.out) ASSERT_TRUE(std::abs(value) <= 1.0f);
  });
}

}  // namespace
}  // namespace ilre::kernels
