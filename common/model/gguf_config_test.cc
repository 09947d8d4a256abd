#include "common/model/gguf_config.h"

#include <cmath>
#include <functional>
#include <string>

#include "common/base/errors.h"
#include "common/base/test_matchers.h"
#include "common/model/test_tiny_model.h"
#include "gtest/gtest.h"

namespace ilre {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

absl::StatusOr<ModelConfig> Read(const TinyModel& model) {
  const std::string bytes = model.File();
  absl::StatusOr<std::shared_ptr<const GgufFile>> file = GgufFile::Parse("x.gguf", bytes);
  if (!file.ok()) return file.status();
  return ModelConfigFromGguf(**file);
}

void ExpectBad(const TinyModel& model, const std::string& message) {
  const absl::Status status = Read(model).status();
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(message)));
  EXPECT_THAT(status.message(), HasSubstr("x.gguf"));
  EXPECT_EQ(ErrorReason(status), "BAD_MODEL_FILE");
}

// A model with one more number in its metadata.
template <typename T>
TinyModel With(const std::string& key, T value) {
  TinyModel model;
  model.add = [=](GgufWriter* writer) { writer->AddNumber<T>("llama." + key, value); };
  return model;
}

TinyModel WithRopeType(const std::string& type) {
  TinyModel model;
  model.add = [=](GgufWriter* writer) {
    writer->AddString("llama.rope.scaling.type", type);
    writer->AddNumber<float>("llama.rope.scaling.factor", 4);
  };
  return model;
}

TEST(GgufConfigTest, ReadsSizes) {
  ILRE_ASSERT_OK_AND_ASSIGN(ModelConfig config, Read(TinyModel()));
  EXPECT_EQ(config.architecture, "llama");
  EXPECT_EQ(config.num_layers, 2);
  EXPECT_EQ(config.hidden_size, 16);
  EXPECT_EQ(config.num_heads, 4);
  EXPECT_EQ(config.num_kv_heads, 2);
  EXPECT_EQ(config.head_dim, 8);
  EXPECT_EQ(config.ffn_size, 24);
  EXPECT_EQ(config.vocab_size, 270);
  EXPECT_EQ(config.context_length, 512);
  EXPECT_FLOAT_EQ(config.rms_norm_eps, 1e-5f);
  EXPECT_EQ(config.rope_theta, 20000);
  EXPECT_THAT(config.rope_frequency_factors, IsEmpty());
  EXPECT_FALSE(config.qkv_bias);
  EXPECT_FALSE(config.qk_norm);
  EXPECT_FALSE(config.tied_embeddings);
}

TEST(GgufConfigTest, ReadsVariantsFromTheTensors) {
  TinyModel qwen2;
  qwen2.architecture = "qwen2";
  qwen2.biases = true;
  qwen2.output = false;
  ILRE_ASSERT_OK_AND_ASSIGN(ModelConfig config, Read(qwen2));
  EXPECT_TRUE(config.qkv_bias);
  EXPECT_TRUE(config.tied_embeddings);
  TinyModel qwen3;
  qwen3.architecture = "qwen3";
  ILRE_ASSERT_OK_AND_ASSIGN(config, Read(qwen3));
  EXPECT_TRUE(config.qk_norm);
}

TEST(GgufConfigTest, MissingValuesHaveTheFormatsDefaults) {
  TinyModel model;
  model.without = {"attention.head_count_kv", "attention.key_length", "attention.value_length", "rope.freq_base"};
  ILRE_ASSERT_OK_AND_ASSIGN(ModelConfig config, Read(model));
  EXPECT_EQ(config.num_kv_heads, 4);
  EXPECT_EQ(config.head_dim, 4);
  EXPECT_EQ(config.rope_theta, 10000);
  for (const char* key : {"block_count", "context_length", "embedding_length", "feed_forward_length",
                          "attention.head_count", "attention.layer_norm_rms_epsilon"}) {
    model.without = {key};
    ExpectBad(model, std::string("metadata value llama.") + key + " is missing");
  }
}

TEST(GgufConfigTest, ReadsRopeScaling) {
  ILRE_ASSERT_OK_AND_ASSIGN(ModelConfig config, Read(WithRopeType("linear")));
  EXPECT_THAT(config.rope_frequency_factors, SizeIs(4));
  EXPECT_THAT(config.rope_frequency_factors, Each(4.0f));
  ILRE_ASSERT_OK_AND_ASSIGN(config, Read(WithRopeType("none")));
  EXPECT_THAT(config.rope_frequency_factors, IsEmpty());
  ILRE_ASSERT_OK_AND_ASSIGN(config, Read(With<float>("rope.scale_linear", 2)));
  EXPECT_THAT(config.rope_frequency_factors, Each(2.0f));
  ExpectBad(WithRopeType("yarn"), "rope scaling 'yarn' is not supported");
  ExpectBad(With<float>("rope.scale_linear", 0), "factor 0 makes no sense");
}

