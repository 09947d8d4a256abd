#include "common/base/random.h"

#include "gtest/gtest.h"

namespace ilre {
namespace {

TEST(RandomTest, PublishedSequence) {
  // First outputs of SplitMix64 for seed 1234567, as in its authors' reference program.
  Random random(1234567);
  EXPECT_EQ(random.Next(), 6457827717110365317u);
  EXPECT_EQ(random.Next(), 3203168211198807973u);
  EXPECT_EQ(random.Next(), 9817491932198370423u);
}

TEST(RandomTest, BelowCoversItsRange) {
  Random random(1);
  std::vector<int> counts(7);
  for (int i = 0; i < 7000; ++i) ++counts[random.Below(7)];
  for (int count : counts) EXPECT_NEAR(count, 1000, 200);
}

}  // namespace
}  // namespace ilre
