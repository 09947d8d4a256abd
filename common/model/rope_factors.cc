#include "common/model/rope_factors.h"

#include <cmath>
#include <numbers>

#include "absl/strings/str_cat.h"
#include "common/base/errors.h"

namespace ilre {
namespace {

constexpr double kMaxFactor = 1e6;  // far above any in use, far within float

bool IsFactor(double value) { return value >= 1 / kMaxFactor && value <= kMaxFactor; }

absl::Status BadFactor(double factor) {
  return errors::InvalidArgument(absl::StrCat("rope scaling factor ", factor, " makes no sense"));
}

}  // namespace

// "The Llama 3 Herd of Models" (2024) as published with Llama 3.1: wavelengths above the context over low_freq_factor
// are scaled, those below the context over high_freq_factor are not.
absl::StatusOr<std::vector<float>> Llama3FrequencyFactors(int64_t head_dim, double theta,
                                                          const Llama3RopeScaling& scaling) {
  const double low = scaling.low_freq_factor, high = scaling.high_freq_factor;
  if (!IsFactor(scaling.factor)) return BadFactor(scaling.factor);
  if (!(IsFactor(low) && IsFactor(high) && low < high)) {
    return errors::InvalidArgument(absl::StrCat("rope low_freq_factor ", low, " is not below high_freq_factor ", high));
  }
  const double context = scaling.original_context_length;
  if (!(context >= 1 && context <= 1e9)) {
    return errors::InvalidArgument(absl::StrCat("rope original context length ", context, " makes no sense"));
  }
  std::vector<float> factors;
  factors.reserve(head_dim / 2);
  for (int64_t i = 0; i < head_dim / 2; ++i) {
    const double frequency = std::pow(theta, -2.0 * static_cast<double>(i) / static_cast<double>(head_dim));
    const double turns = context * frequency / (2 * std::numbers::pi);  // within the original context
    double factor = 1;
    if (turns < low) {
      factor = scaling.factor;
    } else if (turns <= high) {
      const double smooth = (turns - low) / (high - low);
      factor = 1 / ((1 - smooth) / scaling.factor + smooth);
    }
    factors.push_back(static_cast<float>(factor));
  }
  return factors;
}

absl::StatusOr<std::vector<float>> LinearFrequencyFactors(int64_t head_dim, double factor) {
  if (!IsFactor(factor)) return BadFactor(factor);
  return std::vector<float>(head_dim / 2, static_cast<float>(factor));
}

}  // namespace ilre
