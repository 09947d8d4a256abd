#include "common/kernels/linear.h"

#include <algorithm>
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

struct Shape {
  int64_t rows, out, in;
};

// Sums of `in` products of numbers below one: float32 errors grow no faster than in * epsilon * sum of |products|.
double Tolerance(int64_t in) { return 1e-6 + in * 2e-8 * std::sqrt(static_cast<double>(in)); }

void CheckShape(const Shape& shape, ThreadPool& pool, Random& random) {
  SCOPED_TRACE(testing::Message() << "rows " << shape.rows << ", out " << shape.out << ", in " << shape.in);
  const auto weight = RandomBf16(shape.out * shape.in, random);
  const auto bias = RandomFloats(shape.out, random), x = RandomFloats(shape.rows * shape.in, random);
  std::vector<float> expected(shape.rows * shape.out), y(expected.size(), 7.0f);
  reference::Linear(x.data(), shape.rows, weight.data(), shape.out, shape.in, bias.data(), expected.data());

  const PackedLinear with_bias = PackedLinear::FromBf16(weight.data(), shape.out, shape.in, bias.data());
  with_bias.Apply(x.data(), shape.rows, y.data(), pool);
  ExpectClose(y, expected, Tolerance(shape.in), 1e-6);

  // Without a bias, and added to what is there: what is missing is put there before.
  const PackedLinear without = PackedLinear::FromBf16(weight.data(), shape.out, shape.in);
  for (size_t i = 0; i < y.size(); ++i) y[i] = bias[i % shape.out];
  without.Apply(x.data(), shape.rows, y.data(), pool, Accumulate::kAddTo);
  ExpectClose(y, expected, Tolerance(shape.in), 1e-6);
}

TEST(PackedLinearTest, EqualsTheDefinition) {
  ForEachTarget([] {
    Random random(1);
    ThreadPool pool(3);
    for (const Shape& shape :
         {Shape{1, 1, 1}, Shape{0, 5, 5}, Shape{3, 0, 4}, Shape{4, 3, 0}, Shape{1, 32, 4}, Shape{2, 33, 5},
          Shape{256, 40, 33}, Shape{13, 576, 64}, Shape{97, 31, 7}, Shape{1, 1000, 129}, Shape{200, 200, 200}}) {
      CheckShape(shape, pool, random);
    }
    for (int64_t rows = 1; rows <= 26; ++rows) CheckShape({rows, 65, 30}, pool, random);
    for (int64_t out = 1; out <= 66; ++out) CheckShape({5, out, 11}, pool, random);
  });
}

TEST(PackedLinearTest, ARowDependsOnNothingElse) {
  ForEachTarget([] {
    Random random(2);
    ThreadPool one(1), three(3);
    const int64_t rows = 211, out = 300, in = 147;
    const auto weight = RandomBf16(out * in, random);
    const auto bias = RandomFloats(out, random), x = RandomFloats(rows * in, random);
    const PackedLinear linear = PackedLinear::FromBf16(weight.data(), out, in, bias.data());
    std::vector<float> together(rows * out), apart(out);
    linear.Apply(x.data(), rows, together.data(), three);
    for (int64_t r = 0; r < rows; ++r) {
      linear.Apply(&x[r * in], 1, apart.data(), one);
      ASSERT_TRUE(SameBits(apart.data(), &together[r * out], out)) << "row " << r;
    }
    for (int trial = 0; trial < 20; ++trial) {
      const int64_t begin = random.Below(rows), count = 1 + random.Below(rows - begin);
      std::vector<float> part(count * out);
      linear.Apply(&x[begin * in], count, part.data(), trial % 2 == 0 ? one : three);
      ASSERT_TRUE(SameBits(part.data(), &together[begin * out], count * out)) << begin << " + " << count;
    }
  });
}

TEST(PackedLinearTest, StridesLeaveGapsAlone) {
  ForEachTarget([] {
    Random random(3);
    ThreadPool pool(2);
    const int64_t rows = 30, out = 45, in = 18, x_stride = 23, y_stride = 64;
    const auto weight = RandomBf16(out * in, random);
    const auto x = RandomFloats(rows * x_stride, random);
    const PackedLinear linear = PackedLinear::FromBf16(weight.data(), out, in);
    std::vector<float> y(rows * y_stride, 5.0f), row(out);
    linear.Apply(x.data(), rows, y.data(), pool, Accumulate::kStore, x_stride, y_stride);
    for (int64_t r = 0; r < rows; ++r) {
      linear.Apply(&x[r * x_stride], 1, row.data(), pool);
      EXPECT_TRUE(SameBits(row.data(), &y[r * y_stride], out));
      for (int64_t c = out; c < y_stride; ++c) EXPECT_EQ(y[r * y_stride + c], 5.0f);
    }
  });
}

TEST(PackedLinearTest, NotANumberStaysInItsRowAndColumn) {
  ForEachTarget([] {
    Random random(4);
    ThreadPool pool(2);
    const int64_t rows = 20, out = 70, in = 9;
    auto weight = RandomBf16(out * in, random);
    auto x = RandomFloats(rows * in, random);
    weight[33 * in + 2] = Bf16FromFloat(std::numeric_limits<float>::quiet_NaN());
    x[7 * in + 3] = std::numeric_limits<float>::infinity();
    std::vector<float> y(rows * out);
    PackedLinear::FromBf16(weight.data(), out, in).Apply(x.data(), rows, y.data(), pool);
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t o = 0; o < out; ++o) EXPECT_EQ(std::isfinite(y[r * out + o]), r != 7 && o != 33) << r << ", " << o;
    }
  });
}

TEST(PackedLinearTest, CopyRowGivesTheWeightsBack) {
  Random random(5);
  const int64_t out = 71, in = 13;
  const auto weight = RandomBf16(out * in, random);
  PackedLinear linear = PackedLinear::FromBf16(weight.data(), out, in);
  const PackedLinear moved = std::move(linear);
  EXPECT_EQ(moved.out_features(), out);
  EXPECT_EQ(moved.in_features(), in);
  EXPECT_GE(moved.weight_bytes(), 2 * out * in);
  std::vector<float> row(in);
  for (int64_t o = 0; o < out; ++o) {
    moved.CopyRow(o, row.data());
    for (int64_t i = 0; i < in; ++i) EXPECT_EQ(row[i], FloatFromBf16(weight[o * in + i]));
  }
}

TEST(PackedLinearTest, AnEmptyLayerDoesNothing) {
  ThreadPool pool(2);
  PackedLinear().Apply(nullptr, 5, nullptr, pool);
  PackedLinear::FromBf16(nullptr, 0, 0).Apply(nullptr, 0, nullptr, pool);
}

}  // namespace
}  // namespace ilre::kernels
