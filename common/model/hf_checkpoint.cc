#include "common/model/hf_checkpoint.h"

#include <algorithm>
#include <cstdint>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/types/optional.h"
#include "common/base/errors.h"
#include "common/base/file.h"
#include "common/base/status_macros.h"
#include "common/model/bounded_json.h"
#include "common/model/hf_config.h"
#include "common/model/quoted.h"
#include "common/model/safetensors_file.h"
#include "common/model/stored_checkpoint.h"
#include "common/model/tokenizer_files.h"

namespace ilre {
namespace {

using nlohmann::json;

constexpr char kConfigFile[] = "config.json";
constexpr char kWeightsFile[] = "model.safetensors";
constexpr char kIndexFile[] = "model.safetensors.index.json";
constexpr uint64_t kMaxConfigBytes = 16 << 20;
constexpr uint64_t kMaxIndexBytes = 64 << 20;

std::string InFolder(const std::string& folder, absl::string_view name) { return absl::StrCat(folder, "/", name); }

// Tensors that files may hold although the model does not need them: an output projection that is tied to the
// embedding, and frequencies that old versions of transformers saved.
bool IsIgnored(const ModelConfig& config, absl::string_view name) {
  return (config.tied_embeddings && name == "lm_head.weight") || absl::EndsWith(name, ".rotary_emb.inv_freq");
}

absl::Status AddTensor(const std::string& path, const SafetensorsTensor& tensor, StoredModel* model) {
  if (IsIgnored(model->config, tensor.name)) return absl::OkStatus();
  const absl::optional<GgmlType> type = ReadableType(tensor.dtype);
  if (!type.has_value()) {
    return errors::BadModelFile(path, absl::StrCat("tensor ", Quoted(tensor.name), " is of ", tensor.dtype,
                                                   ", which is not supported (F32, F16 and BF16 are)"));
  }
  StoredTensor stored{*type, tensor.shape, tensor.bytes, RotaryOrder::kHalves};
  if (model->config.architecture == "gemma3" && absl::EndsWith(tensor.name, "norm.weight")) stored.offset = 1;
  model->tensors.emplace(tensor.name, std::move(stored));
  return absl::OkStatus();
}

absl::Status AddSingleFile(const std::string& path, StoredModel* model) {
  ILRE_ASSIGN_OR_RETURN(std::shared_ptr<const SafetensorsFile> file, SafetensorsFile::Open(path));
  for (const SafetensorsTensor& tensor : file->tensors()) ILRE_RETURN_IF_ERROR(AddTensor(path, tensor, model));
  model->files.push_back(std::move(file));
  return absl::OkStatus();
}

// Tokenizers of text models may end in control tokens of their family that only larger models have embeddings for
// (Gemma 3's of an image). No text is ever tokenized into those.
void DropTokensWithoutEmbedding(int64_t vocab_size, TokenizerSpec* tokenizer) {
  while (static_cast<int64_t>(tokenizer->tokens.size()) > std::max<int64_t>(vocab_size, 1) &&
         tokenizer->types.back() == TokenType::kControl) {
    tokenizer->tokens.pop_back();
    tokenizer->types.pop_back();
    if (!tokenizer->scores.empty()) tokenizer->scores.pop_back();
  }
}

// A shard lies beside its index: a path from an untrusted file must not lead elsewhere.
bool IsPlainFileName(absl::string_view name) {
  return absl::EndsWith(name, ".safetensors") && !absl::StrContains(name, '/') && !absl::StrContains(name, '\0');
}

absl::Status AddShards(const std::string& folder, StoredModel* model) {
  const std::string index_path = InFolder(folder, kIndexFile);
  ILRE_ASSIGN_OR_RETURN(const std::string text, ReadFile(index_path, kMaxIndexBytes));
  ILRE_ASSIGN_OR_RETURN(const json index, ParseJsonObject(index_path, text));
  const auto weight_map = index.find("weight_map");
  if (weight_map == index.end() || !weight_map->is_object()) {
    return errors::BadModelFile(index_path, "weight_map is missing");
  }
  absl::flat_hash_map<std::string, std::shared_ptr<const SafetensorsFile>> shards;
  for (const auto& [name, value] : weight_map->items()) {
    if (!value.is_string() || !IsPlainFileName(value.get_ref<const std::string&>())) {
      return errors::BadModelFile(
          index_path, absl::StrCat("tensor ", Quoted(name), " is not in a .safetensors file of this folder"));
    }
    const std::string shard_path = InFolder(folder, value.get_ref<const std::string&>());
    std::shared_ptr<const SafetensorsFile>& shard = shards[shard_path];
    if (shard == nullptr) {
      absl::StatusOr<std::shared_ptr<const SafetensorsFile>> opened = SafetensorsFile::Open(shard_path);
      if (absl::IsNotFound(opened.status())) return errors::BadModelFile(shard_path, "a shard of the index is missing");
      ILRE_ASSIGN_OR_RETURN(shard, std::move(opened));
      model->files.push_back(shard);
    }
    const SafetensorsTensor* tensor = shard->FindTensor(name);
    if (tensor == nullptr) {
      return errors::BadModelFile(shard_path,
                                  absl::StrCat("tensor ", Quoted(name), " is missing, which the index says is here"));
    }
    ILRE_RETURN_IF_ERROR(AddTensor(shard_path, *tensor, model));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<Checkpoint>> OpenHfCheckpoint(const std::string& folder) {
  const std::string config_path = InFolder(folder, kConfigFile);
  absl::StatusOr<std::string> text = ReadFile(config_path, kMaxConfigBytes);
  if (absl::IsNotFound(text.status())) return errors::NotAModel(folder, "the folder has no config.json");
  ILRE_RETURN_IF_ERROR(text.status());
  StoredModel model;
  model.path = folder;
  ILRE_ASSIGN_OR_RETURN(model.config, ModelConfigFromHfJson(config_path, *text));
  absl::Status weights = AddSingleFile(InFolder(folder, kWeightsFile), &model);
  if (absl::IsNotFound(weights)) {
    weights = AddShards(folder, &model);
    if (absl::IsNotFound(weights)) {
      return errors::BadModelFile(folder, absl::StrCat("there is neither ", kWeightsFile, " nor ", kIndexFile));
    }
  }
  ILRE_RETURN_IF_ERROR(weights);
  ILRE_ASSIGN_OR_RETURN(model.tokenizer, TokenizerSpecFromFolder(folder));
  if (model.config.architecture == "gemma3") DropTokensWithoutEmbedding(model.config.vocab_size, &model.tokenizer);
  return StoredCheckpoint::Create(std::move(model));
}

}  // namespace ilre
