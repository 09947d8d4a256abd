#include "common/kernels/quantized_linear.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "common/base/half.h"
#include "common/base/random.h"
#include "common/base/thread_pool.h"
#include "common/kernels/test_util.h"
#include "gtest/gtest.h"

namespace ilre::kernels {
namespace {

constexpr int64_t kBlock = QuantizedLinear::kBlock;
constexpr QuantizedFormat kFormats[] = {QuantizedFormat::kQ4_0, QuantizedFormat::kQ4_1, QuantizedFormat::kQ8_0};

// Runs `body` with every way of computing that this processor has, and for each with every target of the rest.
void ForEachPath(const std::function<void()>& body) {
  const QuantizedPath before = ChosenQuantizedPath();
  for (const QuantizedPath path : SupportedQuantizedPaths()) {
    SCOPED_TRACE(QuantizedPathName(path));
    SetQuantizedPath(path);
    ForEachTarget(body);
  }
  SetQuantizedPath(before);
}

// A matrix as a file has it, and what its numbers are.
struct Weights {
  Weights(QuantizedFormat format, int64_t out, int64_t in, Random& random) : format(format), out(out), in(in) {
    const int64_t block_bytes = QuantizedBlockBytes(format);
    bytes.resize(static_cast<size_t>(out * in / kBlock * block_bytes));
    for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random.Next());
    for (size_t at = 0; at < bytes.size(); at += static_cast<size_t>(block_bytes)) {
      // Scales of both signs, from the smallest (subnormal) to 2^-2; now and then zero.
      const uint64_t exponent = random.Below(14);
      const uint16_t scale =
          random.Below(20) == 0 ? 0 : static_cast<uint16_t>(random.Next() & 0x83FFu) | exponent << 10;
      std::memcpy(&bytes[at], &scale, 2);
      const uint16_t minimum = static_cast<uint16_t>(random.Next() & 0x83FFu) | exponent << 10;
      if (format == QuantizedFormat::kQ4_1) std::memcpy(&bytes[at + 2], &minimum, 2);
    }
  }

  const uint8_t* row(int64_t o) const { return bytes.data() + o * (in / kBlock) * QuantizedBlockBytes(format); }

  // By the format's definition.
  double at(int64_t o, int64_t i) const {
    const uint8_t* block = row(o) + i / kBlock * QuantizedBlockBytes(format);
    uint16_t halves[2];
    std::memcpy(halves, block, 4);
    const double scale = HalfToFloat(halves[0]);
    const int64_t place = i % kBlock;
    if (format == QuantizedFormat::kQ8_0) return scale * static_cast<int8_t>(block[2 + place]);
    const uint8_t both = block[(format == QuantizedFormat::kQ4_1 ? 4 : 2) + place % 16];
    const int code = place < 16 ? both & 15 : both >> 4;
    return format == QuantizedFormat::kQ4_0 ? scale * (code - 8) : scale * code + HalfToFloat(halves[1]);
  }

  QuantizedLinear Pack(ThreadPool& pool, const float* bias = nullptr) const {
    return QuantizedLinear::FromBlocks(
        format, out, in, [this](int64_t o) { return row(o); }, bias, pool);
  }

