#include "common/model/model_tensors.h"

#include "absl/strings/str_cat.h"

namespace ilre {
namespace {

void AddLayer(const ModelConfig& config, int64_t layer, std::vector<NamedShape>* tensors) {
  const int64_t hidden = config.hidden_size, ffn = config.ffn_size;
  const int64_t queries = config.num_heads * config.head_dim;  // rows of all heads together
  const int64_t keys = config.num_kv_heads * config.head_dim;
  auto add = [&](const char* name, std::vector<int64_t> shape) {
    tensors->push_back({absl::StrCat("model.layers.", layer, ".", name), std::move(shape)});
  };
  add("input_layernorm.weight", {hidden});
  add("self_attn.q_proj.weight", {queries, hidden});
  add("self_attn.k_proj.weight", {keys, hidden});
  add("self_attn.v_proj.weight", {keys, hidden});
  if (config.qkv_bias) {
    add("self_attn.q_proj.bias", {queries});
    add("self_attn.k_proj.bias", {keys});
    add("self_attn.v_proj.bias", {keys});
  }
  if (config.qk_norm) {
    add("self_attn.q_norm.weight", {config.head_dim});
    add("self_attn.k_norm.weight", {config.head_dim});
  }
  add("self_attn.o_proj.weight", {hidden, queries});
  add("post_attention_layernorm.weight", {hidden});
  if (config.post_norms) {
    add("pre_feedforward_layernorm.weight", {hidden});
    add("post_feedforward_layernorm.weight", {hidden});
  }
  add("mlp.gate_proj.weight", {ffn, hidden});
  add("mlp.up_proj.weight", {ffn, hidden});
  add("mlp.down_proj.weight", {hidden, ffn});
}

}  // namespace

std::vector<NamedShape> TensorsOf(const ModelConfig& config) {
  std::vector<NamedShape> tensors;
  tensors.push_back({"model.embed_tokens.weight", {config.vocab_size, config.hidden_size}});
  for (int64_t layer = 0; layer < config.num_layers; ++layer) AddLayer(config, layer, &tensors);
  tensors.push_back({"model.norm.weight", {config.hidden_size}});
  if (!config.tied_embeddings) tensors.push_back({"lm_head.weight", {config.vocab_size, config.hidden_size}});
  return tensors;
}

}  // namespace ilre
