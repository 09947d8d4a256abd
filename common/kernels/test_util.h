// Shared by the kernels' tests: random data, and each test body once for each code path that this processor runs.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <vector>

#include "common/base/random.h"
#include "common/kernels/bf16.h"
#include "gtest/gtest.h"
#include "hwy/highway.h"

namespace ilre::kernels {

// Runs `body` with every compiled target that this processor supports, best first, and then restores the dispatch.
inline void ForEachTarget(const std::function<void()>& body) {
  for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {
    SCOPED_TRACE(hwy::TargetName(target));
    hwy::SetSupportedTargetsForTest(target);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
    body();
  }
  hwy::SetSupportedTargetsForTest(0);
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
}

// Uniform in [-1, 1).
inline std::vector<float> RandomFloats(int64_t count, Random& random) {
  std::vector<float> values(count);
  for (float& value : values) value = static_cast<float>(2 * random.Uniform() - 1);
  return values;
}

inline std::vector<uint16_t> RandomBf16(int64_t count, Random& random) {
  std::vector<uint16_t> bits(count);
  for (uint16_t& value : bits) value = Bf16FromFloat(static_cast<float>(2 * random.Uniform() - 1));
  return bits;
}

// |actual - expected| <= absolute + relative * |expected| for each element. Reports the worst alone.
inline void ExpectClose(const std::vector<float>& actual, const std::vector<float>& expected, double absolute,
                        double relative) {
  ASSERT_EQ(actual.size(), expected.size());
  double worst = 0;
  size_t where = 0;
  for (size_t i = 0; i < actual.size(); ++i) {
    const double excess = std::abs(static_cast<double>(actual[i]) - expected[i]) /
                          (absolute + relative * std::abs(static_cast<double>(expected[i])));
    if (!(excess <= worst)) worst = excess, where = i;  // a NaN is the worst
    if (std::isnan(excess)) break;
  }
  if (actual.empty()) return;
  EXPECT_LE(worst, 1) << "element " << where << ": " << actual[where] << " instead of " << expected[where];
}

inline bool SameBits(const float* a, const float* b, int64_t count) {
  return std::memcmp(a, b, count * sizeof(float)) == 0;
}

}  // namespace ilre::kernels
