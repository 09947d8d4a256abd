// Reads the few fields that matter of the messages in
// https://github.com/google/sentencepiece/blob/master/src/sentencepiece_model.proto, by the wire format of
// https://protobuf.dev/programming-guides/encoding/. The library of SentencePiece would do more than is needed, and
// hide the normaliser's settings.

#include "common/model/sentencepiece_proto.h"

#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "common/base/errors.h"
#include "common/base/status_macros.h"

namespace ilre {
namespace {

struct Field {
  uint32_t number = 0;
  uint64_t integer = 0;     // of a varint or a fixed width
  absl::string_view bytes;  // of a length-delimited field
};

// Takes a varint off the front of `rest`; false if it is cut off or too long.
bool TakeVarint(absl::string_view* rest, uint64_t* value) {
  *value = 0;
  for (int shift = 0; shift < 64 && !rest->empty(); shift += 7) {
    const uint8_t byte = static_cast<uint8_t>(rest->front());
    rest->remove_prefix(1);
    *value |= uint64_t{byte & 0x7Fu} << shift;
    if (byte < 0x80) return true;
  }
  return false;
}

// The bytes of a field of fixed size.
bool TakeFixed(absl::string_view* rest, size_t size, Field* field) {
  if (rest->size() < size) return false;
  std::memcpy(&field->integer, rest->data(), size);
  rest->remove_prefix(size);
  return true;
}

bool TakeField(absl::string_view* rest, Field* field) {
  uint64_t tag = 0, size = 0;
  if (!TakeVarint(rest, &tag) || tag >> 3 > 0x1FFFFFFF) return false;
  *field = Field{static_cast<uint32_t>(tag >> 3)};
  switch (tag & 7) {
    case 0:
      return TakeVarint(rest, &field->integer);
    case 1:
      return TakeFixed(rest, 8, field);
    case 2:
      if (!TakeVarint(rest, &size) || size > rest->size()) return false;
      field->bytes = rest->substr(0, size);
      rest->remove_prefix(size);
      return true;
    case 5:
      return TakeFixed(rest, 4, field);
    default:
      return false;
  }
}

class ModelParser {
 public:
  explicit ModelParser(const std::string& path) : path_(path) {}

  absl::StatusOr<TokenizerSpec> Parse(absl::string_view bytes) {
    spec_.kind = TokenizerKind::kSentencePiece;
    spec_.add_space_prefix = true;  // this and the ids are the format's defaults
    spec_.bos_id = 1;
    spec_.eos_id = 2;
    ILRE_RETURN_IF_ERROR(ForEach(bytes, [this](const Field& field) { return OfModel(field); }));
    if (model_type_ != 2) return Error(absl::StrCat("model type ", model_type_, "; only BPE (2) is supported"));
    if (rewrites_ || removes_spaces_) return Error("its normaliser rewrites text, which is not supported");
    if (spec_.tokens.empty()) return Error("it has no pieces");
    ILRE_RETURN_IF_ERROR(CheckId("the begin token", &spec_.bos_id));
    ILRE_RETURN_IF_ERROR(CheckId("the end token", &spec_.eos_id));
    return std::move(spec_);
  }

 private:
  absl::Status Error(absl::string_view why) const { return errors::BadModelFile(path_, why); }

  // Negative: there is no such token.
  absl::Status CheckId(absl::string_view what, int32_t* id) const {
    if (*id < 0) *id = -1;
    if (*id < static_cast<int64_t>(spec_.tokens.size())) return absl::OkStatus();
    return Error(absl::StrCat(what, " is ", *id, ", of ", spec_.tokens.size(), " pieces"));
  }

  template <typename Handler>
  absl::Status ForEach(absl::string_view message, const Handler& handler) {
    while (!message.empty()) {
      Field field;
      if (!TakeField(&message, &field)) return Error("it is not a protocol buffer, or it is cut off");
      ILRE_RETURN_IF_ERROR(handler(field));
    }
    return absl::OkStatus();
  }

  absl::Status OfModel(const Field& field) {
    if (field.number == 1) return OfPieces(field.bytes);
    if (field.number == 2) return ForEach(field.bytes, [this](const Field& f) { return OfTrainer(f); });
    if (field.number == 3) return ForEach(field.bytes, [this](const Field& f) { return OfNormalizer(f); });
    return absl::OkStatus();
  }

  absl::Status OfPieces(absl::string_view message) {
    std::string piece;
    float score = 0;
    uint64_t type = 1;
    ILRE_RETURN_IF_ERROR(ForEach(message, [&](const Field& field) {
      if (field.number == 1) piece = std::string(field.bytes);
      if (field.number == 2) std::memcpy(&score, &field.integer, sizeof(score));
      if (field.number == 3) type = field.integer;
      return absl::OkStatus();
    }));
    if (type < 1 || type > 6) return Error(absl::StrCat("piece ", spec_.tokens.size(), " has the type ", type));
    spec_.tokens.push_back(std::move(piece));
    spec_.scores.push_back(score);
    spec_.types.push_back(static_cast<TokenType>(type));  // both count alike
    return absl::OkStatus();
  }

  absl::Status OfTrainer(const Field& field) {
    if (field.number == 3) model_type_ = field.integer;
    if (field.number == 41) spec_.bos_id = static_cast<int32_t>(field.integer);
    if (field.number == 42) spec_.eos_id = static_cast<int32_t>(field.integer);
    if (field.number == 24 && field.integer != 0) return Error("spaces behind words are not supported");
    return absl::OkStatus();
  }

  absl::Status OfNormalizer(const Field& field) {
    if (field.number == 2 && !field.bytes.empty()) rewrites_ = true;
    if (field.number == 3) spec_.add_space_prefix = field.integer != 0;
    if (field.number == 4) removes_spaces_ = field.integer != 0;
    if (field.number == 5 && field.integer == 0) return Error("unescaped spaces are not supported");
    return absl::OkStatus();
  }

  const std::string& path_;
  TokenizerSpec spec_;
  uint64_t model_type_ = 1;  // unigram, the format's default
  bool rewrites_ = false;
  bool removes_spaces_ = true;  // the format's default
};

}  // namespace

absl::StatusOr<TokenizerSpec> ParseSentencePieceModel(const std::string& path, absl::string_view bytes) {
  return ModelParser(path).Parse(bytes);
}

}  // namespace ilre
