#include "common/model/tokenizer.h"

#include <xxhash.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"
#include "common/model/wordwise_tokenizer.h"

namespace ilre {
namespace {

// A hash of values one behind the other, each string with its length.
class Hasher {
 public:
  Hasher() : state_(XXH3_createState(), &XXH3_freeState) { XXH3_64bits_reset(state_.get()); }
  void Add(uint64_t value) { XXH3_64bits_update(state_.get(), &value, sizeof(value)); }
  void Add(absl::string_view text) {
    Add(uint64_t{text.size()});
    XXH3_64bits_update(state_.get(), text.data(), text.size());
  }
  void AddBytes(const void* data, size_t size) { XXH3_64bits_update(state_.get(), data, size); }
  std::string Hex() { return absl::StrFormat("%016x", XXH3_64bits_digest(state_.get())); }

 private:
  std::unique_ptr<XXH3_state_t, decltype(&XXH3_freeState)> state_;
};

// Raised when this code begins to give other ids for the same spec.
constexpr uint64_t kRulesVersion = 1;

// SentencePiece's user-defined tokens are found in any text since the second version of the rules; no other tokenizer's
// ids have changed.
bool HasTextTokens(const TokenizerSpec& spec) {
  return spec.kind == TokenizerKind::kSentencePiece &&
         std::find(spec.types.begin(), spec.types.end(), TokenType::kUserDefined) != spec.types.end();
}

std::string Fingerprint(const TokenizerSpec& spec) {
  Hasher hasher;
  hasher.Add(kRulesVersion + uint64_t{HasTextTokens(spec)});
  hasher.Add(static_cast<uint64_t>(spec.kind));
  hasher.Add(static_cast<uint64_t>(spec.pre_tokenizer));
  hasher.Add(uint64_t{spec.space_prefix_if_missing} << 2 | uint64_t{spec.ignore_merges} << 1 |
             uint64_t{spec.add_space_prefix});
  hasher.Add(uint64_t{spec.tokens.size()});
  for (const std::string& token : spec.tokens) hasher.Add(token);
  hasher.AddBytes(spec.types.data(), spec.types.size() * sizeof(TokenType));
  hasher.Add(uint64_t{spec.scores.size()});
  hasher.AddBytes(spec.scores.data(), spec.scores.size() * sizeof(float));
  hasher.Add(uint64_t{spec.merges.size()});
  for (const auto& [left, right] : spec.merges) {
    hasher.Add(left);
    hasher.Add(right);
  }
  return hasher.Hex();
}

}  // namespace

absl::StatusOr<std::unique_ptr<Tokenizer>> Tokenizer::Create(TokenizerSpec spec) {
  std::string fingerprint = Fingerprint(spec);
  absl::StatusOr<std::unique_ptr<Tokenizer>> tokenizer = spec.kind == TokenizerKind::kByteLevelBpe
                                                             ? CreateByteLevelBpe(std::move(spec))
                                                             : CreateSentencePiece(std::move(spec));
  if (tokenizer.ok()) (*tokenizer)->fingerprint_ = std::move(fingerprint);
  return tokenizer;
}

std::vector<TokenId> Tokenizer::EncodeIds(absl::string_view text, SpecialTokens special, TextPosition position) const {
  return Encode(text, special, position).ids;
}

std::string Tokenizer::Decode(absl::Span<const TokenId> ids) const {
  std::string text;
  for (TokenId id : ids) {
    const absl::string_view bytes = TokenBytes(id);
    text.append(bytes.data(), bytes.size());
  }
  return text;
}

bool Tokenizer::IsControl(TokenId id) const {
  if (id < 0 || id >= vocab_size()) return false;
  return spec_.types[id] == TokenType::kControl || spec_.types[id] == TokenType::kUnknown;
}

bool Tokenizer::IsStop(TokenId id) const {
  return std::find(spec_.stop_ids.begin(), spec_.stop_ids.end(), id) != spec_.stop_ids.end();
}

}  // namespace ilre
