#include "common/kernels/bf16_attention.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "common/base/random.h"
#include "common/kernels/bf16.h"
#include "common/kernels/elementwise.h"
#include "common/kernels/reference.h"
#include "common/kernels/test_util.h"
#include "gtest/gtest.h"

namespace ilre::kernels {
namespace {

// With the processor's products of pairs, and without, on each target.
void ForEachPath(const std::function<void()>& body) {
  for (const bool allow : {true, false}) {
    SCOPED_TRACE(allow ? "with bf16 products" : "without bf16 products");
    AllowBf16Products(allow);
    ForEachTarget(body);
  }
  AllowBf16Products(true);
}

// A problem with its own memory: numbers that bf16 holds exactly, as floats and as the kernel wants them.
struct Problem {
  Problem(int64_t queries, int64_t past, int64_t sinks, int64_t window, int heads, int kv_heads, int dim,
          Random& random)
      : q(RandomFloats(queries * heads * dim, random)), out(queries * heads * dim, 9.0f) {
    const int64_t total = past + queries, width = kv_heads * dim;
    for (float& value : q) value = FloatFromBf16(Bf16FromFloat(value));
    k = RandomBf16((total + total % 2) * width, random);
    const std::vector<uint16_t> values = RandomBf16((total + total % 2) * width, random);
    v.resize(values.size());
    for (int64_t j = 0; j < total + total % 2; ++j) {
      for (int64_t c = 0; c < width; ++c) v[j / 2 * 2 * width + 2 * c + j % 2] = values[j * width + c];
    }
    float_k.resize(k.size());
    float_v.resize(k.size());
    ConvertFromBf16(k.data(), static_cast<int64_t>(k.size()), float_k.data());
    ConvertFromBf16(values.data(), static_cast<int64_t>(values.size()), float_v.data());
    args = {queries, past, sinks, window, heads, kv_heads, dim, 0.5f};  // exact, too
    args.q = q.data(), args.k = k.data(), args.v = v.data(), args.out = out.data();
  }

  std::vector<float> Expected() const {
    std::vector<float> expected(out.size());
    BandedAttentionArgs exact{args.num_queries, args.num_past,     args.num_sinks, args.window,
                              args.num_heads,   args.num_kv_heads, args.head_dim,  args.scale};
    exact.q = q.data(), exact.k = float_k.data(), exact.v = float_v.data(), exact.out = expected.data();
    reference::BandedAttention(exact);
    return expected;
  }

  std::vector<float> q, float_k, float_v, out;
  std::vector<uint16_t> k, v;
  Bf16AttentionArgs args;
};

void CheckAgainstReference(Problem problem) {
  const Bf16AttentionArgs& args = problem.args;
  SCOPED_TRACE(testing::Message() << args.num_queries << " queries, past " << args.num_past << ", sinks "
                                  << args.num_sinks << ", window " << args.window << ", heads " << args.num_heads << "/"
                                  << args.num_kv_heads << ", d " << args.head_dim);
  Bf16Attention(args);
  ExpectClose(problem.out, problem.Expected(), 4e-3, 0);  // the weights' rounding: 2^-9 of each
}

TEST(Bf16AttentionTest, EqualsTheDefinition) {
  ForEachPath([] {
    Random random(1);
    for (int64_t window : {int64_t{1}, int64_t{2}, int64_t{7}, int64_t{40}, INT64_MAX}) {
      for (int64_t sinks : {0, 1, 4, 5, 1000}) {
        CheckAgainstReference({50, 33, sinks, window, 6, 2, 32, random});
        CheckAgainstReference({49, 0, sinks, window, 3, 1, 64, random});
        CheckAgainstReference({1, 60, sinks, window, 4, 4, 80, random});
      }
    }
    CheckAgainstReference({0, 5, 0, 4, 2, 1, 32, random});
    CheckAgainstReference({1, 0, 0, 1, 1, 1, 16, random});
    CheckAgainstReference({256, 272, 16, 256, 9, 3, 64, random});
  });
}

TEST(Bf16AttentionTest, RandomShapes) {
  ForEachPath([] {
    Random random(2);
    for (int trial = 0; trial < 100; ++trial) {
      const int kv_heads = 1 + random.Below(3), group = 1 + random.Below(5);
      const int64_t window = random.Below(4) == 0 ? INT64_MAX : 1 + random.Below(60);
      CheckAgainstReference({static_cast<int64_t>(1 + random.Below(70)), static_cast<int64_t>(random.Below(80)),
                             static_cast<int64_t>(random.Below(20)), window, kv_heads * group, kv_heads,
                             static_cast<int>(16 * (1 + random.Below(5))), random});
    }
  });
}

TEST(Bf16AttentionTest, AQueryDependsOnNothingElse) {
  ForEachPath([] {
    Random random(3);
    Problem problem(90, 70, 5, 40, 6, 2, 48, random);
    Bf16Attention(problem.args);
    const int64_t width = 6 * 48;
    for (int64_t begin = 0; begin < 90; begin += 1 + random.Below(4)) {
      const int64_t count = 1 + random.Below(std::min<int64_t>(20, 90 - begin));
      std::vector<float> part(count * width);
      Bf16AttentionArgs args = problem.args;
      args.num_queries = count, args.num_past = 70 + begin;
      args.q += begin * width, args.out = part.data();
      Bf16Attention(args);
      ASSERT_TRUE(SameBits(part.data(), &problem.out[begin * width], count * width)) << begin << " + " << count;
    }
    // Other keys where no query looks: behind the sinks, before the windows.
    Problem other = problem;
    other.args.q = other.q.data(), other.args.out = other.out.data();
    for (int64_t i = 5 * 96; i < 31 * 96; ++i) other.k[i] ^= 0x8001;
    other.args.k = other.k.data(), other.args.v = other.v.data();
    Bf16Attention(other.args);
    ASSERT_TRUE(SameBits(other.out.data(), problem.out.data(), 90 * width));
  });
}

TEST(Bf16AttentionTest, QueriesApart) {
  ForEachPath([] {
    Random random(4);
    Problem problem(20, 10, 2, 9, 4, 2, 32, random);
    Bf16Attention(problem.args);
    std::vector<float> spaced(20 * 150), out(20 * 128);
    for (int64_t r = 0; r < 20; ++r) std::copy_n(&problem.q[r * 128], 128, &spaced[r * 150]);
    Bf16AttentionArgs args = problem.args;
    args.q = spaced.data(), args.q_stride = 150, args.out = out.data();
    Bf16Attention(args);
    EXPECT_TRUE(SameBits(out.data(), problem.out.data(), 20 * 128));
  });
}

TEST(Bf16AttentionTest, LargeScoresDoNotOverflow) {
  ForEachPath([] {
    Random random(5);
    Problem problem(33, 7, 0, 20, 2, 1, 32, random);
    problem.args.scale = 1e6f;  // softmax becomes the choice of the greatest
    Bf16Attention(problem.args);
    for (float value : problem.out) ASSERT_TRUE(std::abs(value) <= 1.0f);
  });
}

}  // namespace
}  // namespace ilre::kernels
