#include "common/model/hf_config.h"

#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/types/optional.h"
#include "common/base/errors.h"
#include "common/base/status_macros.h"
#include "common/model/bounded_json.h"
#include "common/model/quoted.h"
#include "common/model/rope_factors.h"

namespace ilre {
namespace {

using nlohmann::json;

constexpr double kDefaultRopeTheta = 10000;
constexpr double kDefaultNormEps = 1e-6;
constexpr int64_t kDefaultMistralWindow = 4096;  // tokens; where the key is absent, not where it is null
constexpr int64_t kDefaultMaxWindowLayers = 28;  // of Qwen2 and Qwen3

constexpr int64_t kDefaultGemmaPattern = 6;
constexpr double kDefaultGemmaTheta = 1e6, kDefaultGemmaLocalTheta = 1e4;

enum class Family { kLlama, kMistral, kQwen2, kQwen3, kGemma3 };

// One JSON object of the file with typed access: wrong types are errors that name the key. A null counts as absent.
class Settings {
 public:
  // `path` and `object` must outlive this.
  Settings(absl::string_view path, const json& object) : path_(path), object_(object) {}

  absl::Status Bad(absl::string_view why) const { return errors::BadModelFile(path_, why); }

  // Whether the key is there, even with a null.
  bool Has(const char* key) const { return object_.contains(key); }
  // nullptr where the key is absent or null.
  const json* Find(const char* key) const {
    const auto it = object_.find(key);
    return it == object_.end() || it->is_null() ? nullptr : &*it;
  }

  absl::StatusOr<int64_t> Integer(const char* key, absl::optional<int64_t> fallback = absl::nullopt) const {
    const json* value = Find(key);
    if (value == nullptr) return OrMissing(key, fallback);
    const bool fits = value->is_number_integer() &&
                      !(value->is_number_unsigned() &&
                        value->get<uint64_t>() > static_cast<uint64_t>(std::numeric_limits<int64_t>::max()));
    if (!fits) return WrongType(key, "an integer");
    return value->get<int64_t>();
  }

  absl::StatusOr<double> Number(const char* key, absl::optional<double> fallback = absl::nullopt) const {
    const json* value = Find(key);
    if (value == nullptr) return OrMissing(key, fallback);
    if (!value->is_number()) return WrongType(key, "a number");
    return value->get<double>();
  }

  absl::StatusOr<bool> Bool(const char* key, bool fallback) const {
    const json* value = Find(key);
    if (value == nullptr) return fallback;
    if (!value->is_boolean()) return WrongType(key, "true or false");
    return value->get<bool>();
  }

  // A view into the object.
  absl::StatusOr<absl::string_view> String(const char* key, absl::string_view fallback) const {
    const json* value = Find(key);
    if (value == nullptr) return fallback;
    if (!value->is_string()) return WrongType(key, "a string");
    return absl::string_view(value->get_ref<const std::string&>());
  }

  // An error unless the key is absent, null or false.
  absl::Status RequireFalse(const char* key) const {
    ILRE_ASSIGN_OR_RETURN(bool value, Bool(key, false));
    return value ? Bad(absl::StrCat(key, " is not supported")) : absl::OkStatus();
  }

  absl::string_view path() const { return path_; }

 private:
  template <typename T>
  absl::StatusOr<T> OrMissing(const char* key, absl::optional<T> fallback) const {
    if (fallback.has_value()) return *fallback;
    return Bad(absl::StrCat(key, " is missing"));
  }
  absl::Status WrongType(const char* key, absl::string_view expected) const {
    return Bad(absl::StrCat(key, " is not ", expected));
  }

