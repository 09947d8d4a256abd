// Reading and writing profiles: JSON for people, safetensors for weights.
#include <filesystem>
#include <initializer_list>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/base/errors.h"
#include "common/base/file.h"
#include "common/base/status_macros.h"
#include "common/model/dequantize.h"
#include "common/model/safetensors_file.h"
#include "common/model/safetensors_writer.h"
#include "common/retrieval/profile.h"
#include "nlohmann/json.hpp"

namespace ilre {
namespace {

using Json = nlohmann::ordered_json;

constexpr uint64_t kMaxProfileBytes = 1 << 20;

absl::Status Bad(const std::string& path, absl::string_view what) {
  return MakeError(absl::StatusCode::kInvalidArgument, "BAD_PROFILE", absl::StrCat("profile ", path, ": ", what));
}

// Reads fields of one JSON object, remembers the first error, and in the end refuses fields that nobody asked for: a
// misspelt setting must not be ignored.
class ObjectReader {
 public:
  ObjectReader(const Json& object, std::string where) : object_(object), where_(std::move(where)) {
    if (!object.is_object()) Fail("is not an object");
  }

  template <typename T>
  void Optional(const char* name, T* value) {
    if (const Json* field = Find(name)) Read(name, *field, value);
  }
  template <typename T>
  void Required(const char* name, T* value) {
    if (const Json* field = Find(name)) {
      Read(name, *field, value);
    } else {
      Fail(absl::StrCat("has no field ", name));
    }
  }
  template <typename T>
  void Enum(const char* name, std::initializer_list<std::pair<const char*, T>> names, T* value) {
    std::string text;
    const Json* field = Find(name);
    if (field == nullptr) return;
    Read(name, *field, &text);
    for (const auto& [known, known_value] : names) {
      if (text == known) {
        *value = known_value;
        return;
      }
    }
    Fail(absl::StrCat("has an unknown ", name, " '", text, "'"));
  }
  const Json* Find(const char* name) {
    known_.push_back(name);
    if (!object_.is_object()) return nullptr;
    const auto field = object_.find(name);
    return field == object_.end() ? nullptr : &*field;
  }
  std::string Finish() {
    if (error_.empty() && object_.is_object()) {
      for (const auto& [name, value] : object_.items()) {
        if (std::find(known_.begin(), known_.end(), name) == known_.end())
          Fail(absl::StrCat("has an unknown field ", name));
      }
    }
    return error_;
  }
  bool failed() const { return !error_.empty(); }
  const std::string& error() const { return error_; }
  void Fail(absl::string_view what) {
    if (error_.empty()) error_ = absl::StrCat(where_, " ", what);
  }

 private:
  void Read(const char* name, const Json& field, std::string* value) {
    if (!field.is_string()) return Fail(absl::StrCat("has a ", name, " that is not a string"));
    *value = field.get<std::string>();
  }
  void Read(const char* name, const Json& field, bool* value) {
    if (!field.is_boolean()) return Fail(absl::StrCat("has a ", name, " that is not true or false"));
    *value = field.get<bool>();
  }
  void Read(const char* name, const Json& field, float* value) {
    if (!field.is_number()) return Fail(absl::StrCat("has a ", name, " that is not a number"));
    *value = field.get<float>();
  }
  void Read(const char* name, const Json& field, int* value) {
    if (!field.is_number_integer() || field.get<int64_t>() < INT32_MIN || field.get<int64_t>() > INT32_MAX) {
      return Fail(absl::StrCat("has a ", name, " that is not a whole number"));
    }
    *value = field.get<int>();
  }
  void Read(const char* name, const Json& field, std::vector<int>* value) {
    if (!field.is_array()) return Fail(absl::StrCat("has a ", name, " that is not a list"));
    value->clear();
    for (const Json& element : field) Read(name, element, &value->emplace_back());
  }

