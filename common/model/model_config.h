// What a decoder-only transformer of the Llama kind is made of, whatever file it came from.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "absl/status/status.h"

namespace ilre {

// Sizes and constants of one model. Filled by a Checkpoint; constant afterwards.
struct ModelConfig {
  // "llama" (also SmolLM2 and Mistral), "qwen2", "qwen3" or "gemma3".
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
  bool qk_norm = false;          // Qwen3, Gemma 3: RMS norm of each query and key head before rotation
  bool tied_embeddings = false;  // the output projection is the embedding

  // --- What Gemma 3 does otherwise than the rest.
  enum class Gate { kSilu, kGelu };  // kGelu by its approximation with tanh
  Gate gate = Gate::kSilu;           // of the feed-forward layer
  bool post_norms = false;  // what attention and feed-forward give is normalised before it is added to their input
  float embedding_scale = 1;
  double query_scalar = 0;  // scores are divided by its square root; 0 stands for head_dim
  // Empty: each layer sees all tokens before. Or [num_layers]: whether the layer is local, so that a token sees the
  // last local_window tokens, itself among them, and rotates by local_rope_theta without factors.
  std::vector<bool> local_layers;
  int64_t local_window = 0;
  double local_rope_theta = 0;

  bool IsLocal(int64_t layer) const { return !local_layers.empty() && local_layers[static_cast<size_t>(layer)]; }
  // Tokens that a token sees in a layer, itself counted.
  int64_t WindowOf(int64_t layer) const { return IsLocal(layer) ? local_window : std::numeric_limits<int64_t>::max(); }
  // Whether all layers below `depth` are local: a stream through them whose window covers theirs misses nothing.
  bool AllLocalBelow(int64_t depth) const {
    for (int64_t layer = 0; layer < depth; ++layer) {
      if (!IsLocal(layer)) return false;
    }
    return true;
  }
  float ScoreDivisor() const { return std::sqrt(static_cast<float>(query_scalar > 0 ? query_scalar : head_dim)); }

  // OK when every size is positive, within sane limits (so that products cannot overflow), and consistent.
  absl::Status Validate() const;

 private:
  absl::Status ValidateLocalLayers() const;
};

// ModelConfig::local_layers where each n-th layer sees everything. period: n >= 1.
std::vector<bool> LocalButEach(int64_t period, int64_t num_layers);

}  // namespace ilre
