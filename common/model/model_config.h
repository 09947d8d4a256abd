// What a decoder-only transformer of the Llama kind is made of, whatever file it came from.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"

namespace ilre {

// Sizes and constants of one model. Filled by a Checkpoint; constant afterwards.
struct ModelConfig {
  // "llama" (also SmolLM2 and Mistral), "qwen2" or "qwen3".
  std::string architecture;
  int64_t num_layers = 0;
  int64_t hidden_size = 0;   // D
  int64_t num_heads = 0;     // H, query heads
  int64_t num_kv_heads = 0;  // G, key and value heads; divides num_heads
  int64_t head_dim = 0;      // d, even; num_heads * head_dim may differ from hidden_size
  int64_t ffn_size = 0;
  int64_t vocab_size = 0;
  int64_t context_length = 0;  // tokens the model was trained for
  float rms_norm_eps = 0;
  double rope_theta = 0;
  // Empty, or [head_dim / 2]: each rotary frequency is divided by its factor (Llama 3's and linear scaling end up
  // here).
  std::vector<float> rope_frequency_factors;
  bool qkv_bias = false;         // Qwen2
  bool qk_norm = false;          // Qwen3: RMS norm of each query and key head before rotation
  bool tied_embeddings = false;  // the output projection is the embedding

  // OK when every size is positive, within sane limits (so that products cannot overflow), and consistent.
  absl::Status Validate() const;
};

}  // namespace ilre
