#include "common/kernels/max_sim.h"

#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "common/base/random.h"
#include "common/kernels/bf16.h"
#include "common/kernels/bf16_attention.h"
#include "common/kernels/reference.h"
#include "common/kernels/test_util.h"
#include "gtest/gtest.h"

namespace ilre::kernels {
namespace {

constexpr float kLowest = -std::numeric_limits<float>::infinity();

// Stored vectors in both forms, at odd addresses, with the floats that they stand for.
struct Stored {
  Stored(int tokens, int dim, Random& random) : bf16_floats(tokens * dim), int8_floats(tokens * dim) {
    const auto bits = RandomBf16(tokens * dim, random);
    bf16.assign(1 + 2 * bits.size(), 0);
    if (!bits.empty()) std::memcpy(bf16.data() + 1, bits.data(), 2 * bits.size());
    for (size_t i = 0; i < bits.size(); ++i) bf16_floats[i] = FloatFromBf16(bits[i]);
    int8.assign(1 + bits.size(), 0);
    scales.assign(1 + 4 * tokens, 0);
    for (int t = 0; t < tokens; ++t) {
      const float scale = static_cast<float>(0.01 * random.Uniform());
      std::memcpy(&scales[1 + 4 * t], &scale, 4);
      for (int c = 0; c < dim; ++c) {
        const int8_t value = static_cast<int8_t>(random.Below(256));
        int8[1 + t * dim + c] = static_cast<uint8_t>(value);
        int8_floats[t * dim + c] = value * scale;
      }
    }
  }

