// tokenizer.json of the `tokenizers` library, as far as byte-level BPE and Llama's SentencePiece use it. What would
// give other ids than this project's tokenizers is refused by name, never ignored.
//
// One exception: Qwen's NFC normaliser is accepted and not applied, as llama.cpp does. Token offsets stay those of the
// text that was given, and on text in NFC, which nearly all is, the ids are the same.

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "common/base/errors.h"
#include "common/base/status_macros.h"
#include "common/model/bounded_json.h"
#include "common/model/sentencepiece_proto.h"
#include "common/model/stop_tokens.h"
#include "common/model/tokenizer_files.h"
#include "nlohmann/json.hpp"

namespace ilre {
namespace {

using Json = nlohmann::json;

constexpr char kSpaceMark[] = "\xE2\x96\x81";  // U+2581

constexpr absl::string_view kLlama3Pattern =
    R"re((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)re";
constexpr absl::string_view kQwen2Pattern =
    R"re((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)re";

// A value deep in a document, with the way to it for messages. Everything that is missing or of another type is "none".
class Node {
 public:
  Node(const Json* value, std::string way) : value_(value), way_(std::move(way)) {}

  Node operator[](const char* key) const {
    std::string way = way_.empty() ? key : absl::StrCat(way_, ".", key);
    if (value_ == nullptr || !value_->is_object()) return {nullptr, std::move(way)};
    const auto found = value_->find(key);
    return {found == value_->end() || found->is_null() ? nullptr : &*found, std::move(way)};
  }
  Node operator[](size_t index) const {
    const Json* element = index < size() ? &(*value_)[index] : nullptr;
    return {element, absl::StrCat(way_, "[", index, "]")};
  }

  const std::string& way() const { return way_; }
  const Json* value() const { return value_; }
  bool exists() const { return value_ != nullptr; }
  size_t size() const { return value_ != nullptr && value_->is_array() ? value_->size() : 0; }  // of an array
  bool is_object() const { return value_ != nullptr && value_->is_object(); }

  absl::string_view text() const {
    return value_ != nullptr && value_->is_string() ? absl::string_view(value_->get_ref<const std::string&>()) : "";
  }
  bool flag(bool missing) const { return value_ != nullptr && value_->is_boolean() ? value_->get<bool>() : missing; }
  // -1 for what is no token id.
  int32_t id() const {
    constexpr int64_t kMax = int64_t{1} << 24;
    if (value_ == nullptr || !value_->is_number_integer()) return -1;
    const int64_t number = value_->get<int64_t>();
    return number >= 0 && number < kMax ? static_cast<int32_t>(number) : -1;
  }

 private:
  const Json* value_;
  std::string way_;
};

class TokenizerJsonReader {
 public:
  TokenizerJsonReader(std::string path, const Json& root) : path_(std::move(path)), root_(&root, "") {}

  absl::StatusOr<TokenizerSpec> Read() {
    ILRE_RETURN_IF_ERROR(ReadModelOptions());
    const bool metaspace = root_["pre_tokenizer"]["type"].text() == "Metaspace";
    // Gemma cuts at blanks, of which its normaliser leaves none.
    const bool at_blanks = root_["pre_tokenizer"]["pattern"]["String"].text() == " ";
    if (root_["model"]["byte_fallback"].flag(false) && (metaspace || at_blanks || !root_["pre_tokenizer"].exists())) {
      ILRE_RETURN_IF_ERROR(metaspace ? ReadMetaspace() : ReadPrependNormalizer());
    } else {
      ILRE_RETURN_IF_ERROR(ReadByteLevelNormalizer());
      ILRE_RETURN_IF_ERROR(ReadPreTokenizer());
    }
    ILRE_RETURN_IF_ERROR(ReadTokens());
    ILRE_RETURN_IF_ERROR(ReadMerges());
    ReadPostProcessor(root_["post_processor"]);
    return std::move(spec_);
  }

