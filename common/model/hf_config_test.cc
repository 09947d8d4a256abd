#include "common/model/hf_config.h"

#include <cmath>
#include <string>
#include <vector>

#include "common/base/errors.h"
#include "common/base/test_matchers.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

namespace ilre {
namespace {

using nlohmann::json;
using ::testing::Each;
using ::testing::FloatEq;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

// A small model of the class, as transformers 5 writes it.
json Config(const std::string& architecture) {
  json config = {
      {"architectures", {architecture}},
      {"num_hidden_layers", 3},
      {"hidden_size", 64},
      {"num_attention_heads", 4},
      {"num_key_value_heads", 2},
      {"head_dim", 32},
      {"intermediate_size", 96},
      {"vocab_size", 300},
      {"max_position_embeddings", 2048},
      {"hidden_act", "silu"},
      {"rms_norm_eps", 1e-5},
      {"rope_parameters", {{"rope_theta", 50000.0}, {"rope_type", "default"}}},
      {"tie_word_embeddings", false},
  };
  if (architecture == "MistralForCausalLM") config["sliding_window"] = nullptr;
  return config;
}

absl::StatusOr<ModelConfig> Read(const json& config) { return ModelConfigFromHfJson("config.json", config.dump()); }

void ExpectBad(const json& config, const std::string& message) {
  const absl::Status status = Read(config).status();
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(message)));
  EXPECT_THAT(status.message(), HasSubstr("config.json"));
  EXPECT_EQ(ErrorReason(status), "BAD_MODEL_FILE");
}

TEST(HfConfigTest, ReadsEachFamily) {
  struct Case {
    const char* name;
    const char* architecture;
    bool qkv_bias, qk_norm;
  };
  for (const Case& test :
       {Case{"LlamaForCausalLM", "llama", false, false}, Case{"MistralForCausalLM", "llama", false, false},
        Case{"Qwen2ForCausalLM", "qwen2", true, false}, Case{"Qwen3ForCausalLM", "qwen3", false, true}}) {
    ILRE_ASSERT_OK_AND_ASSIGN(ModelConfig config, Read(Config(test.name)));
    EXPECT_EQ(config.architecture, test.architecture);
    EXPECT_EQ(config.qkv_bias, test.qkv_bias) << test.name;
    EXPECT_EQ(config.qk_norm, test.qk_norm) << test.name;
    EXPECT_EQ(config.num_layers, 3);
    EXPECT_EQ(config.hidden_size, 64);
    EXPECT_EQ(config.num_heads, 4);
    EXPECT_EQ(config.num_kv_heads, 2);
    EXPECT_EQ(config.head_dim, 32);
    EXPECT_EQ(config.ffn_size, 96);
    EXPECT_EQ(config.vocab_size, 300);
    EXPECT_EQ(config.context_length, 2048);
    EXPECT_FLOAT_EQ(config.rms_norm_eps, 1e-5f);
    EXPECT_EQ(config.rope_theta, 50000);
    EXPECT_THAT(config.rope_frequency_factors, IsEmpty());
    EXPECT_FALSE(config.tied_embeddings);
  }
}

TEST(HfConfigTest, ReadsTheFormOfTransformers4) {
  json config = Config("LlamaForCausalLM");
  config.erase("rope_parameters");
  config["rope_theta"] = 100000;  // an integer
  config["rope_scaling"] = nullptr;
  config["tie_word_embeddings"] = true;
  ILRE_ASSERT_OK_AND_ASSIGN(ModelConfig read, Read(config));
  EXPECT_EQ(read.rope_theta, 100000);
  EXPECT_TRUE(read.tied_embeddings);
  config["rope_scaling"] = {{"type", "linear"}, {"factor", 4.0}};
  ILRE_ASSERT_OK_AND_ASSIGN(read, Read(config));
  EXPECT_THAT(read.rope_frequency_factors, SizeIs(16));
  EXPECT_THAT(read.rope_frequency_factors, Each(4.0f));
}

TEST(HfConfigTest, MissingSettingsHaveTheDefaultsOfTheClass) {
  json config = Config("LlamaForCausalLM");
  for (const char* key :
       {"rope_parameters", "rms_norm_eps", "tie_word_embeddings", "num_key_value_heads", "head_dim"}) {
    config.erase(key);
  }
  ILRE_ASSERT_OK_AND_ASSIGN(ModelConfig read, Read(config));
  EXPECT_EQ(read.rope_theta, 10000);
  EXPECT_FLOAT_EQ(read.rms_norm_eps, 1e-6f);
  EXPECT_EQ(read.num_kv_heads, 4);
  EXPECT_EQ(read.head_dim, 16);
  json qwen = Config("Qwen3ForCausalLM");
  qwen.erase("head_dim");
  ExpectBad(qwen, "head_dim is missing");
  json mistral = Config("MistralForCausalLM");
  mistral.erase("num_key_value_heads");
  ExpectBad(mistral, "num_key_value_heads is missing");
  json empty = Config("LlamaForCausalLM");
  empty.erase("hidden_size");
  ExpectBad(empty, "hidden_size is missing");
}