  std::vector<uint8_t> bf16, int8, scales;  // each begins at its second byte
  std::vector<float> bf16_floats, int8_floats;
};

std::vector<uint8_t> RandomBitmap(int tokens, int one_in, Random& random) {
  std::vector<uint8_t> bitmap((tokens + 7) / 8);
  for (int t = 0; t < tokens; ++t) bitmap[t / 8] |= (random.Below(one_in) == 0) << (t % 8);
  return bitmap;
}

int CountStarts(const std::vector<uint8_t>& bitmap, int tokens) {
  int starts = 0;
  for (int t = 0; t < tokens; ++t) starts += bitmap[t / 8] >> (t % 8) & 1;
  return starts;
}

void CheckShape(int tokens, int dim, int num_queries, bool bf16_queries, Random& random) {
  SCOPED_TRACE(testing::Message() << tokens << " tokens, " << num_queries << " queries, dim " << dim
                                  << (bf16_queries ? ", in bf16" : ""));
  const Stored stored(tokens, dim, random);
  auto queries = RandomFloats(num_queries * dim, random);
  if (bf16_queries) {
    for (float& value : queries) value = FloatFromBf16(Bf16FromFloat(value));
  }
  const PackedQueries packed(queries.data(), num_queries, dim);
  EXPECT_EQ(packed.pairs() != nullptr, bf16_queries && dim % 16 == 0 && num_queries > 0);
  const double tolerance = 1e-6 * dim;
  std::vector<float> bf16_dots(tokens * num_queries), int8_dots(bf16_dots.size()), out(bf16_dots.size(), 3.0f);
  reference::Dot(stored.bf16_floats.data(), tokens, dim, queries.data(), num_queries, bf16_dots.data());
  reference::Dot(stored.int8_floats.data(), tokens, dim, queries.data(), num_queries, int8_dots.data());
  DotBf16(stored.bf16.data() + 1, tokens, packed, out.data());
  ExpectClose(out, bf16_dots, tolerance, 0);
  DotInt8(stored.int8.data() + 1, stored.scales.data() + 1, tokens, packed, out.data());
  ExpectClose(out, int8_dots, tolerance, 0);

  for (int one_in : {1, 3, 20, 1000000}) {
    const auto bitmap = RandomBitmap(tokens, one_in, random);
    std::vector<float> before((1 + CountStarts(bitmap, tokens)) * num_queries);
    for (float& value : before) value = random.Below(3) == 0 ? 0.5f : -1e30f;
    std::vector<float> expected = before, best = before;
    reference::SegmentMax(bf16_dots.data(), tokens, num_queries, bitmap.data(), expected.data());
    MaxSimBf16(stored.bf16.data() + 1, tokens, packed, bitmap.data(), best.data());
    ExpectClose(best, expected, tolerance, 0);
    expected = best = before;
    reference::SegmentMax(int8_dots.data(), tokens, num_queries, bitmap.data(), expected.data());
    MaxSimInt8(stored.int8.data() + 1, stored.scales.data() + 1, tokens, packed, bitmap.data(), best.data());
    ExpectClose(best, expected, tolerance, 0);
  }
}

TEST(MaxSimTest, EqualsTheDefinition) {
  ForEachTarget([] {
    Random random(1);
    for (int tokens : {0, 1, 2, 11, 12, 13, 100, 256}) {
      for (int num_queries : {0, 1, 24, 33}) CheckShape(tokens, 64, num_queries, false, random);
    }
    for (int trial = 0; trial < 100; ++trial) {
      CheckShape(1 + random.Below(60), 1 + random.Below(130), 1 + random.Below(100), false, random);
    }
  });
}

TEST(MaxSimTest, ProductsOfBf16PairsEqualTheDefinition) {
  for (const bool allowed : {true, false}) {
    AllowBf16Products(allowed);
    ForEachTarget([] {
      Random random(4);
      for (int tokens : {0, 1, 2, 11, 95, 96, 97, 256}) {
        for (int num_queries : {1, 16, 17, 32, 33, 70}) CheckShape(tokens, 64, num_queries, true, random);
      }
      for (int trial = 0; trial < 30; ++trial) {
        CheckShape(1 + random.Below(200), 16 * (1 + random.Below(8)), 1 + random.Below(100), true, random);
      }
    });
  }
  AllowBf16Products(true);
}

TEST(MaxSimTest, ATokensScoreDependsOnNothingElse) {
  ForEachTarget([] {
    Random random(2);
    const int tokens = 75, dim = 48, num_queries = 37;
    const Stored stored(tokens, dim, random);
    const auto queries = RandomFloats(num_queries * dim, random);
    const PackedQueries packed(queries.data(), num_queries, dim);
    std::vector<float> together(tokens * num_queries);
    DotBf16(stored.bf16.data() + 1, tokens, packed, together.data());
    for (int t = 0; t < tokens; ++t) {
      for (int q = 0; q < num_queries; q += 5) {
        float alone;
        DotBf16(&stored.bf16[1 + 2 * t * dim], 1, PackedQueries(&queries[q * dim], 1, dim), &alone);
        ASSERT_TRUE(SameBits(&alone, &together[t * num_queries + q], 1)) << t << ", " << q;
      }
    }
  });
}

// A document's blocks may be scored one after the other, or in pieces of any size, with the same bits.
TEST(MaxSimTest, PiecesMerge) {
  ForEachTarget([] {
    Random random(3);
    const int tokens = 128, dim = 32, num_queries = 9;
    const Stored stored(tokens, dim, random);
    const auto queries = RandomFloats(num_queries * dim, random);
    const PackedQueries packed(queries.data(), num_queries, dim);
    const auto bitmap = RandomBitmap(tokens, 7, random);
    std::vector<float> whole((1 + CountStarts(bitmap, tokens)) * num_queries, kLowest), pieces = whole;
    MaxSimBf16(stored.bf16.data() + 1, tokens, packed, bitmap.data(), whole.data());
    for (int first = 0, row = 0; first < tokens; first += 32) {
      const std::vector<uint8_t> part(bitmap.begin() + first / 8, bitmap.begin() + first / 8 + 4);
      MaxSimBf16(&stored.bf16[1 + 2 * first * dim], 32, packed, part.data(), &pieces[row * num_queries]);
      row += CountStarts(part, 32);
    }
    EXPECT_TRUE(SameBits(whole.data(), pieces.data(), whole.size()));
  });
}

TEST(MaxSimTest, NotANumberIsNotCounted) {
  ForEachTarget([] {
    const uint16_t nan = Bf16FromFloat(std::numeric_limits<float>::quiet_NaN()), one = Bf16FromFloat(1.0f);
    const uint16_t bits[] = {one, nan, one};
    uint8_t keys[sizeof(bits)];
    std::memcpy(keys, bits, sizeof(bits));
    const float query = 2.0f;
    const uint8_t bitmap = 0b110;
    float best[3] = {kLowest, kLowest, kLowest};
    MaxSimBf16(keys, 3, PackedQueries(&query, 1, 1), &bitmap, best);
    EXPECT_EQ(best[0], 2.0f);
    EXPECT_EQ(best[1], kLowest);
    EXPECT_EQ(best[2], 2.0f);
  });
}

}  // namespace
}  // namespace ilre::kernels