 private:
  absl::Status Error(const Node& node, absl::string_view why) const {
    return errors::BadModelFile(path_, absl::StrCat(node.way(), " ", why));
  }
  absl::Status Unsupported(const Node& node, absl::string_view what) const {
    return Error(node, absl::StrCat("is \"", absl::CHexEscape(what), "\", which is not supported"));
  }

  absl::Status ReadModelOptions();
  absl::Status ReadByteLevelNormalizer() const;
  absl::Status ReadPrependNormalizer();
  absl::Status ReadMetaspace();
  absl::Status ReadPreTokenizer();
  absl::Status ReadSplit(const Node& split);
  absl::Status CheckByteLevel(const Node& node, bool use_regex) const;
  absl::Status ReadTokens();
  absl::Status AddToken(const Node& where, absl::string_view spelling, int32_t id, TokenType type, size_t most);
  absl::Status ReadAddedTokens(size_t most);
  void MarkBytes();
  absl::Status ReadMerges();
  void ReadPostProcessor(const Node& node);

  const std::string path_;
  const Node root_;
  TokenizerSpec spec_;
};

absl::Status TokenizerJsonReader::ReadModelOptions() {
  const Node model = root_["model"];
  const absl::string_view type = model["type"].text();
  // Files from before the type was written have a BPE's merges.
  if (type != "BPE" && !(type.empty() && model["merges"].exists())) return Unsupported(model["type"], type);
  for (const char* affix : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    if (!model[affix].text().empty()) return Unsupported(model[affix], model[affix].text());
  }
  spec_.ignore_merges = model["ignore_merges"].flag(false);
  return absl::OkStatus();
}

// ------------------------------------------------------------------------------------------------ SentencePiece

// A normaliser that writes U+2581 before the text and for each space.
absl::Status TokenizerJsonReader::ReadPrependNormalizer() {
  spec_.kind = TokenizerKind::kSentencePiece;
  const Node normalizer = root_["normalizer"];
  std::vector<Node> steps = {normalizer};
  if (normalizer["type"].text() == "Sequence") {
    steps.clear();
    const Node list = normalizer["normalizers"];
    for (size_t i = 0; i < list.size(); ++i) steps.push_back(list[i]);
  }
  bool replaces = false;
  for (const Node& step : steps) {
    const absl::string_view type = step["type"].text();
    if (type == "Prepend" && step["prepend"].text() == kSpaceMark && !replaces) {
      spec_.add_space_prefix = true;
    } else if (type == "Replace" && step["pattern"]["String"].text() == " " && step["content"].text() == kSpaceMark) {
      replaces = true;
    } else {
      return Unsupported(step["type"], type);
    }
  }
  return replaces ? absl::OkStatus() : Error(normalizer, "does not write spaces as U+2581");
}

absl::Status TokenizerJsonReader::ReadMetaspace() {
  spec_.kind = TokenizerKind::kSentencePiece;
  if (root_["normalizer"].exists()) return Unsupported(root_["normalizer"]["type"], root_["normalizer"]["type"].text());
  const Node node = root_["pre_tokenizer"];
  if (node["replacement"].text() != kSpaceMark) return Unsupported(node["replacement"], node["replacement"].text());
  if (node["split"].flag(true)) return Error(node["split"], "is not false, which is not supported");
  const absl::string_view scheme = node["prepend_scheme"].text();
  if (scheme != "first" && scheme != "never") return Unsupported(node["prepend_scheme"], scheme);
  spec_.add_space_prefix = spec_.space_prefix_if_missing = scheme == "first";
  return absl::OkStatus();
}

// ------------------------------------------------------------------------------------------------ byte-level BPE

absl::Status TokenizerJsonReader::ReadByteLevelNormalizer() const {
  const Node normalizer = root_["normalizer"];
  const absl::string_view type = normalizer["type"].text();
  const bool is_empty = type == "Sequence" && normalizer["normalizers"].size() == 0;
  if (!normalizer.exists() || type == "NFC" || is_empty) return absl::OkStatus();
  return Unsupported(normalizer["type"], type);
}

absl::Status TokenizerJsonReader::CheckByteLevel(const Node& node, bool use_regex) const {
  if (node["type"].text() != "ByteLevel") return Unsupported(node["type"], node["type"].text());
  if (node["add_prefix_space"].flag(true)) return Error(node["add_prefix_space"], "is set, which is not supported");
  if (node["use_regex"].flag(true) != use_regex) return Error(node["use_regex"], "is not as in any known tokenizer");
  return absl::OkStatus();
}

absl::Status TokenizerJsonReader::ReadPreTokenizer() {
  spec_.kind = TokenizerKind::kByteLevelBpe;
  const Node node = root_["pre_tokenizer"];
  if (!node.exists()) return Error(node, "is missing");
  std::vector<Node> steps = {node};
  if (node["type"].text() == "Sequence") {
    steps.clear();
    const Node list = node["pretokenizers"];
    for (size_t i = 0; i < list.size(); ++i) steps.push_back(list[i]);
  }
  if (steps.size() == 1) {
    spec_.pre_tokenizer = PreTokenizerKind::kGpt2;
    return CheckByteLevel(steps[0], /*use_regex=*/true);
  }
  if (steps.size() != 2) return Error(node, absl::StrCat("is a sequence of ", steps.size(), ", not of 1 or 2"));
  const absl::string_view first = steps[0]["type"].text();
  if (first == "Split") {
    ILRE_RETURN_IF_ERROR(ReadSplit(steps[0]));
    return CheckByteLevel(steps[1], /*use_regex=*/false);
  }
  if (first != "Digits") return Unsupported(steps[0]["type"], first);
  const Node individual = steps[0]["individual_digits"];
  if (!individual.flag(false)) return Error(individual, "is not true, which is not supported");
  spec_.pre_tokenizer = PreTokenizerKind::kSmolLm;
  return CheckByteLevel(steps[1], /*use_regex=*/true);
}

absl::Status TokenizerJsonReader::ReadSplit(const Node& split) {
  if (split["behavior"].text() != "Isolated") return Unsupported(split["behavior"], split["behavior"].text());
  if (split["invert"].flag(false)) return Error(split["invert"], "is set, which is not supported");
  const Node pattern = split["pattern"]["Regex"];
  if (pattern.text() == kLlama3Pattern) {
    spec_.pre_tokenizer = PreTokenizerKind::kLlama3;
  } else if (pattern.text() == kQwen2Pattern) {
    spec_.pre_tokenizer = PreTokenizerKind::kQwen2;
  } else {
    return Unsupported(pattern, pattern.text());
  }
  return absl::OkStatus();
}

// ------------------------------------------------------------------------------------------------ vocabulary

absl::Status TokenizerJsonReader::AddToken(const Node& where, absl::string_view spelling, int32_t id, TokenType type,
                                           size_t most) {
  if (id < 0 || static_cast<size_t>(id) >= most) {
    return Error(where, absl::StrCat("gives \"", absl::CHexEscape(spelling), "\" an id that is not below ", most));
  }
  const size_t size = static_cast<size_t>(id) + 1;
  if (spec_.tokens.size() < size) {
    spec_.tokens.resize(size);
    spec_.types.resize(size, TokenType::kUnused);
  }
  if (spec_.types[id] != TokenType::kUnused && spec_.tokens[id] != spelling) {
    return Error(where, absl::StrCat("gives id ", id, " to two tokens"));
  }
  spec_.tokens[id] = std::string(spelling);
  spec_.types[id] = type;
  return absl::OkStatus();
}

absl::Status TokenizerJsonReader::ReadTokens() {
  const Node vocab = root_["model"]["vocab"];
  if (!vocab.is_object()) return Error(vocab, "is not an object");
  const size_t num_tokens = vocab.value()->size() + root_["added_tokens"].size();
  const size_t most = 2 * num_tokens + 1024;  // some holes are usual; memory must stay in proportion to the file
  for (const auto& [spelling, value] : vocab.value()->items()) {
    const Node id(&value, vocab.way());
    ILRE_RETURN_IF_ERROR(AddToken(vocab, spelling, id.id(), TokenType::kNormal, most));
  }
  if (spec_.kind == TokenizerKind::kSentencePiece) MarkBytes();
  return ReadAddedTokens(most);
}

void TokenizerJsonReader::MarkBytes() {
  for (size_t id = 0; id < spec_.tokens.size(); ++id) {
    const std::string& token = spec_.tokens[id];
    const bool is_byte = token.size() == 6 && token.compare(0, 3, "<0x") == 0 && token[5] == '>';
    if (is_byte) spec_.types[id] = TokenType::kByte;
  }
}

absl::Status TokenizerJsonReader::ReadAddedTokens(size_t most) {
  const Node added = root_["added_tokens"];
  const absl::string_view unknown = root_["model"]["unk_token"].text();
  for (size_t i = 0; i < added.size(); ++i) {
    const absl::string_view spelling = added[i]["content"].text();
    TokenType type = added[i]["special"].flag(false) ? TokenType::kControl : TokenType::kUserDefined;
    if (spec_.kind == TokenizerKind::kSentencePiece && spelling == unknown) type = TokenType::kUnknown;
    ILRE_RETURN_IF_ERROR(AddToken(added[i], spelling, added[i]["id"].id(), type, most));
  }
  return absl::OkStatus();
}

// Either "left right" or ["left", "right"].
absl::Status TokenizerJsonReader::ReadMerges() {
  const Node merges = root_["model"]["merges"];
  spec_.merges.reserve(merges.size());
  for (size_t i = 0; i < merges.size(); ++i) {
    const Json& merge = (*merges.value())[i];
    if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
      spec_.merges.emplace_back(merge[0].get<std::string>(), merge[1].get<std::string>());
      continue;
    }
    const std::string text = merge.is_string() ? merge.get<std::string>() : "";
    const size_t space = text.find(' ');
    if (space == std::string::npos) return Error(merges[i], "is not of two tokens");
    spec_.merges.emplace_back(text.substr(0, space), text.substr(space + 1));
  }
  return absl::OkStatus();
}

// A template that begins with a special token asks for that begin token.
void TokenizerJsonReader::ReadPostProcessor(const Node& node) {
  const Node list = node["processors"];
  for (size_t i = 0; i < list.size(); ++i) {
    if (list[i]["type"].text() == "TemplateProcessing") ReadPostProcessor(list[i]);
  }
  if (node["type"].text() != "TemplateProcessing") return;
  const absl::string_view first = node["single"][size_t{0}]["SpecialToken"]["id"].text();
  if (first.empty()) return;
  const auto found = std::find(spec_.tokens.begin(), spec_.tokens.end(), std::string(first));
  if (found == spec_.tokens.end()) return;
  spec_.bos_id = static_cast<int32_t>(found - spec_.tokens.begin());
  spec_.add_bos = true;
}

// ------------------------------------------------------------------------------------------------ the other files

absl::StatusOr<Json> Parse(const std::string& path, absl::string_view bytes) {
  JsonLimits limits;
  limits.max_values = 4'000'000;  // a vocabulary of 262,144 tokens with merges as pairs has about half of that
  return ParseJsonObject(path, bytes, limits);
}

// The id of a token that a file names by its spelling, or as {"content": spelling}; -1 if none.
int32_t NamedToken(const TokenizerSpec& spec, const Node& node) {
  const absl::string_view spelling = node.is_object() ? node["content"].text() : node.text();
  if (spelling.empty()) return -1;
  const auto found = std::find(spec.tokens.begin(), spec.tokens.end(), std::string(spelling));
  return found == spec.tokens.end() ? -1 : static_cast<int32_t>(found - spec.tokens.begin());
}

// A number, or a list of them; ids outside the vocabulary are left out.
std::vector<int32_t> Ids(const TokenizerSpec& spec, const Node& node) {
  std::vector<int32_t> ids;
  const auto add = [&](int32_t id) {
    if (id >= 0 && static_cast<size_t>(id) < spec.tokens.size()) ids.push_back(id);
  };
  add(node.id());
  for (size_t i = 0; i < node.size(); ++i) add(node[i].id());
  return ids;
}

// One template, or a list of named ones, of which "default" is meant.
absl::string_view DefaultTemplate(const Node& node) {
  if (!node.text().empty()) return node.text();
  for (size_t i = 0; i < node.size(); ++i) {
    if (node[i]["name"].text() == "default") return node[i]["template"].text();
  }
  return node[size_t{0}]["template"].text();
}

void ReadTokenizerConfig(const Node& config, TokenizerSpec* spec) {
  const int32_t bos = NamedToken(*spec, config["bos_token"]);
  if (bos >= 0) spec->bos_id = bos;
  const int32_t eos = NamedToken(*spec, config["eos_token"]);
  if (eos >= 0) spec->eos_id = eos;
  spec->add_bos = config["add_bos_token"].flag(spec->add_bos);
  spec->chat_template = std::string(DefaultTemplate(config["chat_template"]));
}

// What tokenizer_config.json leaves open, and further stop tokens.
std::vector<int32_t> ReadIdsFrom(const Node& config, TokenizerSpec* spec) {
  const std::vector<int32_t> bos = Ids(*spec, config["bos_token_id"]), eos = Ids(*spec, config["eos_token_id"]);
  if (spec->bos_id < 0 && !bos.empty()) spec->bos_id = bos[0];
  if (spec->eos_id < 0 && !eos.empty()) spec->eos_id = eos[0];
  return eos;
}

absl::StatusOr<TokenizerSpec> ReadVocabulary(const std::string& folder, const TokenizerJsonFiles& files) {
  if (files.tokenizer.empty())
    return ParseSentencePieceModel(absl::StrCat(folder, "/tokenizer.model"), files.sentencepiece);
  const std::string path = absl::StrCat(folder, "/tokenizer.json");
  ILRE_ASSIGN_OR_RETURN(const Json json, Parse(path, files.tokenizer));
  return TokenizerJsonReader(path, json).Read();
}

}  // namespace