  absl::string_view path_;
  const json& object_;
};

absl::StatusOr<Family> ReadFamily(const Settings& settings) {
  const json* architectures = settings.Find("architectures");
  if (architectures == nullptr || !architectures->is_array() || architectures->size() != 1 ||
      !architectures->front().is_string()) {
    return settings.Bad("architectures does not name one architecture");
  }
  const std::string& name = architectures->front().get_ref<const std::string&>();
  if (name == "LlamaForCausalLM") return Family::kLlama;
  if (name == "MistralForCausalLM") return Family::kMistral;
  if (name == "Qwen2ForCausalLM") return Family::kQwen2;
  if (name == "Qwen3ForCausalLM") return Family::kQwen3;
  if (name == "Gemma3ForCausalLM") return Family::kGemma3;
  return settings.Bad(absl::StrCat("architecture ", Quoted(name),
                                   " is not supported (Llama, Mistral, Qwen2, Qwen3 and text-only Gemma3 are)"));
}

const char* ArchitectureOf(Family family) {
  switch (family) {
    case Family::kQwen2:
      return "qwen2";
    case Family::kQwen3:
      return "qwen3";
    case Family::kGemma3:
      return "gemma3";
    default:
      return "llama";
  }
}

absl::Status ReadSizes(const Settings& settings, Family family, ModelConfig* config) {
  ILRE_ASSIGN_OR_RETURN(config->num_layers, settings.Integer("num_hidden_layers"));
  ILRE_ASSIGN_OR_RETURN(config->hidden_size, settings.Integer("hidden_size"));
  ILRE_ASSIGN_OR_RETURN(config->num_heads, settings.Integer("num_attention_heads"));
  ILRE_ASSIGN_OR_RETURN(config->ffn_size, settings.Integer("intermediate_size"));
  ILRE_ASSIGN_OR_RETURN(config->vocab_size, settings.Integer("vocab_size"));
  ILRE_ASSIGN_OR_RETURN(config->context_length, settings.Integer("max_position_embeddings"));
  // The first Llama models had no such key; the other classes have always written it.
  absl::optional<int64_t> default_kv_heads;
  if (family == Family::kLlama || settings.Has("num_key_value_heads")) default_kv_heads = config->num_heads;
  ILRE_ASSIGN_OR_RETURN(config->num_kv_heads, settings.Integer("num_key_value_heads", default_kv_heads));
  if (family == Family::kQwen3 || family == Family::kGemma3 || settings.Find("head_dim") != nullptr) {
    ILRE_ASSIGN_OR_RETURN(config->head_dim, settings.Integer("head_dim"));
    return absl::OkStatus();
  }
  if (config->num_heads < 1 || config->hidden_size % config->num_heads != 0) {
    return settings.Bad("hidden_size is no multiple of num_attention_heads");
  }
  config->head_dim = config->hidden_size / config->num_heads;
  return absl::OkStatus();
}

// Settings that would change the computation in ways that are not implemented.
absl::Status RefuseVariants(const Settings& settings, Family family) {
  if (settings.Find("quantization_config") != nullptr) {
    return settings.Bad("quantised safetensors (quantization_config) are not supported; use a GGUF file");
  }
  for (const char* key : {"attention_bias", "mlp_bias"}) ILRE_RETURN_IF_ERROR(settings.RequireFalse(key));
  const bool gemma = family == Family::kGemma3;
  const char* const key = gemma ? "hidden_activation" : "hidden_act";
  const absl::string_view known = gemma ? "gelu_pytorch_tanh" : "silu";
  ILRE_ASSIGN_OR_RETURN(absl::string_view activation, settings.String(key, known));
  if (activation != known) return settings.Bad(absl::StrCat(key, " ", Quoted(activation), " is not supported"));
  if (!gemma) return absl::OkStatus();
  ILRE_RETURN_IF_ERROR(settings.RequireFalse("use_bidirectional_attention"));
  for (const char* cap : {"attn_logit_softcapping", "final_logit_softcapping"}) {
    if (settings.Find(cap) != nullptr) return settings.Bad(absl::StrCat(cap, " is not supported"));
  }
  return absl::OkStatus();
}

// A window that some layer would look through, in tokens; none where every layer sees everything.
absl::StatusOr<absl::optional<int64_t>> ReadWindow(const Settings& settings, Family family, int64_t num_layers) {
  absl::optional<int64_t> window;
  if (family == Family::kLlama) return window;
  if (family == Family::kMistral && !settings.Has("sliding_window")) window = kDefaultMistralWindow;
  if (settings.Find("sliding_window") != nullptr) {
    ILRE_ASSIGN_OR_RETURN(window, settings.Integer("sliding_window"));
  }
  if (family == Family::kMistral) return window;
  ILRE_ASSIGN_OR_RETURN(bool used, settings.Bool("use_sliding_window", false));
  ILRE_ASSIGN_OR_RETURN(int64_t first_layer, settings.Integer("max_window_layers", kDefaultMaxWindowLayers));
  if (!used || first_layer >= num_layers) window.reset();
  return window;
}

absl::Status CheckFullAttention(const Settings& settings, Family family, const ModelConfig& config) {
  if (const json* layer_types = settings.Find("layer_types"); layer_types != nullptr) {
    if (!layer_types->is_array()) return settings.Bad("layer_types is not an array");
    for (const json& type : *layer_types) {
      if (type != "full_attention") return settings.Bad("layer_types other than full_attention are not supported");
    }
  }
  ILRE_ASSIGN_OR_RETURN(absl::optional<int64_t> window, ReadWindow(settings, family, config.num_layers));
  if (window.has_value() && *window < config.context_length) {
    return settings.Bad(absl::StrCat("a sliding_window of ", *window, " tokens, less than the context of ",
                                     config.context_length, ", is not supported"));
  }
  return absl::OkStatus();
}

// Which layers are local: as layer_types says, or each but every n-th.
absl::StatusOr<std::vector<bool>> ReadLocalLayers(const Settings& settings, int64_t num_layers) {
  std::vector<bool> local;
  const json* types = settings.Find("layer_types");
  if (types == nullptr) {
    ILRE_ASSIGN_OR_RETURN(const int64_t period, settings.Integer("sliding_window_pattern", kDefaultGemmaPattern));
    if (period < 1) return settings.Bad(absl::StrCat("sliding_window_pattern is ", period));
    return LocalButEach(period, num_layers);
  }
  if (!types->is_array() || types->size() != static_cast<size_t>(num_layers)) {
    return settings.Bad(absl::StrCat("layer_types is not a list of ", num_layers));
  }
  for (const json& type : *types) {
    if (type != "full_attention" && type != "sliding_attention") {
      return settings.Bad("layer_types other than full_attention and sliding_attention are not supported");
    }
    local.push_back(type == "sliding_attention");
  }
  return local;
}

// What Gemma 3 does otherwise. The sizes of `config` must be valid already.
absl::Status ReadGemma3(const Settings& settings, ModelConfig* config) {
  config->qk_norm = config->post_norms = true;
  config->gate = ModelConfig::Gate::kGelu;
  // In float32, as transformers and llama.cpp compute with it; transformers in bfloat16 rounds it (25.25 for 25.298).
  config->embedding_scale = std::sqrt(static_cast<float>(config->hidden_size));
  ILRE_ASSIGN_OR_RETURN(config->query_scalar, settings.Number("query_pre_attn_scalar"));
  if (!(config->query_scalar > 0)) return settings.Bad("query_pre_attn_scalar is not positive");
  ILRE_ASSIGN_OR_RETURN(config->local_layers, ReadLocalLayers(settings, config->num_layers));
  ILRE_ASSIGN_OR_RETURN(config->local_window, settings.Integer("sliding_window"));
  if (config->local_window < 1) return settings.Bad(absl::StrCat("sliding_window is ", config->local_window));
  return absl::OkStatus();
}

absl::StatusOr<std::vector<float>> ScaleRope(const Settings& scaling, const ModelConfig& config) {
  ILRE_ASSIGN_OR_RETURN(absl::string_view old_key, scaling.String("type", "default"));
  ILRE_ASSIGN_OR_RETURN(absl::string_view type, scaling.String("rope_type", old_key));
  ILRE_ASSIGN_OR_RETURN(double rotated, scaling.Number("partial_rotary_factor", 1));
  if (rotated != 1) return scaling.Bad("partial_rotary_factor is not supported");
  if (type == "default") return std::vector<float>();
  if (type == "linear") {
    ILRE_ASSIGN_OR_RETURN(double factor, scaling.Number("factor"));
    return LinearFrequencyFactors(config.head_dim, factor);
  }
  if (type != "llama3") {
    return scaling.Bad(absl::StrCat("rope type ", Quoted(type), " is not supported (default, linear and llama3 are)"));
  }
  Llama3RopeScaling llama3;
  ILRE_ASSIGN_OR_RETURN(llama3.factor, scaling.Number("factor"));
  ILRE_ASSIGN_OR_RETURN(llama3.low_freq_factor, scaling.Number("low_freq_factor"));
  ILRE_ASSIGN_OR_RETURN(llama3.high_freq_factor, scaling.Number("high_freq_factor"));
  ILRE_ASSIGN_OR_RETURN(llama3.original_context_length, scaling.Number("original_max_position_embeddings"));
  return Llama3FrequencyFactors(config.head_dim, config.rope_theta, llama3);
}

// An object of the file; an empty one where it is absent.
absl::StatusOr<json> ReadObject(const Settings& settings, const char* key) {
  const json* object = settings.Find(key);
  if (object == nullptr) return json::object();
  if (!object->is_object()) return settings.Bad(absl::StrCat(key, " is not an object"));
  return *object;
}

// Rotation in layers that see everything, by one object of settings and where that has no base, by `theta`.
absl::Status ReadGlobalRope(const Settings& rope, double theta, ModelConfig* config) {
  ILRE_ASSIGN_OR_RETURN(config->rope_theta, rope.Number("rope_theta", theta));
  // Only now is it sure that the sizes are sane.
  if (absl::Status valid = config->Validate(); !valid.ok()) return rope.Bad(valid.message());
  absl::StatusOr<std::vector<float>> factors = ScaleRope(rope, *config);
  if (!factors.ok()) {
    return ErrorReason(factors.status()) == "BAD_MODEL_FILE" ? factors.status() : rope.Bad(factors.status().message());
  }
  config->rope_frequency_factors = *std::move(factors);
  return absl::OkStatus();
}

// Gemma 3: `rope_parameters` has an object for each kind of layers; before transformers 5, `rope_theta` and
// `rope_scaling` were those of global layers, `rope_local_base_freq` that of local ones.
absl::Status ReadGemma3Rope(const Settings& settings, ModelConfig* config) {
  ILRE_ASSIGN_OR_RETURN(const json both, ReadObject(settings, "rope_parameters"));
  ILRE_ASSIGN_OR_RETURN(const json scaling, ReadObject(settings, "rope_scaling"));
  const Settings kinds(settings.path(), both);
  ILRE_ASSIGN_OR_RETURN(const json local, ReadObject(kinds, "sliding_attention"));
  ILRE_ASSIGN_OR_RETURN(json global, ReadObject(kinds, "full_attention"));
  if (!scaling.empty()) global.update(scaling);
  const Settings local_rope(settings.path(), local);
  ILRE_ASSIGN_OR_RETURN(const absl::string_view type, local_rope.String("rope_type", "default"));
  if (type != "default")
    return settings.Bad(absl::StrCat("rope type ", Quoted(type), " of local layers is not supported"));
  ILRE_ASSIGN_OR_RETURN(const double local_theta, settings.Number("rope_local_base_freq", kDefaultGemmaLocalTheta));
  ILRE_ASSIGN_OR_RETURN(config->local_rope_theta, local_rope.Number("rope_theta", local_theta));
  ILRE_ASSIGN_OR_RETURN(const double theta, settings.Number("rope_theta", kDefaultGemmaTheta));
  return ReadGlobalRope(Settings(settings.path(), global), theta, config);
}

// transformers 5 has one object `rope_parameters`; before it, `rope_theta` stood alone beside `rope_scaling`.
absl::Status ReadRope(const Settings& settings, ModelConfig* config) {
  const char* key = settings.Find("rope_parameters") != nullptr ? "rope_parameters" : "rope_scaling";
  ILRE_ASSIGN_OR_RETURN(const json object, ReadObject(settings, key));
  const Settings rope(settings.path(), object);
  if (rope.Has("full_attention") || rope.Has("sliding_attention")) {
    return settings.Bad(absl::StrCat(key, " that differ between layers are not supported"));
  }
  ILRE_ASSIGN_OR_RETURN(double outer_theta, settings.Number("rope_theta", kDefaultRopeTheta));
  ILRE_ASSIGN_OR_RETURN(double rotated, settings.Number("partial_rotary_factor", 1));
  if (rotated != 1) return settings.Bad("partial_rotary_factor is not supported");
  return ReadGlobalRope(rope, outer_theta, config);
}

}  // namespace

absl::StatusOr<ModelConfig> ModelConfigFromHfJson(absl::string_view path, absl::string_view text) {
  ILRE_ASSIGN_OR_RETURN(const json object, ParseJsonObject(path, text));
  const Settings settings(path, object);
  ILRE_ASSIGN_OR_RETURN(const Family family, ReadFamily(settings));
  ILRE_RETURN_IF_ERROR(RefuseVariants(settings, family));
  ModelConfig config;
  config.architecture = ArchitectureOf(family);
  config.qkv_bias = family == Family::kQwen2;
  config.qk_norm = family == Family::kQwen3;
  ILRE_RETURN_IF_ERROR(ReadSizes(settings, family, &config));
  const bool gemma = family == Family::kGemma3;
  if (!gemma) ILRE_RETURN_IF_ERROR(CheckFullAttention(settings, family, config));
  ILRE_ASSIGN_OR_RETURN(config.tied_embeddings, settings.Bool("tie_word_embeddings", gemma));
  ILRE_ASSIGN_OR_RETURN(const double norm_eps, settings.Number("rms_norm_eps", kDefaultNormEps));
  if (!(norm_eps > 0 && norm_eps < 1)) return settings.Bad("rms_norm_eps is not in (0, 1)");
  config.rms_norm_eps = static_cast<float>(norm_eps);
  ILRE_RETURN_IF_ERROR(gemma ? ReadGemma3Rope(settings, &config) : ReadRope(settings, &config));
  if (gemma) ILRE_RETURN_IF_ERROR(ReadGemma3(settings, &config));
  if (absl::Status valid = config.Validate(); !valid.ok()) return settings.Bad(valid.message());
  return config;
}

}  // namespace ilre
