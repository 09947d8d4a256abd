// The tokenizer in GGUF metadata: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md#tokenizer

#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "common/base/errors.h"
#include "common/base/status_macros.h"
#include "common/model/stop_tokens.h"
#include "common/model/tokenizer_files.h"

namespace ilre {
namespace {

using Kind = GgufValue::Kind;

// Reads typed values, with errors that name file and key.
class MetadataReader {
 public:
  explicit MetadataReader(const GgufFile& file) : file_(file) {}

  absl::Status Error(absl::string_view key, absl::string_view why) const {
    return errors::BadModelFile(file_.path(), absl::StrCat("tokenizer.ggml.", key, " ", why));
  }

  // nullptr where there is no such key; an error where it is of another kind.
  absl::StatusOr<const GgufValue*> Find(absl::string_view key, Kind kind) const {
    const GgufValue* value = file_.FindValue(absl::StrCat("tokenizer.ggml.", key));
    if (value != nullptr && value->kind != kind) return Error(key, "is of another type than it should be");
    return value;
  }
  absl::StatusOr<const GgufValue*> Require(absl::string_view key, Kind kind) const {
    ILRE_ASSIGN_OR_RETURN(const GgufValue* value, Find(key, kind));
    if (value == nullptr) return Error(key, "is missing");
    return value;
  }
  // `missing` where there is no such key.
  absl::StatusOr<bool> Bool(absl::string_view key, bool missing) const {
    ILRE_ASSIGN_OR_RETURN(const GgufValue* value, Find(key, Kind::kBool));
    return value == nullptr ? missing : value->integer != 0;
  }
  // A token id of a vocabulary of `size`; `missing` where there is no such key.
  absl::StatusOr<int32_t> Id(absl::string_view key, size_t size, int32_t missing) const {
    ILRE_ASSIGN_OR_RETURN(const GgufValue* value, Find(key, Kind::kInteger));
    if (value == nullptr) return missing;
    if (value->integer < 0 || static_cast<uint64_t>(value->integer) >= size) {
      return Error(key, absl::StrCat("is ", value->integer, ", of ", size, " tokens"));
    }
    return static_cast<int32_t>(value->integer);
  }

