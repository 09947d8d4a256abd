#include "common/model/gguf_config.h"

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/types/optional.h"
#include "absl/types/span.h"
#include "common/base/errors.h"
#include "common/base/status_macros.h"
#include "common/model/dequantize.h"
#include "common/model/quoted.h"
#include "common/model/rope_factors.h"

namespace ilre {
namespace {

constexpr double kDefaultRopeTheta = 10000;  // llama.cpp's, where the key is absent
constexpr char kRopeFactorsTensor[] = "rope_freqs.weight";

// Gemma 3, where files do not say otherwise: each sixth layer sees everything; the model of 62 layers divides its
// scores by the square root of its width for each head, the others by that of the head's size (llama.cpp does the
// same).
constexpr int64_t kGemmaPattern = 6;
constexpr double kGemmaLocalRopeTheta = 10000;
constexpr int64_t kGemma27bLayers = 62;

// Metadata of one architecture with typed access: wrong types are errors that name the key.
class Metadata {
 public:
  // `file` must outlive this. Keys below are given without the architecture in front.
  Metadata(const GgufFile& file, absl::string_view architecture) : file_(file), architecture_(architecture) {}

  absl::Status Bad(absl::string_view why) const { return errors::BadModelFile(file_.path(), why); }
  const GgufFile& file() const { return file_; }
  // A value of any kind; null where there is none.
  const GgufValue* Find(absl::string_view key) const { return file_.FindValue(absl::StrCat(architecture_, ".", key)); }

  absl::StatusOr<int64_t> Integer(absl::string_view key, absl::optional<int64_t> fallback = absl::nullopt) const {
    return Get<int64_t>(key, GgufValue::Kind::kInteger, fallback, [](const GgufValue& v) { return v.integer; });
  }
  absl::StatusOr<double> Number(absl::string_view key, absl::optional<double> fallback = absl::nullopt) const {
    return Get<double>(key, GgufValue::Kind::kFloat, fallback, [](const GgufValue& v) { return v.real; });
  }
  // A view into the file.
  absl::StatusOr<absl::string_view> String(absl::string_view key, absl::optional<absl::string_view> fallback) const {
    return Get<absl::string_view>(key, GgufValue::Kind::kString, fallback, [](const GgufValue& v) { return v.string; });
  }

 private:
  template <typename T, typename Access>
  absl::StatusOr<T> Get(absl::string_view key, GgufValue::Kind kind, absl::optional<T> fallback, Access access) const {
    const std::string full_key = absl::StrCat(architecture_, ".", key);
    const GgufValue* value = file_.FindValue(full_key);
    if (value == nullptr && fallback.has_value()) return *std::move(fallback);
    if (value == nullptr) return Bad(absl::StrCat("metadata value ", full_key, " is missing"));
    if (value->kind != kind) return Bad(absl::StrCat("metadata value ", full_key, " is of another type than expected"));
    return access(*value);
  }

