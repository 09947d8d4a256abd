// config.json of Hugging Face's transformers, versions 4 and 5.
#pragma once

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/model/model_config.h"

namespace ilre {

// Understands LlamaForCausalLM, MistralForCausalLM, Qwen2ForCausalLM and Qwen3ForCausalLM with default, "linear" or
// "llama3" rotary embeddings. What the file leaves out has transformers' default for that class.
//
// Errors: BAD_MODEL_FILE naming `path` and the setting. Refused rather than ignored, since answers would be silently
// wrong: other architectures and rotary scalings, quantised weights, biases and activations the four do not have, and a
// sliding window shorter than the context.
absl::StatusOr<ModelConfig> ModelConfigFromHfJson(absl::string_view path, absl::string_view text);

}  // namespace ilre
