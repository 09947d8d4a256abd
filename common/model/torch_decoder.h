// The decoder over libtorch, on any device it has a backend for. On the processor it is the plain reference of
// CpuDecoder.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "common/model/decoder.h"

namespace ilre {

// As Decoder::Load, which calls it for every device but "cpu". Weights are bfloat16 on accelerators and float32 on
// "torch-cpu". Exceptions of libtorch stop here and become statuses. Exported by libilre_torch.so as
// IlreLoadTorchDecoder.
using LoadTorchDecoderFunction = void(const Checkpoint* checkpoint, const DecoderOptions* options,
                                      absl::StatusOr<std::unique_ptr<Decoder>>* decoder);

}  // namespace ilre
