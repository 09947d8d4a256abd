#include "common/model/dequantize.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/test_matchers.h"
#include "common/model/gguf_file.h"
#include "gtest/gtest.h"

namespace ilre {
namespace {

constexpr GgmlType kTypes[] = {GgmlType::kF32,  GgmlType::kF16,  GgmlType::kBF16, GgmlType::kQ4_0,
                               GgmlType::kQ4_1, GgmlType::kQ5_0, GgmlType::kQ5_1, GgmlType::kQ8_0,
                               GgmlType::kQ4_K, GgmlType::kQ5_K, GgmlType::kQ6_K};

// Written by tests/model/make_dequantize_golden.py, which says what is in it.
constexpr char kGolden[] = "tests/model/data/dequantize_golden.gguf";

template <typename T>
std::vector<T> Numbers(absl::string_view bytes) {
  std::vector<T> numbers(bytes.size() / sizeof(T));
  std::memcpy(numbers.data(), bytes.data(), bytes.size());
  return numbers;
}

bool IsNan(uint16_t bf16) { return std::isnan(std::bit_cast<float>(uint32_t{bf16} << 16)); }

class DequantizeTest : public ::testing::TestWithParam<GgmlType> {
 protected:
  std::string name() const { return GgmlTypeInfoOf(GetParam()).name; }
};

// Equal to the reference in every bit; only which NaN it is may differ.
TEST_P(DequantizeTest, EqualsReference) {
  ILRE_ASSERT_OK_AND_ASSIGN(auto file, GgufFile::Open(kGolden));
  const GgufTensor* blocks = file->FindTensor(name());
  ASSERT_NE(blocks, nullptr);
  ASSERT_EQ(blocks->type, GetParam());
  const std::vector<uint32_t> expected = Numbers<uint32_t>(file->FindTensor(name() + ".f32")->bytes);
  ASSERT_FALSE(expected.empty());
  std::vector<float> values(expected.size());
  Dequantize(GetParam(), blocks->bytes, absl::MakeSpan(values));
  for (size_t i = 0; i < values.size(); ++i) {
    if (std::isnan(values[i]) && std::isnan(std::bit_cast<float>(expected[i]))) continue;
    ASSERT_EQ(std::bit_cast<uint32_t>(values[i]), expected[i]) << i;
  }
}

TEST_P(DequantizeTest, Bf16EqualsReference) {
  ILRE_ASSERT_OK_AND_ASSIGN(auto file, GgufFile::Open(kGolden));
  const std::vector<uint16_t> expected = Numbers<uint16_t>(file->FindTensor(name() + ".bf16")->bytes);
  ASSERT_FALSE(expected.empty());
  std::vector<uint16_t> values(expected.size());
  DequantizeToBf16(GetParam(), file->FindTensor(name())->bytes, absl::MakeSpan(values));
  for (size_t i = 0; i < values.size(); ++i) {
    if (IsNan(values[i]) && IsNan(expected[i])) continue;
    ASSERT_EQ(values[i], expected[i]) << i;
  }
}

// Longer than the chunks that rounding works in, and no multiple of them.
TEST_P(DequantizeTest, Bf16IsTheRoundedFloatAtAnyLength) {
  const GgmlTypeInfo& info = GgmlTypeInfoOf(GetParam());
  const int64_t num_blocks = 5000 / info.block_elements + 3;
  std::string bytes(num_blocks * info.block_bytes, '\0');
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<char>(i * 7 % 59);  // no half is infinite
  std::vector<float> values(num_blocks * info.block_elements);
  std::vector<uint16_t> rounded(values.size());
  Dequantize(GetParam(), bytes, absl::MakeSpan(values));
  DequantizeToBf16(GetParam(), bytes, absl::MakeSpan(rounded));
  for (size_t i = 0; i < values.size(); ++i) ASSERT_EQ(rounded[i], FloatToBf16(values[i])) << i;
}

TEST_P(DequantizeTest, NothingIsNothing) {
  Dequantize(GetParam(), "", {});
  DequantizeToBf16(GetParam(), "", {});
}

INSTANTIATE_TEST_SUITE_P(AllTypes, DequantizeTest, ::testing::ValuesIn(kTypes),
                         [](const auto& info) { return std::string(GgmlTypeInfoOf(info.param).name); });

TEST(HalfToFloatTest, EveryHalf) {
  for (uint32_t half = 0; half < 65536; ++half) {
    const int exponent = half >> 10 & 31, fraction = half & 1023;
    const float value = HalfToFloat(static_cast<uint16_t>(half));
    ASSERT_EQ(std::signbit(value), half >> 15 == 1) << half;
    if (exponent == 31) {
      ASSERT_TRUE(fraction == 0 ? std::isinf(value) : std::isnan(value)) << half;
    } else {
      const double magnitude = exponent == 0 ? std::ldexp(fraction, -24) : std::ldexp(1024 + fraction, exponent - 25);
      ASSERT_EQ(std::fabs(value), magnitude) << half;
    }
  }
}

TEST(FloatToBf16Test, RoundsToNearestTiesToEven) {
  EXPECT_EQ(FloatToBf16(1.0f), 0x3F80);
  EXPECT_EQ(FloatToBf16(std::bit_cast<float>(0x3F808000u)), 0x3F80);  // a tie goes to the even neighbour, down
  EXPECT_EQ(FloatToBf16(std::bit_cast<float>(0x3F818000u)), 0x3F82);  // and up
  EXPECT_EQ(FloatToBf16(std::bit_cast<float>(0x3F808001u)), 0x3F81);
  EXPECT_EQ(FloatToBf16(-0.0f), 0x8000);
  EXPECT_EQ(FloatToBf16(std::bit_cast<float>(0x7F7FFFFFu)), 0x7F80);  // beyond the largest: infinity
  EXPECT_TRUE(IsNan(FloatToBf16(std::bit_cast<float>(0x7F800001u))));
  EXPECT_TRUE(IsNan(FloatToBf16(std::bit_cast<float>(0xFFFFFFFFu))));
}

TEST(AllFiniteTest, FindsOneAnywhere) {
  for (size_t at = 0; at < 40; ++at) {
    for (float odd : {INFINITY, -INFINITY, NAN}) {
      std::vector<float> values(40, 3e38f);
      std::vector<uint16_t> rounded(40, 0x7F7F);
      ASSERT_TRUE(AllFinite(values));
      ASSERT_TRUE(AllFiniteBf16(rounded));
      values[at] = odd;
      rounded[at] = FloatToBf16(odd);
      ASSERT_FALSE(AllFinite(values));
      ASSERT_FALSE(AllFiniteBf16(rounded));
    }
  }
}

}  // namespace
}  // namespace ilre
