// The decoder on the processor, over this project's kernels: float32 activations, bfloat16 weights.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "common/model/decoder.h"

namespace ilre {

// As Decoder::Load, which calls it for device "cpu".
absl::StatusOr<std::unique_ptr<Decoder>> LoadCpuDecoder(const Checkpoint& checkpoint, const DecoderOptions& options);

}  // namespace ilre
