// Names of tensors in a checkpoint, in Hugging Face's spelling.
#pragma once

#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace ilre {

inline constexpr char kEmbeddingName[] = "model.embed_tokens.weight";  // [vocab, hidden]
inline constexpr char kFinalNormName[] = "model.norm.weight";          // [hidden]
inline constexpr char kOutputName[] = "lm_head.weight";                // [vocab, hidden]

// Within a layer. Where there are post norms, "post_attention" is one of those; elsewhere it comes before the
// feed-forward layer.
inline constexpr char kPostAttentionNormName[] = "post_attention_layernorm.weight";  // [hidden]
inline constexpr char kPreFfnNormName[] = "pre_feedforward_layernorm.weight";        // [hidden]
inline constexpr char kPostFfnNormName[] = "post_feedforward_layernorm.weight";      // [hidden]
inline const char* FfnNormName(bool post_norms) { return post_norms ? kPreFfnNormName : kPostAttentionNormName; }

inline std::string LayerTensorName(int layer, absl::string_view rest) {
  return absl::StrCat("model.layers.", layer, ".", rest);
}

}  // namespace ilre