  QuantizedFormat format;
  int64_t out, in;
  std::vector<uint8_t> bytes;
};

// x as the layer rounds it, in double.
std::vector<double> Rounded(const std::vector<float>& x) {
  std::vector<double> result(x.size());
  for (size_t begin = 0; begin < x.size(); begin += kBlock) {
    float largest = 0;
    for (size_t i = begin; i < begin + kBlock; ++i) largest = std::max(largest, std::fabs(x[i]));
    for (size_t i = begin; i < begin + kBlock && largest > 0; ++i) {
      result[i] = std::nearbyint(x[i] * (127.0f / largest)) * static_cast<double>(largest / 127.0f);
    }
  }
  return result;
}

struct Shape {
  int64_t rows, out, in;
};

void CheckShape(QuantizedFormat format, const Shape& shape, ThreadPool& pool, Random& random) {
  SCOPED_TRACE(testing::Message() << "rows " << shape.rows << ", out " << shape.out << ", in " << shape.in);
  const Weights weights(format, shape.out, shape.in, random);
  const auto bias = RandomFloats(shape.out, random), x = RandomFloats(shape.rows * shape.in, random);
  const std::vector<double> rounded = Rounded(x);
  std::vector<float> expected(static_cast<size_t>(shape.rows * shape.out)), y(expected.size(), 7.0f);
  for (int64_t r = 0; r < shape.rows; ++r) {
    for (int64_t o = 0; o < shape.out; ++o) {
      double sum = bias[static_cast<size_t>(o)];
      for (int64_t i = 0; i < shape.in; ++i) sum += rounded[static_cast<size_t>(r * shape.in + i)] * weights.at(o, i);
      expected[static_cast<size_t>(r * shape.out + o)] = static_cast<float>(sum);
    }
  }
  // Numbers of a block are below 2^5 (eight bits times 2^-2), so their sums below 2^10 before they cancel.
  const double tolerance = 1e-6 + 1e-5 * static_cast<double>(shape.in / kBlock);
  weights.Pack(pool, bias.data()).Apply(x.data(), shape.rows, y.data(), pool);
  ExpectClose(y, expected, tolerance * 4, 1e-5);
  // Without a bias, and added to what is there: what is missing is put there before.
  for (size_t i = 0; i < y.size(); ++i) y[i] = bias[i % static_cast<size_t>(shape.out)];
  weights.Pack(pool).Apply(x.data(), shape.rows, y.data(), pool, Accumulate::kAddTo);
  ExpectClose(y, expected, tolerance * 4, 1e-5);
}

TEST(QuantizedLinearTest, EqualsTheDefinition) {
  ForEachPath([] {
    Random random(1);
    ThreadPool pool(3);
    for (const QuantizedFormat format : kFormats) {
      SCOPED_TRACE(static_cast<int>(format));
      for (const Shape& shape : {Shape{1, 1, 32}, Shape{0, 5, 64}, Shape{3, 0, 32}, Shape{4, 3, 0}, Shape{2, 33, 96},
                                 Shape{130, 40, 64}, Shape{13, 100, 576}, Shape{97, 31, 32}}) {
        CheckShape(format, shape, pool, random);
      }
      for (int64_t rows = 1; rows <= 18; ++rows) CheckShape(format, {rows, 17, 64}, pool, random);
      for (int64_t out = 1; out <= 34; ++out) CheckShape(format, {5, out, 32}, pool, random);
    }
  });
}

TEST(QuantizedLinearTest, AllWaysGiveTheSameBits) {
  Random random(2);
  ThreadPool pool(2);
  for (const QuantizedFormat format : kFormats) {
    const int64_t rows = 29, out = 75, in = 1536;
    const Weights weights(format, out, in, random);
    const auto x = RandomFloats(rows * in, random);
    const QuantizedLinear linear = weights.Pack(pool);
    std::vector<float> first;
    ForEachPath([&] {
      std::vector<float> y(static_cast<size_t>(rows * out));
      linear.Apply(x.data(), rows, y.data(), pool);
      if (first.empty()) first = y;
      EXPECT_TRUE(SameBits(first.data(), y.data(), rows * out));
    });
  }
}

TEST(QuantizedLinearTest, ARowDependsOnNothingElse) {
  ForEachPath([] {
    Random random(3);
    ThreadPool one(1), three(3);
    for (const QuantizedFormat format : kFormats) {
      const int64_t rows = 107, out = 60, in = 96;
      const Weights weights(format, out, in, random);
      const auto x = RandomFloats(rows * in, random);
      const QuantizedLinear linear = weights.Pack(three);
      std::vector<float> together(static_cast<size_t>(rows * out)), apart(static_cast<size_t>(out));
      linear.Apply(x.data(), rows, together.data(), three);
      for (int64_t r = 0; r < rows; ++r) {
        linear.Apply(&x[static_cast<size_t>(r * in)], 1, apart.data(), one);
        ASSERT_TRUE(SameBits(apart.data(), &together[static_cast<size_t>(r * out)], out)) << "row " << r;
      }
      for (int trial = 0; trial < 10; ++trial) {
        const int64_t begin = static_cast<int64_t>(random.Below(rows));
        const int64_t count = 1 + static_cast<int64_t>(random.Below(static_cast<uint64_t>(rows - begin)));
        std::vector<float> part(static_cast<size_t>(count * out));
        linear.Apply(&x[static_cast<size_t>(begin * in)], count, part.data(), three);
        ASSERT_TRUE(SameBits(part.data(), &together[static_cast<size_t>(begin * out)], count * out));
      }
    }
  });
}

TEST(QuantizedLinearTest, StridesLeaveGapsAlone) {
  ForEachPath([] {
    Random random(4);
    ThreadPool pool(2);
    const int64_t rows = 20, out = 45, in = 64, x_stride = 70, y_stride = 64;
    const Weights weights(QuantizedFormat::kQ4_1, out, in, random);
    const auto x = RandomFloats(rows * x_stride, random);
    const QuantizedLinear linear = weights.Pack(pool);
    std::vector<float> y(rows * y_stride, 5.0f), row(out);
    linear.Apply(x.data(), rows, y.data(), pool, Accumulate::kStore, x_stride, y_stride);
    for (int64_t r = 0; r < rows; ++r) {
      linear.Apply(&x[static_cast<size_t>(r * x_stride)], 1, row.data(), pool);
      EXPECT_TRUE(SameBits(row.data(), &y[static_cast<size_t>(r * y_stride)], out));
      for (int64_t c = out; c < y_stride; ++c) EXPECT_EQ(y[static_cast<size_t>(r * y_stride + c)], 5.0f);
    }
  });
}

TEST(QuantizedLinearTest, WhatIsNotFiniteStaysInItsRow) {
  ForEachPath([] {
    Random random(5);
    ThreadPool pool(2);
    const int64_t rows = 20, out = 40, in = 64;
    for (const QuantizedFormat format : kFormats) {
      const Weights weights(format, out, in, random);
      auto x = RandomFloats(rows * in, random);
      x[7 * in + 40] = std::numeric_limits<float>::infinity();
      x[8 * in + 3] = std::numeric_limits<float>::quiet_NaN();
      for (int64_t i = 0; i < in; ++i) x[static_cast<size_t>(9 * in + i)] = 1e-38f;  // 127 / it is not a number
      std::vector<float> y(rows * out);
      weights.Pack(pool).Apply(x.data(), rows, y.data(), pool);
      for (int64_t r = 0; r < rows; ++r) {
        for (int64_t o = 0; o < out; ++o) {
          EXPECT_EQ(std::isfinite(y[static_cast<size_t>(r * out + o)]), r != 7 && r != 8) << r << ", " << o;
        }
      }
      for (int64_t o = 0; o < out; ++o) EXPECT_EQ(y[static_cast<size_t>(9 * out + o)], 0.0f);
    }
  });
}

TEST(QuantizedLinearTest, CopyRowGivesTheWeights) {
  Random random(6);
  ThreadPool pool(2);
  for (const QuantizedFormat format : kFormats) {
    const int64_t out = 37, in = 96;
    const Weights weights(format, out, in, random);
    QuantizedLinear linear = weights.Pack(pool);
    const QuantizedLinear moved = std::move(linear);
    EXPECT_EQ(moved.out_features(), out);
    EXPECT_EQ(moved.in_features(), in);
    EXPECT_GE(moved.weight_bytes(), static_cast<int64_t>(weights.bytes.size()));
    std::vector<float> row(in);
    for (int64_t o = 0; o < out; ++o) {
      moved.CopyRow(o, row.data());
      for (int64_t i = 0; i < in; ++i) {
        const double exact = weights.at(o, i);
        // Q4_1 rounds twice, the others not at all.
        EXPECT_NEAR(row[static_cast<size_t>(i)], exact, format == QuantizedFormat::kQ4_1 ? 1e-6 : 0);
      }
    }
  }
}

TEST(QuantizedLinearTest, SaysWhetherAllIsFinite) {
  Random random(7);
  ThreadPool pool(2);
  for (const QuantizedFormat format : kFormats) {
    Weights weights(format, 40, 64, random);
    EXPECT_TRUE(weights.Pack(pool).all_finite());
    const uint16_t infinity = 0x7C00, nan = 0xFE01;
    const size_t block = static_cast<size_t>(QuantizedBlockBytes(format)), last = weights.bytes.size() - block;
    std::memcpy(&weights.bytes[last], &infinity, 2);
    EXPECT_FALSE(weights.Pack(pool).all_finite());
    std::memset(&weights.bytes[last], 0, 2);
    EXPECT_TRUE(weights.Pack(pool).all_finite());
    std::memcpy(&weights.bytes[3 * block + (format == QuantizedFormat::kQ4_1 ? 2 : 0)], &nan, 2);
    EXPECT_FALSE(weights.Pack(pool).all_finite());
  }
}

TEST(QuantizedLinearTest, AnEmptyLayerDoesNothing) {
  ThreadPool pool(2);
  QuantizedLinear().Apply(nullptr, 5, nullptr, pool);
}

}  // namespace
}  // namespace ilre::kernels