// Against _compute_llama3_parameters of transformers 5.23 (base frequencies over its own, in double precision).
TEST(HfConfigTest, Llama3FrequencyFactorsEqualTransformers) {
  json config = Config("LlamaForCausalLM");
  config["head_dim"] = 64;
  config["rope_parameters"] = {{"rope_type", "llama3"},   {"rope_theta", 500000.0},
                               {"factor", 32.0},          {"low_freq_factor", 1.0},
                               {"high_freq_factor", 4.0}, {"original_max_position_embeddings", 8192}};
  ILRE_ASSERT_OK_AND_ASSIGN(ModelConfig read, Read(config));
  const float expected[32] = {1.0f,      0.9999999f, 0.9999999f, 1.0f,  0.9999999f, 0.9999999f, 1.0f,  1.0f,
                              1.0f,      1.0f,       1.0f,       1.0f,  1.0f,       1.0f,       1.0f,  1.651329f,
                              3.292263f, 9.666731f,  32.0f,      32.0f, 32.0f,      32.0f,      32.0f, 32.0f,
                              32.0f,     32.0f,      32.0f,      32.0f, 32.0f,      32.0f,      32.0f, 32.0f};
  ASSERT_THAT(read.rope_frequency_factors, SizeIs(32));
  for (int i = 0; i < 32; ++i) EXPECT_NEAR(read.rope_frequency_factors[i], expected[i], 2e-5 * expected[i]) << i;
}

TEST(HfConfigTest, RefusesRopeItDoesNotKnow) {
  json config = Config("LlamaForCausalLM");
  config["rope_parameters"]["rope_type"] = "yarn";
  ExpectBad(config, "rope type 'yarn' is not supported");
  config["rope_parameters"] = {{"rope_type", "linear"}};
  ExpectBad(config, "factor is missing");
  config["rope_parameters"] = {{"rope_type", "linear"}, {"factor", 0}};
  ExpectBad(config, "factor 0 makes no sense");
  config["rope_parameters"] = {{"full_attention", {{"rope_theta", 1e4}}}};
  ExpectBad(config, "differ between layers");
  config["rope_parameters"] = 7;
  ExpectBad(config, "rope_parameters is not an object");
  config["rope_parameters"] = {{"rope_type", "llama3"},
                               {"factor", 8},
                               {"low_freq_factor", 4},
                               {"high_freq_factor", 4},
                               {"original_max_position_embeddings", 8192}};
  ExpectBad(config, "low_freq_factor 4 is not below high_freq_factor 4");
  config["rope_parameters"] = {{"partial_rotary_factor", 0.5}};
  ExpectBad(config, "partial_rotary_factor");
}

TEST(HfConfigTest, RefusesWindowsShorterThanTheContext) {
  json mistral = Config("MistralForCausalLM");
  mistral["sliding_window"] = 1024;
  ExpectBad(mistral, "sliding_window of 1024 tokens");
  mistral["sliding_window"] = 2048;
  ILRE_EXPECT_OK(Read(mistral));
  mistral["max_position_embeddings"] = 32768;
  mistral.erase("sliding_window");  // transformers' default is 4096
  ExpectBad(mistral, "sliding_window of 4096 tokens");
  json qwen = Config("Qwen2ForCausalLM");
  qwen["sliding_window"] = 1024;
  ILRE_EXPECT_OK(Read(qwen));
  qwen["use_sliding_window"] = true;
  ILRE_EXPECT_OK(Read(qwen));  // from layer 28 on, of 3
  qwen["max_window_layers"] = 2;
  ExpectBad(qwen, "sliding_window of 1024 tokens");
  json types = Config("Qwen3ForCausalLM");
  types["layer_types"] = {"full_attention", "sliding_attention", "full_attention"};
  ExpectBad(types, "layer_types");
}

json Gemma3() {
  json config = Config("Gemma3ForCausalLM");
  config.erase("hidden_act");
  config.update({{"hidden_activation", "gelu_pytorch_tanh"},
                 {"query_pre_attn_scalar", 24},
                 {"sliding_window", 512},
                 {"layer_types", {"sliding_attention", "full_attention", "sliding_attention"}}});
  config["rope_parameters"] = {
      {"full_attention", {{"rope_theta", 1e6}, {"rope_type", "linear"}, {"factor", 8.0}}},
      {"sliding_attention", {{"rope_theta", 10000.0}, {"rope_type", "default"}}},
  };
  return config;
}

