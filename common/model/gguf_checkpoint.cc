#include "common/model/gguf_checkpoint.h"

#include <cstdint>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/base/errors.h"
#include "common/base/status_macros.h"
#include "common/model/gguf_config.h"
#include "common/model/quoted.h"
#include "common/model/stored_checkpoint.h"
#include "common/model/tokenizer_files.h"

namespace ilre {
namespace {

struct NamePair {
  absl::string_view gguf, hugging_face;
};

// Outside of layers, whole names.
constexpr NamePair kGlobalNames[] = {
    {"token_embd.weight", "model.embed_tokens.weight"},
    {"output_norm.weight", "model.norm.weight"},
    {"output.weight", "lm_head.weight"},
};
// Within a layer, without "blk.N." and "model.layers.N." in front and ".weight" or ".bias" behind.
constexpr NamePair kLayerNames[] = {
    {"attn_norm", "input_layernorm"},         {"attn_q", "self_attn.q_proj"},      {"attn_k", "self_attn.k_proj"},
    {"attn_v", "self_attn.v_proj"},           {"attn_output", "self_attn.o_proj"}, {"attn_q_norm", "self_attn.q_norm"},
    {"attn_k_norm", "self_attn.k_norm"},      {"ffn_gate", "mlp.gate_proj"},       {"ffn_up", "mlp.up_proj"},
    {"ffn_norm", "post_attention_layernorm"}, {"ffn_down", "mlp.down_proj"},
};

// The same of Gemma 3, where these differ.
constexpr NamePair kPostNormNames[] = {
    {"post_attention_norm", "post_attention_layernorm"},
    {"ffn_norm", "pre_feedforward_layernorm"},
    {"post_ffw_norm", "post_feedforward_layernorm"},
};

// Read into ModelConfig, no tensor of the model.
constexpr absl::string_view kRopeFactors = "rope_freqs.weight";

// GGUF files of the architecture "llama" have rotary pairs side by side in queries and keys (llama.cpp's conversion
// permutes them); those of the others are as Hugging Face has them.
bool IsInterleaved(const ModelConfig& config, absl::string_view hugging_face_name) {
  return config.architecture == "llama" && (absl::StrContains(hugging_face_name, ".self_attn.q_proj.") ||
                                            absl::StrContains(hugging_face_name, ".self_attn.k_proj."));
}

}  // namespace

absl::optional<std::string> HuggingFaceTensorName(absl::string_view gguf_name, bool post_norms) {
  for (const NamePair& pair : kGlobalNames) {
    if (gguf_name == pair.gguf) return std::string(pair.hugging_face);
  }
  absl::string_view rest = gguf_name;
  if (!absl::ConsumePrefix(&rest, "blk.")) return absl::nullopt;
  const absl::string_view number = rest.substr(0, rest.find('.'));
  int32_t layer;
  // Written back, the number must be the same: "01" and "+1" would name a layer twice.
  if (!absl::SimpleAtoi(number, &layer) || layer < 0 || absl::StrCat(layer) != number) return absl::nullopt;
  rest.remove_prefix(number.size());
  absl::string_view suffix;
  for (absl::string_view known : {".weight", ".bias"}) {
    if (absl::ConsumeSuffix(&rest, known)) suffix = known;
  }
  if (suffix.empty() || !absl::ConsumePrefix(&rest, ".")) return absl::nullopt;
  const auto find = [&](absl::Span<const NamePair> pairs) -> absl::optional<std::string> {
    for (const NamePair& pair : pairs) {
      if (rest == pair.gguf) return absl::StrCat("model.layers.", layer, ".", pair.hugging_face, suffix);
    }
    return absl::nullopt;
  };
  if (post_norms) {
    if (absl::optional<std::string> name = find(kPostNormNames); name.has_value()) return name;
  }
  return find(kLayerNames);
}

absl::StatusOr<std::unique_ptr<Checkpoint>> MakeGgufCheckpoint(std::shared_ptr<const GgufFile> file) {
  StoredModel model;
  model.path = file->path();
  ILRE_ASSIGN_OR_RETURN(model.config, ModelConfigFromGguf(*file));
  for (const GgufTensor& tensor : file->tensors()) {
    if (tensor.name == kRopeFactors) continue;
    const absl::optional<std::string> name = HuggingFaceTensorName(tensor.name, model.config.post_norms);
    if (!name.has_value()) {
      return errors::BadModelFile(file->path(), absl::StrCat("tensor ", Quoted(tensor.name), " has no place in a ",
                                                             model.config.architecture, " model"));
    }
    StoredTensor stored = {tensor.type, tensor.shape, tensor.bytes, RotaryOrder::kHalves};
    if (IsInterleaved(model.config, *name)) {
      stored.rotary_order = RotaryOrder::kInterleaved;
      // A bias is reordered element by element, which blocks do not allow; no converter quantises biases.
      if (tensor.shape.size() == 1 && GgmlTypeInfoOf(tensor.type).block_elements != 1) {
        return errors::BadModelFile(file->path(), absl::StrCat("bias ", tensor.name, " is quantised"));
      }
    }
    model.tensors.emplace(*name, std::move(stored));  // names are distinct, and so are their counterparts
  }
  ILRE_ASSIGN_OR_RETURN(model.tokenizer, TokenizerSpecFromGguf(*file));
  model.files.push_back(std::move(file));
  return StoredCheckpoint::Create(std::move(model));
}

absl::StatusOr<std::unique_ptr<Checkpoint>> OpenGgufCheckpoint(const std::string& path) {
  ILRE_ASSIGN_OR_RETURN(std::shared_ptr<const GgufFile> file, GgufFile::Open(path));
  return MakeGgufCheckpoint(std::move(file));
}

}  // namespace ilre
