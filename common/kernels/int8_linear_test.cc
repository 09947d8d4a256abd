#include "common/kernels/int8_linear.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "common/base/random.h"
#include "common/kernels/reference.h"
#include "common/kernels/test_util.h"
#include "gtest/gtest.h"

namespace ilre::kernels {
namespace {

// Each way of computing the products together with each way of rounding.
void ForEachPath(const std::function<void()>& body) {
  std::vector<Int8Path> paths = SupportedInt8Paths();
  if (std::find(paths.begin(), paths.end(), Int8Path::kAvx512Vnni) != paths.end()) {
    paths.push_back(Int8Path::kAmxEmulated);
  }
  for (const Int8Path path : paths) {
    SCOPED_TRACE(Int8PathName(path));
    SetInt8Path(path);
    ForEachTarget(body);
  }
  SetInt8Path(SupportedInt8Paths().front());
}

// Rows of very different sizes, and some outliers.
std::vector<float> Activations(int64_t rows, int64_t in, Random& random) {
  std::vector<float> x = RandomFloats(rows * in, random);
  for (int64_t r = 0; r < rows; ++r) {
    const float factor = std::exp2(static_cast<float>(random.Below(20)) - 10);
    for (int64_t i = 0; i < in; ++i) x[r * in + i] *= factor;
    x[r * in + random.Below(in)] *= 30;
  }
  return x;
}

struct Shape {
  int64_t rows, out, in;
};

void CheckShape(const Shape& shape, Random& random) {
  SCOPED_TRACE(testing::Message() << "rows " << shape.rows << ", out " << shape.out << ", in " << shape.in);
  const auto weight = RandomFloats(shape.out * shape.in, random), bias = RandomFloats(shape.out, random);
  const auto x = Activations(shape.rows, shape.in, random);
  std::vector<float> expected(shape.rows * shape.out), y(expected.size(), 7.0f);
  reference::Int8Linear(x.data(), shape.rows, weight.data(), shape.out, shape.in, bias.data(), expected.data());
  Int8Rows rows;
  rows.Assign(RandomFloats(900, random).data(), 30, 30);  // what it held before does not matter
  rows.Assign(x.data(), shape.rows, shape.in);
  const Int8Linear linear = Int8Linear::FromFloats(weight.data(), shape.out, shape.in, bias.data());
  linear.Apply(rows, y.data());
  EXPECT_TRUE(SameBits(y.data(), expected.data(), static_cast<int64_t>(y.size())));
  for (float& value : y) value = 2;
  linear.Apply(rows, y.data(), Accumulate::kAddTo);
  for (size_t i = 0; i < y.size(); ++i) ASSERT_EQ(y[i], 2 + expected[i]);
}

TEST(Int8LinearTest, EqualsTheDefinitionBitForBitOnEveryPath) {
  ForEachPath([] {
    Random random(1);
    for (const Shape& shape : {Shape{1, 1, 1}, Shape{0, 5, 5}, Shape{3, 0, 4}, Shape{2, 33, 5}, Shape{64, 40, 64},
                               Shape{13, 16, 576}, Shape{97, 31, 65}, Shape{1, 500, 129}, Shape{33, 48, 1536}}) {
      CheckShape(shape, random);
    }
    for (int64_t rows = 1; rows <= 17; ++rows) CheckShape({rows, 17, 70}, random);
    for (int64_t out = 1; out <= 33; ++out) CheckShape({5, out, 11}, random);
  });
}

TEST(Int8LinearTest, GreatestNumbersOfBothSignsDoNotOverflow) {
  ForEachPath([] {
    for (const float sign : {1.0f, -1.0f}) {
      const int64_t in = 256;
      const std::vector<float> weight(16 * in, sign), x(8 * in, -1.0f);
      Int8Rows rows;
      rows.Assign(x.data(), 8, in);
      std::vector<float> y(8 * 16);
      Int8Linear::FromFloats(weight.data(), 16, in).Apply(rows, y.data());
      for (const float value : y) EXPECT_NEAR(value, -sign * 256, 1e-3);
    }
  });
}

TEST(Int8LinearTest, IsCloseToFloat32) {
  Random random(3);
  const int64_t rows = 40, out = 60, in = 576;
  const auto weight = RandomBf16(out * in, random);
  const auto bias = RandomFloats(out, random), x = RandomFloats(rows * in, random);
  const PackedLinear exact = PackedLinear::FromBf16(weight.data(), out, in, bias.data());
  std::vector<float> expected(rows * out), y(expected.size());
  reference::Linear(x.data(), rows, weight.data(), out, in, bias.data(), expected.data());
  Int8Rows quantized;
  quantized.Assign(x.data(), rows, in);
  Int8Linear::FromPacked(exact).Apply(quantized, y.data());
  double error = 0, size = 0;
  for (size_t i = 0; i < y.size(); ++i) {
    error += std::pow(y[i] - expected[i], 2);
    size += std::pow(expected[i], 2);
  }
  EXPECT_LT(std::sqrt(error / size), 0.008);
  EXPECT_GT(error, 0);
}

TEST(Int8LinearTest, ARowDependsOnNothingElse) {
  ForEachPath([] {
    Random random(4);
    const int64_t rows = 37, out = 70, in = 147, x_stride = 150, y_stride = 80;
    const auto weight = RandomFloats(out * in, random), x = Activations(rows, x_stride, random);
    const Int8Linear linear = Int8Linear::FromFloats(weight.data(), out, in);
    Int8Rows all, one;
    all.Assign(x.data(), rows, in, x_stride);
    std::vector<float> together(rows * y_stride, -1.0f), apart(out);
    linear.Apply(all, together.data(), Accumulate::kStore, y_stride);
    for (int64_t r = 0; r < rows; ++r) {
      one.Assign(&x[r * x_stride], 1, in);
      linear.Apply(one, apart.data());
      ASSERT_TRUE(SameBits(apart.data(), &together[r * y_stride], out)) << "row " << r;
      for (int64_t o = out; o < y_stride; ++o) ASSERT_EQ(together[r * y_stride + o], -1.0f);
    }
    // And a part of the columns is that part.
    for (const int64_t begin : {0, 16, 64}) {
      for (const int64_t end : {begin + 1, begin + 6}) {
        std::vector<float> part(rows * (end - begin));
        linear.ApplyColumns(all, begin, end, part.data());
        for (int64_t r = 0; r < rows; ++r) {
          ASSERT_TRUE(SameBits(&part[r * (end - begin)], &together[r * y_stride + begin], end - begin));
        }
      }
    }
  });
}

TEST(Int8LinearTest, NumbersThatAreNoneHarmNobody) {
  ForEachPath([] {
    Random random(5);
    const int64_t rows = 12, out = 20, in = 100;
    auto weight = RandomFloats(out * in, random), x = RandomFloats(rows * in, random);
    x[3 * in + 5] = std::numeric_limits<float>::quiet_NaN();
    x[4 * in + 70] = std::numeric_limits<float>::infinity();
    std::fill_n(&x[5 * in], in, 0.0f);
    std::fill_n(&x[6 * in], in, 1e-42f);
    weight[7 * in] = -std::numeric_limits<float>::infinity();
    Int8Rows quantized;
    quantized.Assign(x.data(), rows, in);
    std::vector<float> y(rows * out);
    Int8Linear::FromFloats(weight.data(), out, in).Apply(quantized, y.data());
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t o = 0; o < out; ++o) {
        if (r == 3 || r == 4 || o == 7) continue;
        ASSERT_EQ(std::isfinite(y[r * out + o]), true) << r << ", " << o;
        ASSERT_EQ(y[r * out + o] == 0, r == 5 || r == 6) << r << ", " << o;
      }
    }
  });
}

}  // namespace
}  // namespace ilre::kernels
