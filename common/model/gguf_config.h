// Sizes of a model from GGUF metadata.
#pragma once

#include "absl/status/statusor.h"
#include "common/model/gguf_file.h"
#include "common/model/model_config.h"

namespace ilre {

// Understands the architectures llama, qwen2, qwen3 and gemma3, with default or linear rotary embeddings, or with
// frequency factors in a tensor (Llama 3). Whether there are biases and an output projection is seen from the tensors.
//
// Errors: BAD_MODEL_FILE naming the file and the key.
absl::StatusOr<ModelConfig> ModelConfigFromGguf(const GgufFile& file);

}  // namespace ilre