  const Json& object_;
  std::string where_, error_;
  std::vector<std::string> known_;
};

std::string WeightsPath(const std::string& path) {
  return std::filesystem::path(path).replace_extension(".safetensors").string();
}

std::string HeadTensorName(size_t head, absl::string_view what) { return absl::StrCat("heads.", head, ".", what); }

std::string ReadHead(const Json& json, size_t index, RetrievalHead* head) {
  ObjectReader reader(json, absl::StrCat("head ", index));
  reader.Enum<RetrievalHead::Kind>("kind",
                                   {{"probe", RetrievalHead::Kind::kProbe},
                                    {"key", RetrievalHead::Kind::kKey},
                                    {"pooled", RetrievalHead::Kind::kPooled}},
                                   &head->kind);
  if (head->kind == RetrievalHead::Kind::kPooled) {
    reader.Required("layers", &head->layers);
  } else {
    reader.Required("layer", &head->layer);
  }
  reader.Required("dim", &head->dim);
  reader.Enum<VectorType>("type", {{"bf16", VectorType::kBf16}, {"int8", VectorType::kInt8}}, &head->type);
  reader.Optional("weight", &head->weight);
  reader.Optional("key_head", &head->key_head);
  reader.Optional("query_heads", &head->query_heads);
  return reader.Finish();
}

std::string ReadAttention(const Json& json, RetrievalProfile::Attention* attention) {
  using Attention = RetrievalProfile::Attention;
  ObjectReader reader(json, "attention");
  reader.Enum<Attention::Positions>(
      "positions", {{"none", Attention::Positions::kNone}, {"absolute", Attention::Positions::kAbsolute}},
      &attention->positions);
  reader.Enum<Attention::Reduce>("reduce", {{"max", Attention::Reduce::kMax}, {"sum", Attention::Reduce::kSum}},
                                 &attention->reduce);
  if (const Json* kernels = reader.Find("kernels")) {
    if (!kernels->is_array()) return "attention has kernels that are not a list";
    for (const Json& element : *kernels) {
      Attention::Kernel kernel;
      ObjectReader kernel_reader(element, "a kernel");
      kernel_reader.Required("size", &kernel.size);
      kernel_reader.Required("budget", &kernel.budget);
      if (std::string error = kernel_reader.Finish(); !error.empty()) return error;
      attention->kernels.push_back(kernel);
    }
  }
  return reader.Finish();
}

std::string ReadLexical(const Json& json, RetrievalProfile::Lexical* lexical) {
  ObjectReader reader(json, "lexical");
  reader.Required("weight", &lexical->weight);
  reader.Optional("k1", &lexical->k1);
  reader.Optional("b", &lexical->b);
  reader.Optional("power", &lexical->power);
  return reader.Finish();
}

std::string ReadRerank(const Json& json, RetrievalProfile::Rerank* rerank) {
  ObjectReader reader(json, "rerank");
  reader.Required("shortlist", &rerank->shortlist);
  reader.Required("layer", &rerank->layer);
  reader.Required("query_head", &rerank->query_head);
  return reader.Finish();
}

std::string ReadSecondLook(const Json& json, RetrievalProfile::SecondLook* second_look) {
  ObjectReader reader(json, "second_look");
  reader.Required("max_looks", &second_look->max_looks);
  reader.Optional("weight", &second_look->weight);
  reader.Optional("floor", &second_look->floor);
  reader.Optional("min_link", &second_look->min_link);
  reader.Optional("max_sources", &second_look->max_sources);
  return reader.Finish();
}

std::string ReadProfile(const Json& json, RetrievalProfile* profile) {
  ObjectReader reader(json, "it");
  int format = 0;
  reader.Required("format", &format);
  if (reader.failed()) return reader.error();
  if (format != RetrievalProfile::kFormat) {  // its fields may mean something else
    return absl::StrCat("it is of format ", format, ", not ", RetrievalProfile::kFormat);
  }
  reader.Required("name", &profile->name);
  reader.Required("model", &profile->model);
  reader.Required("prefix", &profile->prefix);
  reader.Optional("window", &profile->window);
  reader.Enum<StreamArithmetic>("arithmetic", {{"bf16", StreamArithmetic::kBf16}, {"int8", StreamArithmetic::kInt8}},
                                &profile->arithmetic);
  reader.Optional("max_segment", &profile->max_segment);
  reader.Optional("max_indented", &profile->max_indented);
  reader.Optional("lexical_postings", &profile->lexical_postings);
  reader.Optional("neutral_passage", &profile->neutral_passage);
  reader.Optional("question_prefix", &profile->question_prefix);
  reader.Enum<RetrievalProfile::Scoring>(
      "scoring",
      {{"max_sim", RetrievalProfile::Scoring::kMaxSim}, {"attention", RetrievalProfile::Scoring::kAttention}},
      &profile->scoring);
  reader.Optional("neighbour_weight", &profile->neighbour_weight);
  reader.Optional("budget", &profile->budget);
  reader.Optional("prompt_floor", &profile->prompt_floor);
  reader.Optional("min_prompt", &profile->min_prompt);
  reader.Optional("prompt_word_floor", &profile->prompt_word_floor);
  const Json* heads = reader.Find("heads");
  if (heads == nullptr || !heads->is_array() || heads->size() > kMaxHeads) return "it has no list of heads";
  for (size_t i = 0; i < heads->size(); ++i) {
    if (std::string error = ReadHead((*heads)[i], i, &profile->heads.emplace_back()); !error.empty()) return error;
  }
  std::string error;
  if (const Json* part = reader.Find("attention"); part && error.empty())
    error = ReadAttention(*part, &profile->attention);
  if (const Json* part = reader.Find("lexical"); part && error.empty()) error = ReadLexical(*part, &profile->lexical);
  if (const Json* part = reader.Find("second_look"); part && error.empty()) {
    error = ReadSecondLook(*part, &profile->second_look);
  }
  if (const Json* part = reader.Find("rerank"); part && error.empty()) error = ReadRerank(*part, &profile->rerank);
  return error.empty() ? reader.Finish() : error;
}

absl::Status ReadProbeWeights(const SafetensorsFile& file, size_t index, RetrievalHead* head) {
  const auto read = [&](absl::string_view what, std::vector<float>* values) -> absl::Status {
    const std::string name = HeadTensorName(index, what);
    const SafetensorsTensor* tensor = file.FindTensor(name);
    if (tensor == nullptr) return Bad(file.path(), absl::StrCat("no tensor ", name));
    size_t size = 1;
    for (const int64_t dim : tensor->shape)
      size *= static_cast<size_t>(dim);  // checked against the file's size at open
    const absl::optional<GgmlType> type = ReadableType(tensor->dtype);
    if (!type.has_value()) return Bad(file.path(), absl::StrCat("tensor ", name, " is of dtype ", tensor->dtype));
    values->resize(size);
    Dequantize(*type, tensor->bytes, absl::MakeSpan(*values));
    return absl::OkStatus();
  };
  std::vector<float> bias;
  ILRE_RETURN_IF_ERROR(read("key", &head->key_projection));
  ILRE_RETURN_IF_ERROR(read("query", &head->query_projection));
  ILRE_RETURN_IF_ERROR(read("gate", &head->gate));
  ILRE_RETURN_IF_ERROR(read("gate_bias", &bias));
  if (bias.size() != 1) return Bad(file.path(), "a gate's bias is not one number");
  head->gate_bias = bias[0];
  if (head->kind != RetrievalHead::Kind::kPooled) return absl::OkStatus();
  ILRE_RETURN_IF_ERROR(read("key_gate", &head->key_gate));
  ILRE_RETURN_IF_ERROR(read("key_gate_bias", &bias));
  if (bias.size() != 1) return Bad(file.path(), "a gate's bias is not one number");
  head->key_gate_bias = bias[0];
  return absl::OkStatus();
}

// A float as the shortest decimal number that reads back as it: 0.7, not 0.699999988079071.
double Shortest(float value) {
  double shortest = value;
  return absl::SimpleAtod(absl::StrCat(value), &shortest) && static_cast<float>(shortest) == value ? shortest : value;
}

Json HeadJson(const RetrievalHead& head) {
  const bool pooled = head.kind == RetrievalHead::Kind::kPooled;
  Json json = {{"kind", head.kind == RetrievalHead::Kind::kProbe ? "probe"
                        : pooled                                 ? "pooled"
                                                                 : "key"},
               {"dim", head.dim},
               {"type", head.type == VectorType::kBf16 ? "bf16" : "int8"},
               {"weight", Shortest(head.weight)}};
  if (pooled) {
    json["layers"] = head.layers;
  } else {
    json["layer"] = head.layer;
  }
  if (head.kind == RetrievalHead::Kind::kKey) {
    json["key_head"] = head.key_head;
    json["query_heads"] = head.query_heads;
  }
  return json;
}

Json ProfileJson(const RetrievalProfile& profile) {
  using Attention = RetrievalProfile::Attention;
  const bool max_sim = profile.scoring == RetrievalProfile::Scoring::kMaxSim;
  Json json = {{"format", RetrievalProfile::kFormat},
               {"name", profile.name},
               {"model", profile.model},
               {"prefix", profile.prefix},
               {"window", profile.window},
               {"arithmetic", profile.arithmetic == StreamArithmetic::kBf16 ? "bf16" : "int8"},
               {"max_segment", profile.max_segment},
               {"max_indented", profile.max_indented},
               {"lexical_postings", profile.lexical_postings},
               {"heads", Json::array()},
               {"neutral_passage", profile.neutral_passage},
               {"question_prefix", profile.question_prefix},
               {"scoring", max_sim ? "max_sim" : "attention"},
               {"neighbour_weight", Shortest(profile.neighbour_weight)},
               {"budget", profile.budget},
               {"prompt_floor", Shortest(profile.prompt_floor)},
               {"min_prompt", profile.min_prompt},
               {"prompt_word_floor", Shortest(profile.prompt_word_floor)}};
  for (const RetrievalHead& head : profile.heads) json["heads"].push_back(HeadJson(head));
  if (!max_sim) {
    const Attention& attention = profile.attention;
    json["attention"] = {{"positions", attention.positions == Attention::Positions::kNone ? "none" : "absolute"},
                         {"reduce", attention.reduce == Attention::Reduce::kMax ? "max" : "sum"},
                         {"kernels", Json::array()}};
    for (const Attention::Kernel& kernel : attention.kernels) {
      json["attention"]["kernels"].push_back({{"size", kernel.size}, {"budget", kernel.budget}});
    }
  }
  json["lexical"] = {{"weight", Shortest(profile.lexical.weight)},
                     {"k1", Shortest(profile.lexical.k1)},
                     {"b", Shortest(profile.lexical.b)}};
  if (profile.lexical.power != 1) json["lexical"]["power"] = Shortest(profile.lexical.power);
  if (profile.second_look.max_looks > 0) {
    json["second_look"] = {{"max_looks", profile.second_look.max_looks},
                           {"weight", Shortest(profile.second_look.weight)},
                           {"floor", Shortest(profile.second_look.floor)},
                           {"min_link", Shortest(profile.second_look.min_link)},
                           {"max_sources", profile.second_look.max_sources}};
  }
  if (profile.rerank.shortlist > 0) {
    json["rerank"] = {{"shortlist", profile.rerank.shortlist},
                      {"layer", profile.rerank.layer},
                      {"query_head", profile.rerank.query_head}};
  }
  return json;
}

}  // namespace

absl::StatusOr<RetrievalProfile> LoadProfile(const std::string& path) {
  ILRE_ASSIGN_OR_RETURN(std::string text, ReadFile(path, kMaxProfileBytes));
  const Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (json.is_discarded()) return Bad(path, "not JSON");
  RetrievalProfile profile;
  if (std::string error = ReadProfile(json, &profile); !error.empty()) return Bad(path, error);
  std::shared_ptr<const SafetensorsFile> weights;
  for (size_t i = 0; i < profile.heads.size(); ++i) {
    if (profile.heads[i].kind == RetrievalHead::Kind::kKey) continue;
    if (weights == nullptr) {
      ILRE_ASSIGN_OR_RETURN(weights, SafetensorsFile::Open(WeightsPath(path)));
    }
    ILRE_RETURN_IF_ERROR(ReadProbeWeights(*weights, i, &profile.heads[i]));
  }
  return profile;
}

absl::Status SaveProfile(const RetrievalProfile& profile, const std::string& path) {
  std::vector<TensorToWrite> tensors;
  for (size_t i = 0; i < profile.heads.size(); ++i) {
    const RetrievalHead& head = profile.heads[i];
    if (head.kind == RetrievalHead::Kind::kKey) continue;
    const int64_t dim = head.dim, hidden = static_cast<int64_t>(head.gate.size());
    tensors.push_back({HeadTensorName(i, "key"), {dim, hidden}, head.key_projection});
    tensors.push_back({HeadTensorName(i, "query"), {dim, hidden}, head.query_projection});
    tensors.push_back({HeadTensorName(i, "gate"), {hidden}, head.gate});
    tensors.push_back({HeadTensorName(i, "gate_bias"), {1}, absl::MakeConstSpan(&head.gate_bias, 1)});
    if (head.kind != RetrievalHead::Kind::kPooled) continue;
    tensors.push_back({HeadTensorName(i, "key_gate"), {hidden}, head.key_gate});
    tensors.push_back({HeadTensorName(i, "key_gate_bias"), {1}, absl::MakeConstSpan(&head.key_gate_bias, 1)});
  }
  if (!tensors.empty()) ILRE_RETURN_IF_ERROR(WriteSafetensors(WeightsPath(path), tensors));
  return WriteFileAtomically(path, ProfileJson(profile).dump(2) + "\n");
}

}  // namespace ilre
