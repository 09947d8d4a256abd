// Scaled rotary embeddings as factors that divide the frequencies (ModelConfig::rope_frequency_factors).
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"

namespace ilre {

// Llama 3.1's way to a longer context: high frequencies stay, low ones are divided by `factor`, those between are
// interpolated.
struct Llama3RopeScaling {
  double factor = 0;
  double low_freq_factor = 0;
  double high_freq_factor = 0;
  double original_context_length = 0;  // tokens the model was trained for before
};

// [head_dim / 2]. `theta` is the base of the frequencies theta^(-2i / head_dim). Errors: INVALID_ARGUMENT naming the
// parameter that makes no sense.
absl::StatusOr<std::vector<float>> Llama3FrequencyFactors(int64_t head_dim, double theta,
                                                          const Llama3RopeScaling& scaling);

// [head_dim / 2], all `factor`: positions are interpolated.
absl::StatusOr<std::vector<float>> LinearFrequencyFactors(int64_t head_dim, double factor);

}  // namespace ilre