 private:
  const GgufFile& file_;
};

absl::Status ReadVocabulary(const MetadataReader& reader, TokenizerSpec* spec) {
  ILRE_ASSIGN_OR_RETURN(const GgufValue* tokens, reader.Require("tokens", Kind::kStringArray));
  for (absl::string_view token : tokens->strings) spec->tokens.emplace_back(token);
  ILRE_ASSIGN_OR_RETURN(const GgufValue* types, reader.Require("token_type", Kind::kIntegerArray));
  if (types->integers.size() != spec->tokens.size()) {
    return reader.Error("token_type",
                        absl::StrCat("has ", types->integers.size(), " entries for ", spec->tokens.size(), " tokens"));
  }
  for (int64_t type : types->integers) {
    if (type < 1 || type > 6) return reader.Error("token_type", absl::StrCat("has the unknown type ", type));
    spec->types.push_back(static_cast<TokenType>(type));
  }
  return absl::OkStatus();
}

absl::Status ReadScores(const MetadataReader& reader, TokenizerSpec* spec) {
  ILRE_ASSIGN_OR_RETURN(const GgufValue* scores, reader.Require("scores", Kind::kFloatArray));
  if (scores->reals.size() != spec->tokens.size()) {
    return reader.Error("scores",
                        absl::StrCat("has ", scores->reals.size(), " entries for ", spec->tokens.size(), " tokens"));
  }
  for (double score : scores->reals) spec->scores.push_back(static_cast<float>(score));
  return absl::OkStatus();
}

absl::Status ReadMerges(const MetadataReader& reader, TokenizerSpec* spec) {
  ILRE_ASSIGN_OR_RETURN(const GgufValue* merges, reader.Require("merges", Kind::kStringArray));
  for (absl::string_view merge : merges->strings) {
    // The alphabet of byte-level BPE writes a space as another character, so the only one is between the two.
    const size_t space = merge.find(' ', 1);
    if (space == absl::string_view::npos) return reader.Error("merges", "has an entry that is not of two tokens");
    spec->merges.emplace_back(std::string(merge.substr(0, space)), std::string(merge.substr(space + 1)));
  }
  return absl::OkStatus();
}

struct KnownPreTokenizer {
  absl::string_view name;
  PreTokenizerKind kind;
  bool ignore_merges;
  bool add_bos;  // where the file does not say
};

// As llama.cpp names and treats them (src/llama-vocab.cpp).
constexpr KnownPreTokenizer kPreTokenizers[] = {
    {"gpt-2", PreTokenizerKind::kGpt2, false, false},
    {"smollm", PreTokenizerKind::kSmolLm, false, false},
    {"starcoder", PreTokenizerKind::kSmolLm, false, false},
    {"refact", PreTokenizerKind::kSmolLm, false, false},
    {"llama-bpe", PreTokenizerKind::kLlama3, true, true},
    {"llama3", PreTokenizerKind::kLlama3, true, true},
    {"llama-v3", PreTokenizerKind::kLlama3, true, true},
    {"qwen2", PreTokenizerKind::kQwen2, false, false},
    {"deepseek-r1-qwen", PreTokenizerKind::kQwen2, false, false},
};

absl::Status ReadByteLevel(const MetadataReader& reader, TokenizerSpec* spec) {
  spec->kind = TokenizerKind::kByteLevelBpe;
  ILRE_ASSIGN_OR_RETURN(const GgufValue* pre, reader.Require("pre", Kind::kString));
  for (const KnownPreTokenizer& known : kPreTokenizers) {
    if (known.name != pre->string) continue;
    spec->pre_tokenizer = known.kind;
    spec->ignore_merges = known.ignore_merges;
    spec->add_bos = known.add_bos;
    ILRE_ASSIGN_OR_RETURN(const bool prefix, reader.Bool("add_space_prefix", false));
    if (prefix) return reader.Error("add_space_prefix", "is set, which byte-level BPE does not support here");
    return ReadMerges(reader, spec);
  }
  return reader.Error("pre", absl::StrCat("is \"", pre->string, "\", a pre-tokenizer that is not supported"));
}

absl::Status ReadSentencePiece(const MetadataReader& reader, TokenizerSpec* spec) {
  spec->kind = TokenizerKind::kSentencePiece;
  spec->add_bos = true;
  ILRE_ASSIGN_OR_RETURN(spec->add_space_prefix, reader.Bool("add_space_prefix", true));
  return ReadScores(reader, spec);
}

// Where the format has defaults they are those of llama.cpp.
absl::Status ReadSpecialIds(const MetadataReader& reader, TokenizerSpec* spec) {
  const size_t size = spec->tokens.size();
  const bool piece = spec->kind == TokenizerKind::kSentencePiece;
  ILRE_ASSIGN_OR_RETURN(spec->bos_id, reader.Id("bos_token_id", size, piece && size > 1 ? 1 : -1));
  ILRE_ASSIGN_OR_RETURN(spec->eos_id, reader.Id("eos_token_id", size, piece && size > 2 ? 2 : -1));
  ILRE_ASSIGN_OR_RETURN(spec->add_bos, reader.Bool("add_bos_token", spec->add_bos));
  spec->add_bos = spec->add_bos && spec->bos_id >= 0;
  std::vector<int32_t> stops;
  for (absl::string_view key : {"eot_token_id", "eom_token_id"}) {
    ILRE_ASSIGN_OR_RETURN(const int32_t id, reader.Id(key, size, -1));
    stops.push_back(id);
  }
  SetStopIds(spec, std::move(stops));
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<TokenizerSpec> TokenizerSpecFromGguf(const GgufFile& file) {
  const MetadataReader reader(file);
  TokenizerSpec spec;
  ILRE_ASSIGN_OR_RETURN(const GgufValue* model, reader.Require("model", Kind::kString));
  ILRE_RETURN_IF_ERROR(ReadVocabulary(reader, &spec));
  if (model->string == "gpt2") {
    ILRE_RETURN_IF_ERROR(ReadByteLevel(reader, &spec));
  } else if (model->string == "llama") {
    ILRE_RETURN_IF_ERROR(ReadSentencePiece(reader, &spec));
  } else {
    return reader.Error("model", absl::StrCat("is \"", model->string, "\"; supported are \"gpt2\" and \"llama\""));
  }
  ILRE_RETURN_IF_ERROR(ReadSpecialIds(reader, &spec));
  const GgufValue* chat_template = file.FindValue("tokenizer.chat_template");
  if (chat_template != nullptr && chat_template->kind == Kind::kString) {
    spec.chat_template = std::string(chat_template->string);
  }
  return spec;
}

}  // namespace ilre