  const GgufFile& file_;
  const std::string architecture_;
};

absl::StatusOr<std::string> ReadArchitecture(const GgufFile& file) {
  const GgufValue* value = file.FindValue("general.architecture");
  if (value == nullptr || value->kind != GgufValue::Kind::kString) {
    return errors::BadModelFile(file.path(), "general.architecture is missing");
  }
  for (absl::string_view known : {"llama", "qwen2", "qwen3", "gemma3"}) {
    if (value->string == known) return std::string(known);
  }
  return errors::BadModelFile(file.path(), absl::StrCat("architecture ", Quoted(value->string),
                                                        " is not supported (llama, qwen2, qwen3 and gemma3 are)"));
}

absl::Status ReadHeads(const Metadata& metadata, ModelConfig* config) {
  ILRE_ASSIGN_OR_RETURN(config->num_heads, metadata.Integer("attention.head_count"));
  ILRE_ASSIGN_OR_RETURN(config->num_kv_heads, metadata.Integer("attention.head_count_kv", config->num_heads));
  if (config->num_heads < 1) return metadata.Bad("attention.head_count is not positive");
  ILRE_ASSIGN_OR_RETURN(config->head_dim,
                        metadata.Integer("attention.key_length", config->hidden_size / config->num_heads));
  ILRE_ASSIGN_OR_RETURN(int64_t value_length,
                        metadata.Integer("attention.value_length", config->hidden_size / config->num_heads));
  ILRE_ASSIGN_OR_RETURN(int64_t rotated, metadata.Integer("rope.dimension_count", config->head_dim));
  if (value_length != config->head_dim || rotated != config->head_dim) {
    return metadata.Bad(absl::StrCat("heads with keys of ", config->head_dim, ", values of ", value_length, " and ",
                                     rotated, " rotated dimensions are not supported: they must be equal"));
  }
  return absl::OkStatus();
}

absl::Status ReadSizes(const Metadata& metadata, ModelConfig* config) {
  ILRE_ASSIGN_OR_RETURN(config->num_layers, metadata.Integer("block_count"));
  ILRE_ASSIGN_OR_RETURN(config->hidden_size, metadata.Integer("embedding_length"));
  ILRE_ASSIGN_OR_RETURN(config->ffn_size, metadata.Integer("feed_forward_length"));
  ILRE_ASSIGN_OR_RETURN(config->context_length, metadata.Integer("context_length"));
  ILRE_RETURN_IF_ERROR(ReadHeads(metadata, config));
  ILRE_ASSIGN_OR_RETURN(const double norm_eps, metadata.Number("attention.layer_norm_rms_epsilon"));
  if (!(norm_eps > 0 && norm_eps < 1)) return metadata.Bad("attention.layer_norm_rms_epsilon is not in (0, 1)");
  config->rms_norm_eps = static_cast<float>(norm_eps);
  ILRE_ASSIGN_OR_RETURN(int64_t num_experts, metadata.Integer("expert_count", 0));
  if (num_experts != 0) return metadata.Bad("mixtures of experts are not supported");
  return absl::OkStatus();
}

absl::Status RefuseWindow(const Metadata& metadata, const ModelConfig& config) {
  ILRE_ASSIGN_OR_RETURN(int64_t window, metadata.Integer("attention.sliding_window", 0));
  if (window != 0 && window < config.context_length) {
    return metadata.Bad(absl::StrCat("a sliding window of ", window, " tokens, less than the context of ",
                                     config.context_length, ", is not supported in a ", config.architecture, " model"));
  }
  return absl::OkStatus();
}

// Which layers are local: each but every n-th, or as a list says.
absl::StatusOr<std::vector<bool>> ReadLocalLayers(const Metadata& metadata, int64_t num_layers) {
  constexpr char kKey[] = "attention.sliding_window_pattern";
  const GgufValue* value = metadata.Find(kKey);
  if (value != nullptr &&
      (value->kind == GgufValue::Kind::kBoolArray || value->kind == GgufValue::Kind::kIntegerArray)) {
    if (value->integers.size() != static_cast<size_t>(num_layers)) {
      return metadata.Bad(absl::StrCat(kKey, " has ", value->integers.size(), " entries for ", num_layers, " layers"));
    }
    return std::vector<bool>(value->integers.begin(), value->integers.end());
  }
  ILRE_ASSIGN_OR_RETURN(const int64_t period, metadata.Integer(kKey, kGemmaPattern));
  if (period < 1) return metadata.Bad(absl::StrCat(kKey, " is ", period));
  return LocalButEach(period, num_layers);
}

// The sizes of `config` must be valid already.
absl::Status ReadGemma3(const Metadata& metadata, ModelConfig* config) {
  config->qk_norm = config->post_norms = true;
  config->gate = ModelConfig::Gate::kGelu;
  config->embedding_scale = std::sqrt(static_cast<float>(config->hidden_size));
  if (config->num_layers == kGemma27bLayers)
    config->query_scalar = static_cast<double>(config->hidden_size / config->num_heads);
  ILRE_ASSIGN_OR_RETURN(config->local_layers, ReadLocalLayers(metadata, config->num_layers));
  ILRE_ASSIGN_OR_RETURN(config->local_window, metadata.Integer("attention.sliding_window"));
  ILRE_ASSIGN_OR_RETURN(config->local_rope_theta, metadata.Number("rope.freq_base_swa", kGemmaLocalRopeTheta));
  if (config->local_window < 1) {
    return metadata.Bad(absl::StrCat("attention.sliding_window is ", config->local_window));
  }
  for (const char* key : {"attn_logit_softcapping", "final_logit_softcapping"}) {
    ILRE_ASSIGN_OR_RETURN(const double cap, metadata.Number(key, 0));
    if (cap != 0) return metadata.Bad(absl::StrCat(key, " is not supported"));
  }
  return absl::OkStatus();
}

void ReadTensors(const GgufFile& file, ModelConfig* config) {
  const GgufTensor* embedding = file.FindTensor("token_embd.weight");
  config->vocab_size = embedding == nullptr ? 0 : embedding->shape.front();
  config->tied_embeddings = file.FindTensor("output.weight") == nullptr;
  config->qkv_bias = file.FindTensor("blk.0.attn_q.bias") != nullptr;
}

// Linear scaling, from the newer or the older key; 1 where there is none.
absl::StatusOr<double> ReadLinearFactor(const Metadata& metadata) {
  ILRE_ASSIGN_OR_RETURN(double old_factor, metadata.Number("rope.scale_linear", 1));
  ILRE_ASSIGN_OR_RETURN(absl::string_view type,
                        metadata.String("rope.scaling.type", old_factor == 1 ? "none" : "linear"));
  if (type == "none") return 1;
  if (type == "linear") return metadata.Number("rope.scaling.factor", old_factor);
  return metadata.Bad(
      absl::StrCat("rope scaling ", Quoted(type), " is not supported (none, linear and factors in a tensor are)"));
}

// The sizes of `config` must be valid already.
absl::Status ReadRopeFactors(const Metadata& metadata, ModelConfig* config) {
  ILRE_ASSIGN_OR_RETURN(double linear, ReadLinearFactor(metadata));
  const GgufTensor* tensor = metadata.file().FindTensor(kRopeFactorsTensor);
  if (tensor == nullptr && linear == 1) return absl::OkStatus();
  absl::StatusOr<std::vector<float>> factors = LinearFrequencyFactors(config->head_dim, linear);
  if (!factors.ok()) return metadata.Bad(factors.status().message());
  if (tensor != nullptr) {
    if (tensor->type != GgmlType::kF32 || tensor->shape != std::vector<int64_t>{config->head_dim / 2}) {
      return metadata.Bad(
          absl::StrCat("tensor ", kRopeFactorsTensor, " is not F32 of shape [", config->head_dim / 2, "]"));
    }
    std::vector<float> stored(config->head_dim / 2);
    Dequantize(tensor->type, tensor->bytes, absl::MakeSpan(stored));
    for (size_t i = 0; i < stored.size(); ++i) (*factors)[i] *= stored[i];
  }
  config->rope_frequency_factors = *std::move(factors);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<ModelConfig> ModelConfigFromGguf(const GgufFile& file) {
  ModelConfig config;
  ILRE_ASSIGN_OR_RETURN(config.architecture, ReadArchitecture(file));
  const Metadata metadata(file, config.architecture);
  ILRE_RETURN_IF_ERROR(ReadSizes(metadata, &config));
  ReadTensors(file, &config);
  config.qk_norm = config.architecture == "qwen3";
  ILRE_ASSIGN_OR_RETURN(config.rope_theta, metadata.Number("rope.freq_base", kDefaultRopeTheta));
  if (absl::Status valid = config.Validate(); !valid.ok()) return metadata.Bad(valid.message());
  ILRE_RETURN_IF_ERROR(config.architecture == "gemma3" ? ReadGemma3(metadata, &config)
                                                       : RefuseWindow(metadata, config));
  ILRE_RETURN_IF_ERROR(ReadRopeFactors(metadata, &config));
  if (absl::Status valid = config.Validate(); !valid.ok()) return metadata.Bad(valid.message());
  return config;
}

}  // namespace ilre