TEST(HfConfigTest, ReadsGemma3) {
  ILRE_ASSERT_OK_AND_ASSIGN(ModelConfig config, Read(Gemma3()));
  EXPECT_EQ(config.architecture, "gemma3");
  EXPECT_TRUE(config.qk_norm && config.post_norms);
  EXPECT_EQ(config.gate, ModelConfig::Gate::kGelu);
  EXPECT_FLOAT_EQ(config.embedding_scale, 8);  // of 64 dimensions
  EXPECT_FLOAT_EQ(config.ScoreDivisor(), std::sqrt(24.0f));
  EXPECT_EQ(config.rope_theta, 1e6);
  EXPECT_EQ(config.local_rope_theta, 1e4);
  EXPECT_THAT(config.rope_frequency_factors, Each(8.0f));
  EXPECT_EQ(config.local_window, 512);
  EXPECT_EQ(config.local_layers, (std::vector<bool>{true, false, true}));
  // As transformers 4 wrote it.
  json old = Gemma3();
  for (const char* key : {"rope_parameters", "layer_types", "tie_word_embeddings"}) old.erase(key);
  old.update({{"rope_theta", 5e5},
              {"rope_local_base_freq", 2e4},
              {"sliding_window_pattern", 2},
              {"rope_scaling", {{"rope_type", "linear"}, {"factor", 4.0}}}});
  ILRE_ASSERT_OK_AND_ASSIGN(config, Read(old));
  EXPECT_EQ(config.rope_theta, 5e5);
  EXPECT_EQ(config.local_rope_theta, 2e4);
  EXPECT_THAT(config.rope_frequency_factors, Each(4.0f));
  EXPECT_EQ(config.local_layers, (std::vector<bool>{true, false, true}));
  EXPECT_TRUE(config.tied_embeddings);
}

TEST(HfConfigTest, RefusesBrokenGemma3) {
  struct Case {
    const char* key;
    json value;
    const char* message;
  };
  for (const Case& test :
       {Case{"sliding_window", 0, "sliding_window is 0"}, Case{"sliding_window", nullptr, "sliding_window is missing"},
        Case{"query_pre_attn_scalar", 0, "query_pre_attn_scalar is not positive"},
        Case{"layer_types", {"sliding_attention"}, "layer_types is not a list of 3"},
        Case{"layer_types", {"full_attention", "chunked_attention", "x"}, "layer_types other than"},
        Case{"hidden_activation", "relu", "hidden_activation 'relu'"},
        Case{"use_bidirectional_attention", true, "use_bidirectional_attention"},
        Case{"final_logit_softcapping", 30.0, "final_logit_softcapping"}, Case{"head_dim", 31, "head size is odd"},
        Case{"rope_parameters", {{"sliding_attention", {{"rope_type", "yarn"}}}}, "'yarn' of local layers"},
        Case{"rope_parameters", {{"full_attention", 1}}, "full_attention is not an object"}}) {
    json config = Gemma3();
    config[test.key] = test.value;
    ExpectBad(config, test.message);
  }
  json pattern = Gemma3();
  pattern.erase("layer_types");
  pattern["sliding_window_pattern"] = 0;
  ExpectBad(pattern, "sliding_window_pattern is 0");
}

TEST(HfConfigTest, RefusesVariants) {
  for (const char* name : {"GPT2LMHeadModel", "MixtralForCausalLM", "LlamaForSequenceClassification"}) {
    ExpectBad(Config(name), std::string("architecture '") + name + "' is not supported");
  }
  struct Case {
    const char* key;
    json value;
    const char* message;
  };
  for (const Case& test :
       {Case{"architectures", json::array(), "does not name one"},
        Case{"quantization_config", {{"bits", 4}}, "quantization_config"},
        Case{"attention_bias", true, "attention_bias"}, Case{"mlp_bias", true, "mlp_bias"},
        Case{"hidden_act", "gelu", "hidden_act 'gelu'"}, Case{"hidden_size", "64", "hidden_size is not an integer"},
        Case{"hidden_size", 64.5, "hidden_size is not an integer"},
        Case{"vocab_size", UINT64_MAX, "vocab_size is not an integer"},
        Case{"vocab_size", int64_t{1} << 40, "vocabulary size"}, Case{"num_attention_heads", 0, "number of heads"},
        Case{"num_key_value_heads", 3, "cannot share"}, Case{"head_dim", int64_t{1} << 60, "head size"},
        Case{"rms_norm_eps", 1e300, "rms_norm_eps"},
        Case{"tie_word_embeddings", 1, "tie_word_embeddings is not true or false"}}) {
    json config = Config("LlamaForCausalLM");
    config[test.key] = test.value;
    ExpectBad(config, test.message);
  }
  ExpectBad(json::array(), "not a JSON object");
}

}  // namespace
}  // namespace ilre
