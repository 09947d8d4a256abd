#include "common/kernels/elementwise.h"

#include <bit>
#include <cmath>
#include <limits>
#include <vector>

#include "common/base/random.h"
#include "common/base/thread_pool.h"
#include "common/kernels/bf16.h"
#include "common/kernels/reference.h"
#include "common/kernels/test_util.h"
#include "gtest/gtest.h"

namespace ilre::kernels {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
const int64_t kOddSizes[] = {1, 2, 15, 16, 17, 31, 64, 65, 130, 576, 1000};

TEST(ElementwiseTest, RmsNorm) {
  ForEachTarget([] {
    Random random(1);
    ThreadPool pool(3);
    for (int64_t dim : kOddSizes) {
      for (int64_t rows : {0, 1, 5, 200}) {
        const auto x = RandomFloats(rows * dim, random), weight = RandomFloats(dim, random);
        std::vector<float> expected(x.size()), out(x.size());
        reference::RmsNorm(x.data(), rows, dim, weight.data(), 1e-5f, expected.data());
        RmsNorm(x.data(), rows, dim, weight.data(), 1e-5f, out.data(), pool);
        ExpectClose(out, expected, 1e-7, 1e-6);
        reference::RmsNorm(x.data(), rows, dim, nullptr, 1e-5f, expected.data());
        out = x;
        RmsNorm(out.data(), rows, dim, nullptr, 1e-5f, out.data(), pool);  // in place
        ExpectClose(out, expected, 1e-7, 1e-6);
      }
    }
  });
}

TEST(ElementwiseTest, RmsNormHeadsInsideAFusedRow) {
  ForEachTarget([] {
    Random random(2);
    ThreadPool pool(2);
    const int64_t rows = 7, heads = 3, dim = 20, stride = 100;
    auto x = RandomFloats(rows * stride, random);
    const auto before = x, weight = RandomFloats(dim, random);
    RmsNormHeads(x.data(), rows, heads, dim, weight.data(), 1e-6f, pool, stride);
    for (int64_t r = 0; r < rows; ++r) {
      std::vector<float> expected(before.begin() + r * stride, before.begin() + (r + 1) * stride);
      reference::RmsNorm(expected.data(), heads, dim, weight.data(), 1e-6f, expected.data());
      ExpectClose({x.begin() + r * stride, x.begin() + (r + 1) * stride}, expected, 1e-7, 1e-6);
    }
  });
}

TEST(ElementwiseTest, Rope) {
  ForEachTarget([] {
    Random random(3);
    ThreadPool pool(2);
    for (int64_t dim : {2, 6, 32, 64, 80, 128}) {
      const int64_t rows = 40, heads = 3, stride = heads * dim + 5;
      std::vector<float> cosines(rows * dim / 2), sines(cosines.size());
      for (size_t i = 0; i < cosines.size(); ++i) {
        const double angle = 100 * random.Uniform();
        cosines[i] = static_cast<float>(std::cos(angle)), sines[i] = static_cast<float>(std::sin(angle));
      }
      auto x = RandomFloats(rows * stride, random), expected = x;
      for (int64_t r = 0; r < rows; ++r) {
        reference::Rope(&expected[r * stride], 1, heads, dim, &cosines[r * dim / 2], &sines[r * dim / 2]);
      }
      Rope(x.data(), rows, heads, dim, cosines.data(), sines.data(), pool, stride);
      ExpectClose(x, expected, 2e-7, 2e-7);
    }
  });
}

TEST(ElementwiseTest, SiluMul) {
  ForEachTarget([] {
    Random random(4);
    ThreadPool pool(3);
    for (int64_t size : kOddSizes) {
      auto gate_up = RandomFloats(9 * 2 * size, random);
      for (float& value : gate_up) value *= 30;
      std::vector<float> expected(9 * size), out(9 * size);
      reference::SiluMul(gate_up.data(), 9, size, expected.data());
      SiluMul(gate_up.data(), 9, size, out.data(), pool);
      ExpectClose(out, expected, 1e-30, 1e-6);
      // Over the gates themselves.
      SiluMul(gate_up.data(), 9, size, gate_up.data(), pool, 2 * size, 2 * size);
      for (int64_t r = 0; r < 9; ++r) EXPECT_TRUE(SameBits(&gate_up[r * 2 * size], &out[r * size], size));
    }
  });
}

TEST(ElementwiseTest, SiluMulAtTheEnds) {
  ForEachTarget([] {
    ThreadPool pool(1);
    const float gate_up[] = {0.0f, 1000.0f, -1000.0f, -86.0f, kNan, kInfinity, 1, 1, 1, 1, 1, 1};
    float out[6];
    SiluMul(gate_up, 1, 6, out, pool);
    EXPECT_EQ(out[0], 0.0f);
    EXPECT_EQ(out[1], 1000.0f);
    EXPECT_EQ(out[2], 0.0f);
    EXPECT_NEAR(out[3] / (-86 * std::exp(-86.0)), 1, 1e-6);
    EXPECT_TRUE(std::isnan(out[4]));
    EXPECT_EQ(out[5], kInfinity);
  });
}

TEST(ElementwiseTest, GeluMul) {
  ForEachTarget([] {
    Random random(5);
    ThreadPool pool(3);
    for (int64_t size : kOddSizes) {
      auto gate_up = RandomFloats(9 * 2 * size, random);
      for (float& value : gate_up) value *= 6;
      std::vector<float> expected(9 * size), out(9 * size);
      reference::GeluMul(gate_up.data(), 9, size, expected.data());
      GeluMul(gate_up.data(), 9, size, out.data(), pool);
      for (int64_t i = 0; i < 9 * size; ++i) {
        const int64_t at = i / size * 2 * size + i % size;
        EXPECT_NEAR(out[i], expected[i], 1e-6 * std::fabs(gate_up[at] * gate_up[at + size])) << gate_up[at];
      }
      // Over the gates themselves.
      GeluMul(gate_up.data(), 9, size, gate_up.data(), pool, 2 * size, 2 * size);
      for (int64_t r = 0; r < 9; ++r) EXPECT_TRUE(SameBits(&gate_up[r * 2 * size], &out[r * size], size));
    }
  });
}

TEST(ElementwiseTest, GeluMulAtTheEnds) {
  ForEachTarget([] {
    ThreadPool pool(1);
    const float gate_up[] = {0.0f, 1e20f, -1e20f, -5.0f, kNan, 1e-20f, 1, 1, 1, 1, 1, 2};
    float out[6];
    GeluMul(gate_up, 1, 6, out, pool);
    EXPECT_EQ(out[0], 0.0f);
    EXPECT_EQ(out[1], 1e20f);
    EXPECT_EQ(out[2], 0.0f);
    EXPECT_NEAR(out[3], -2.29e-7, 1e-8);
    EXPECT_TRUE(std::isnan(out[4]));
    EXPECT_EQ(out[5], 1e-20f);
  });
}

TEST(ElementwiseTest, AddInPlace) {
  ForEachTarget([] {
    Random random(5);
    ThreadPool pool(3);
    for (int64_t count : {0, 1, 17, 16384, 16385, 200000}) {
      auto y = RandomFloats(count, random), expected = y;
      const auto x = RandomFloats(count, random);
      for (int64_t i = 0; i < count; ++i) expected[i] += x[i];
      AddInPlace(y.data(), x.data(), count, pool);
      EXPECT_EQ(y, expected);
    }
  });
}

TEST(ElementwiseTest, AddScaledAndInnerProduct) {
  ForEachTarget([] {
    Random random(12);
    for (int64_t count : kOddSizes) {
      const auto x = RandomFloats(count, random), y = RandomFloats(count, random);
      std::vector<float> sum = y, expected = y;
      double product = 0, size = 0;
      for (int64_t i = 0; i < count; ++i) {
        expected[i] += 0.3f * x[i];
        product += static_cast<double>(x[i]) * y[i];
        size += std::fabs(static_cast<double>(x[i]) * y[i]);
      }
      AddScaled(sum.data(), 0.3f, x.data(), count);
      ExpectClose(sum, expected, 1e-6, 1e-6);
      EXPECT_NEAR(InnerProduct(x.data(), y.data(), count), product, 1e-6 * size);
    }
  });
}

TEST(ElementwiseTest, NormalizeRows) {
  ForEachTarget([] {
    Random random(6);
    for (int64_t dim : kOddSizes) {
      auto x = RandomFloats(3 * dim, random);
      std::fill_n(x.begin() + dim, dim, 0.0f);
      std::vector<float> out(3 * dim);
      NormalizeRows(x.data(), 3, dim, out.data());
      for (int64_t row : {0, 1, 2}) {
        double squares = 0, along = 0, length = 0;
        for (int64_t i = row * dim; i < (row + 1) * dim; ++i) {
          squares += static_cast<double>(out[i]) * out[i];
          along += static_cast<double>(out[i]) * x[i];
          length += static_cast<double>(x[i]) * x[i];
        }
        EXPECT_NEAR(squares, row == 1 ? 0 : 1, 1e-6);
        EXPECT_NEAR(along, std::sqrt(length), 1e-5 * std::sqrt(length));
      }
    }
  });
}

TEST(ElementwiseTest, Softmax) {
  ForEachTarget([] {
    Random random(7);
    for (int64_t count : kOddSizes) {
      auto x = RandomFloats(count, random);
      for (float& value : x) value *= 100;
      auto expected = x;
      reference::Softmax(expected.data(), count, 0.7f);
      Softmax(x.data(), count, 0.7f);
      ExpectClose(x, expected, 1e-30, 1e-5);  // a difference of d between arguments of about 100 is d * 100 here
    }
    std::vector<float> hidden = {-kInfinity, 3.0f, -kInfinity};
    Softmax(hidden.data(), 3);
    EXPECT_EQ(hidden, (std::vector<float>{0, 1, 0}));
  });
}

TEST(ElementwiseTest, ArgMax) {
  ForEachTarget([] {
    Random random(8);
    for (int64_t count : kOddSizes) {
      for (int trial = 0; trial < 20; ++trial) {
        std::vector<float> x(count);
        for (float& value : x) value = static_cast<float>(random.Below(5));
        EXPECT_EQ(ArgMax(x.data(), count), std::max_element(x.begin(), x.end()) - x.begin());
      }
    }
    const std::vector<float> some = {kNan, -kInfinity, 1.0f, kNan, 2.0f, 2.0f}, none(40, kNan), low(3, -kInfinity);
    EXPECT_EQ(ArgMax(some.data(), 6), 4);
    EXPECT_EQ(ArgMax(none.data(), 40), 0);
    EXPECT_EQ(ArgMax(low.data(), 3), 0);
  });
}

TEST(ElementwiseTest, Bf16EveryValueAndItsNeighbours) {
  ForEachTarget([] {
    std::vector<uint16_t> all(65536), back(65536);
    for (int i = 0; i < 65536; ++i) all[i] = static_cast<uint16_t>(i);
    std::vector<float> floats(65536);
    ConvertFromBf16(all.data(), 65535, floats.data());  // an odd count
    floats[65535] = FloatFromBf16(65535);
    for (uint32_t below : {0u, 1u, 0x7FFFu, 0x8000u, 0x8001u, 0xFFFFu}) {
      std::vector<float> moved(65536);
      for (int i = 0; i < 65536; ++i) moved[i] = std::bit_cast<float>(std::bit_cast<uint32_t>(floats[i]) | below);
      ConvertToBf16(moved.data(), 65535, back.data());
      for (int i = 0; i < 65535; ++i) {
        if (std::isnan(moved[i])) {
          ASSERT_TRUE(std::isnan(FloatFromBf16(back[i])));
        } else {
          const bool up = below > 0x8000u || (below == 0x8000u && i % 2 == 1);  // ties to even
          ASSERT_EQ(back[i], i + up) << below;
        }
      }
    }
  });
}

// A row alone gives the bits that it gives among others.
TEST(ElementwiseTest, ARowDependsOnNothingElse) {
  ForEachTarget([] {
    Random random(9);
    ThreadPool one(1), three(3);
    const int64_t rows = 150, dim = 333;
    const auto x = RandomFloats(rows * 2 * dim, random), weight = RandomFloats(dim, random);
    std::vector<float> norm(rows * dim), silu(rows * dim), alone(dim);
    RmsNorm(x.data(), rows, dim, weight.data(), 1e-5f, norm.data(), three);
    SiluMul(x.data(), rows, dim, silu.data(), three);
    for (int64_t r = 0; r < rows; ++r) {
      RmsNorm(&x[r * dim], 1, dim, weight.data(), 1e-5f, alone.data(), one);
      ASSERT_TRUE(SameBits(alone.data(), &norm[r * dim], dim));
      SiluMul(&x[r * 2 * dim], 1, dim, alone.data(), one);
      ASSERT_TRUE(SameBits(alone.data(), &silu[r * dim], dim));
    }
  });
}

}  // namespace
}  // namespace ilre::kernels