TEST(GgufConfigTest, ReadsRopeFactorsFromTheirTensor) {
  auto with_factors = [](std::vector<float> factors) {
    TinyModel model;
    model.add = [=](GgufWriter* writer) {
      writer->AddTensor("rope_freqs.weight", GgmlType::kF32, {static_cast<int64_t>(factors.size())},
                        {reinterpret_cast<const char*>(factors.data()), factors.size() * sizeof(float)});
    };
    return model;
  };
  ILRE_ASSERT_OK_AND_ASSIGN(ModelConfig config, Read(with_factors({1, 1, 4, 8})));
  EXPECT_THAT(config.rope_frequency_factors, ElementsAre(1, 1, 4, 8));
  ExpectBad(with_factors({1, 1, 4}), "rope_freqs.weight is not F32 of shape [4]");
  ExpectBad(with_factors({1, 1, 4, -1}), "rope frequency factor");
}

// A Gemma 3 model of eight layers, with more in its metadata.
TinyModel Gemma3(const std::function<void(GgufWriter*)>& add, bool with_window = true) {
  TinyModel model;
  model.architecture = "gemma3";
  model.num_layers = 8;
  model.qk_norm = model.post_norms = true;
  model.output = false;
  model.add = [=](GgufWriter* writer) {
    if (with_window) writer->AddNumber<uint32_t>("gemma3.attention.sliding_window", 128);
    add(writer);
  };
  return model;
}

TEST(GgufConfigTest, ReadsGemma3) {
  ILRE_ASSERT_OK_AND_ASSIGN(ModelConfig config, Read(Gemma3([](GgufWriter*) {})));
  EXPECT_TRUE(config.qk_norm && config.post_norms && config.tied_embeddings);
  EXPECT_EQ(config.gate, ModelConfig::Gate::kGelu);
  EXPECT_FLOAT_EQ(config.embedding_scale, 4);  // of 16 dimensions
  EXPECT_FLOAT_EQ(config.ScoreDivisor(), std::sqrt(8.0f));
  EXPECT_EQ(config.local_window, 128);
  EXPECT_EQ(config.local_rope_theta, 10000);
  EXPECT_THAT(config.local_layers, ElementsAre(true, true, true, true, true, false, true, true));
  EXPECT_TRUE(config.AllLocalBelow(5));
  EXPECT_FALSE(config.AllLocalBelow(6));
  EXPECT_EQ(config.WindowOf(4), 128);
  EXPECT_GT(config.WindowOf(5), config.context_length);
  ILRE_ASSERT_OK_AND_ASSIGN(config, Read(Gemma3([](GgufWriter* writer) {
                              writer->AddNumber<uint32_t>("gemma3.attention.sliding_window_pattern", 3);
                              writer->AddNumber<float>("gemma3.rope.freq_base_swa", 500);
                            })));
  EXPECT_EQ(config.local_rope_theta, 500);
  EXPECT_THAT(config.local_layers, ElementsAre(true, true, false, true, true, false, true, true));
}

TEST(GgufConfigTest, RefusesBrokenGemma3) {
  const auto with_pattern = [](uint32_t value) {
    return Gemma3([=](GgufWriter* w) { w->AddNumber<uint32_t>("gemma3.attention.sliding_window_pattern", value); });
  };
  ExpectBad(with_pattern(0), "sliding_window_pattern is 0");
  ExpectBad(Gemma3([](GgufWriter* w) {
              w->AddNumbers<int32_t>("gemma3.attention.sliding_window_pattern", {1, 0});
            }),
            "sliding_window_pattern has 2 entries for 8 layers");
  ExpectBad(Gemma3([](GgufWriter*) {}, /*with_window=*/false), "attention.sliding_window is missing");
  ExpectBad(Gemma3([](GgufWriter* w) { w->AddNumber<uint32_t>("gemma3.attention.sliding_window", 0); }, false),
            "attention.sliding_window is 0");
  ExpectBad(Gemma3([](GgufWriter* w) { w->AddNumber<float>("gemma3.rope.freq_base_swa", 0); }),
            "rope theta of local layers");
  ExpectBad(Gemma3([](GgufWriter* w) { w->AddNumber<float>("gemma3.final_logit_softcapping", 30); }),
            "final_logit_softcapping is not supported");
  TinyModel odd = Gemma3([](GgufWriter*) {});
  odd.head_dim = 7;
  ExpectBad(odd, "head size is odd");
}

TEST(GgufConfigTest, RefusesWhatItDoesNotCompute) {
  TinyModel other;
  other.architecture = "gemma";
  ExpectBad(other, "architecture 'gemma' is not supported");
  ExpectBad(With<uint32_t>("expert_count", 8), "mixtures of experts");
  ExpectBad(With<uint32_t>("attention.sliding_window", 256), "sliding window of 256 tokens");
  ILRE_EXPECT_OK(Read(With<uint32_t>("attention.sliding_window", 512)));
  ExpectBad(With<uint32_t>("rope.dimension_count", 4), "must be equal");
  TinyModel float_size;
  float_size.without = {"block_count"};
  float_size.add = [](GgufWriter* writer) { writer->AddNumber<float>("llama.block_count", 2); };
  ExpectBad(float_size, "llama.block_count is of another type");
  float_size.add = [](GgufWriter* writer) { writer->AddNumber<uint64_t>("llama.block_count", uint64_t{1} << 40); };
  ExpectBad(float_size, "number of layers is 1099511627776");
  TinyModel nan;
  nan.without = {"rope.freq_base"};
  nan.add = [](GgufWriter* writer) { writer->AddNumber<float>("llama.rope.freq_base", NAN); };
  ExpectBad(nan, "rope theta");
}

}  // namespace
}  // namespace ilre
