// A model in a folder as Hugging Face's transformers writes it.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "common/model/checkpoint.h"

namespace ilre {

// As Checkpoint::Open, for a path that is a folder. Weights are model.safetensors, or the shards that
// model.safetensors.index.json lists.
absl::StatusOr<std::unique_ptr<Checkpoint>> OpenHfCheckpoint(const std::string& folder);

}  // namespace ilre