absl::StatusOr<TokenizerSpec> TokenizerSpecFromJson(const std::string& path, const TokenizerJsonFiles& files) {
  ILRE_ASSIGN_OR_RETURN(TokenizerSpec spec, ReadVocabulary(path, files));
  if (files.tokenizer.empty()) spec.add_bos = true;  // SentencePiece models do not say; Llama's and Mistral's want it
  if (!files.tokenizer_config.empty()) {
    ILRE_ASSIGN_OR_RETURN(const Json json, Parse(absl::StrCat(path, "/tokenizer_config.json"), files.tokenizer_config));
    ReadTokenizerConfig(Node(&json, ""), &spec);
  }
  std::vector<int32_t> stops;
  const std::pair<const char*, absl::string_view> configs[] = {{"generation_config.json", files.generation_config},
                                                               {"config.json", files.config}};
  for (const auto& [name, content] : configs) {
    if (content.empty()) continue;
    ILRE_ASSIGN_OR_RETURN(const Json json, Parse(absl::StrCat(path, "/", name), content));
    for (int32_t id : ReadIdsFrom(Node(&json, ""), &spec)) stops.push_back(id);
  }
  if (!files.chat_template.empty()) spec.chat_template = std::string(files.chat_template);
  spec.add_bos = spec.add_bos && spec.bos_id >= 0;
  SetStopIds(&spec, std::move(stops));
  return spec;
}

}  // namespace ilre
