// BPE over characters with byte fallback, as SentencePiece trains it and Llama 2 and Mistral have it.
//
// T. Kudo, J. Richardson, SentencePiece (EMNLP 2018). Of two neighbouring pieces whose union is a piece, those with the
// best-scored union are merged first, the leftmost of equals; what is no piece at the end is written byte by byte.
//
// SentencePiece merges over the whole text. Here the text is cut first wherever two characters are neighbours in no
// piece at all: no merge can cross such a place, so the result is the same, and words are short.

#include <algorithm>
#include <array>
#include <bitset>
#include <functional>
#include <memory>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/memory/memory.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "common/base/status_macros.h"
#include "common/base/utf8.h"
#include "common/model/wordwise_tokenizer.h"

namespace ilre {
namespace {

constexpr char kSpaceMark[] = "\xE2\x96\x81";  // U+2581, stands for a space in the vocabulary
constexpr uint32_t kSpaceMarkCodePoint = 0x2581;
constexpr size_t kMaxTokenBytes = 512;  // bounds the time to build the table of merges

std::string TextOf(absl::string_view spelling) { return absl::StrReplaceAll(spelling, {{kSpaceMark, " "}}); }

// The byte of a token such as "<0x0A>", or -1.
int ByteOf(absl::string_view spelling) {
  uint32_t byte = 0;
  const bool fits = spelling.size() == 6 && absl::ConsumePrefix(&spelling, "<0x") &&
                    absl::ConsumeSuffix(&spelling, ">") && absl::SimpleHexAtoi(spelling, &byte);
  return fits ? static_cast<int>(byte) : -1;
}

class SentencePieceTokenizer : public WordwiseTokenizer {
 public:
  static absl::StatusOr<std::unique_ptr<Tokenizer>> Create(TokenizerSpec spec) {
    if (spec.scores.empty() == spec.merges.empty()) {
      return BadTokenizer("SentencePiece needs either scores or merges");
    }
    auto tokenizer = absl::WrapUnique(new SentencePieceTokenizer);
    ILRE_RETURN_IF_ERROR(tokenizer->Init(std::move(spec)));
    ILRE_RETURN_IF_ERROR(tokenizer->ReadTokens());
    ILRE_RETURN_IF_ERROR(tokenizer->FindBytes());
    tokenizer->FindCharacters();
    ILRE_RETURN_IF_ERROR(tokenizer->CheckUserDefined());
    ILRE_ASSIGN_OR_RETURN(const std::vector<Pair> pairs, tokenizer->spec_.scores.empty()
                                                             ? tokenizer->PairsFromMerges()
                                                             : tokenizer->PairsFromScores());
    tokenizer->merger_ = BpeMerger(pairs.size());
    for (const Pair& pair : pairs) tokenizer->merger_.AddPair(pair.left, pair.right, pair.rank, pair.merged);
    tokenizer->Finish();
    return tokenizer;
  }

 protected:
  WordEnd ScanWord(absl::string_view text, size_t begin) const override;
  void MergeWord(absl::string_view word, uint32_t base, Scratch* scratch, Tokens* tokens) const override;
  bool BlankBeginsWord() const override { return blank_begins_word_; }
  bool UserDefinedAreText() const override { return true; }
  bool HasByte(uint8_t byte) const override { return true; }

 private:
  struct Pair {
    int32_t left, right;
    uint32_t rank;
    int32_t merged;
  };

  SentencePieceTokenizer() : merger_(0) {}

  absl::Status ReadTokens();
  absl::Status FindBytes();
  absl::Status CheckUserDefined();
  void FindCharacters();
  void AddNeighbours(absl::string_view text);
  absl::StatusOr<std::vector<Pair>> PairsFromMerges() const;
  absl::StatusOr<std::vector<Pair>> PairsFromScores() const;
  int32_t SymbolOfSpelling(absl::string_view spelling) const;

  // The symbol of a single character, or -1.
  int32_t SymbolOf(uint32_t code_point) const;
  bool Joins(uint32_t left, uint32_t right) const;

  // Symbols are tokens, and from vocab_size on characters that are no token but part of one.
  absl::flat_hash_map<uint32_t, int32_t> characters_;  // by code point
  std::array<int32_t, 128> ascii_;                     // the same
  absl::flat_hash_set<uint64_t> neighbours_;           // left << 32 | right: next to each other in some token
  std::bitset<128 * 128> ascii_neighbours_;            // the same: left * 128 + right
  bool blank_begins_word_ = true;
  std::array<TokenId, 256> byte_ids_;
  BpeMerger merger_;
};

int32_t SentencePieceTokenizer::SymbolOf(uint32_t code_point) const {
  if (code_point < 128) return ascii_[code_point];
  const auto found = characters_.find(code_point);
  return found == characters_.end() ? -1 : found->second;
}

bool SentencePieceTokenizer::Joins(uint32_t left, uint32_t right) const {
  if (left < 128 && right < 128) return ascii_neighbours_[left * 128 + right];
  return neighbours_.contains(uint64_t{left} << 32 | right);
}

// ---------------------------------------------------------------------------------------------------- encoding

WordEnd SentencePieceTokenizer::ScanWord(absl::string_view text, size_t begin) const {
  uint32_t left = 0;
  size_t end = begin + Utf8CharLength(text.substr(begin, 4), &left);
  if (end == begin) return {begin + 1, Utf8IsIncomplete(text.substr(begin, 4))};
  for (;;) {
    if (end >= text.size()) return {end, true};
    const absl::string_view rest = text.substr(end, 4);
    uint32_t right = 0;
    const size_t length = Utf8CharLength(rest, &right);
    if (length == 0) return {end, Utf8IsIncomplete(rest)};
    if (!Joins(left, right) || end + length - begin > kMaxWordBytes) return {end, false};
    left = right;
    end += length;
  }
}

void SentencePieceTokenizer::MergeWord(absl::string_view word, uint32_t base, Scratch* scratch, Tokens* tokens) const {
  std::vector<BpeSymbol>& symbols = scratch->symbols;
  symbols.clear();
  for (size_t at = 0; at < word.size();) {
    uint32_t code_point = 0;
    const size_t length = Utf8CharLength(word.substr(at, 4), &code_point);
    const int32_t symbol = length > 0 ? SymbolOf(code_point) : -1;
    const size_t end = at + std::max<size_t>(length, 1);
    if (symbol >= 0) {
      symbols.push_back({symbol, static_cast<uint32_t>(end)});
    } else {
      for (size_t i = at; i < end; ++i) {
        symbols.push_back({byte_ids_[static_cast<uint8_t>(word[i])], static_cast<uint32_t>(i + 1)});
      }
    }
    at = end;
  }
  merger_.Merge(&symbols, &scratch->merger);
  uint32_t begin = 0;
  for (const BpeSymbol& symbol : symbols) {
    if (symbol.id < vocab_size()) {
      tokens->ids.push_back(symbol.id);
      tokens->ends.push_back(base + symbol.end);
    } else {
      for (uint32_t i = begin; i < symbol.end; ++i) {
        tokens->ids.push_back(byte_ids_[static_cast<uint8_t>(word[i])]);
        tokens->ends.push_back(base + i + 1);
      }
    }
    begin = symbol.end;
  }
}

// ---------------------------------------------------------------------------------------------------- creation

absl::Status SentencePieceTokenizer::ReadTokens() {
  for (TokenId id = 0; id < vocab_size(); ++id) {
    const std::string& spelling = spec_.tokens[id];
    if (IsNormal(id) && (spelling.size() > kMaxTokenBytes || Utf8ValidPrefix(spelling) < spelling.size())) {
      return BadTokenizer(absl::StrCat("token ", id, " is not UTF-8 of at most ", kMaxTokenBytes, " bytes"));
    }
    if (IsNormal(id) || spec_.types[id] == TokenType::kUserDefined) {
      AddTokenBytes(TextOf(spelling));
    } else if (spec_.types[id] == TokenType::kByte) {
      const int byte = ByteOf(spelling);
      if (byte < 0) {
        return BadTokenizer(absl::StrCat("byte token ", id, " is spelled \"", absl::CHexEscape(spelling), "\""));
      }
      AddTokenBytes(std::string(1, static_cast<char>(byte)));
    } else {
      AddTokenBytes({});
    }
  }
  return absl::OkStatus();
}

absl::Status SentencePieceTokenizer::FindBytes() {
  byte_ids_.fill(-1);
  for (TokenId id = 0; id < vocab_size(); ++id) {
    if (spec_.types[id] == TokenType::kByte) byte_ids_[static_cast<uint8_t>(TokenBytes(id)[0])] = id;
  }
  for (size_t byte = 0; byte < byte_ids_.size(); ++byte) {
    if (byte_ids_[byte] >= 0) continue;
    return BadTokenizer(absl::StrFormat("there is no byte token <0x%02X>; SentencePiece needs byte fallback", byte));
  }
  return absl::OkStatus();
}

// User-defined tokens are found in a text before anything is merged (Gemma's of several line breaks, of several blanks
// and of HTML), the leftmost and longest first.
absl::Status SentencePieceTokenizer::CheckUserDefined() {
  for (TokenId id = 0; id < vocab_size(); ++id) {
    if (spec_.types[id] != TokenType::kUserDefined) continue;
    const absl::string_view text = TokenBytes(id);
    if (text.size() > kMaxTextTokenBytes) {
      return BadTokenizer(absl::StrCat("user-defined token ", id, " has over ", kMaxTextTokenBytes, " bytes"));
    }
    for (size_t at = 1; at < text.size(); ++at) {
      if (text[at] == ' ' && text[at - 1] != ' ') blank_begins_word_ = false;
    }
  }
  return absl::OkStatus();
}

// Which characters are symbols, and which are neighbours. A token spelled with a plain space can never be matched.
void SentencePieceTokenizer::FindCharacters() {
  const auto is_matched = [&](TokenId id) { return IsNormal(id) && !absl::StrContains(spec_.tokens[id], ' '); };
  for (TokenId id = 0; id < vocab_size(); ++id) {
    uint32_t code_point = 0;
    const absl::string_view text = TokenBytes(id);
    if (is_matched(id) && Utf8CharLength(text, &code_point) == text.size()) characters_.emplace(code_point, id);
  }
  int32_t next_symbol = static_cast<int32_t>(vocab_size());
  for (TokenId id = 0; id < vocab_size(); ++id) {
    if (!is_matched(id)) continue;
    const absl::string_view text = TokenBytes(id);
    for (size_t at = 0; at < text.size();) {
      uint32_t code_point = 0;
      at += Utf8CharLength(text.substr(at), &code_point);
      if (characters_.emplace(code_point, next_symbol).second) ++next_symbol;
    }
    AddNeighbours(text);
  }
  for (uint32_t c = 0; c < ascii_.size(); ++c) {
    const auto found = characters_.find(c);
    ascii_[c] = found == characters_.end() ? -1 : found->second;
  }
}

void SentencePieceTokenizer::AddNeighbours(absl::string_view text) {
  uint32_t left = 0;
  for (size_t at = Utf8CharLength(text, &left); at < text.size();) {
    uint32_t right = 0;
    at += Utf8CharLength(text.substr(at), &right);
    if (left < 128 && right < 128) {
      ascii_neighbours_.set(left * 128 + right);
    } else {
      neighbours_.insert(uint64_t{left} << 32 | right);
    }
    if (right == ' ' && CharClassOf(left, NumberRule::kPattern) != CharClass::kSpace) blank_begins_word_ = false;
    left = right;
  }
}

int32_t SentencePieceTokenizer::SymbolOfSpelling(absl::string_view spelling) const {
  const TokenId id = FindToken(spelling);
  if (id >= 0 && IsNormal(id)) return id;
  uint32_t code_point = 0;
  if (Utf8CharLength(spelling, &code_point) != spelling.size()) return -1;
  return SymbolOf(code_point == kSpaceMarkCodePoint ? ' ' : code_point);
}

absl::StatusOr<std::vector<SentencePieceTokenizer::Pair>> SentencePieceTokenizer::PairsFromMerges() const {
  std::vector<Pair> pairs;
  for (size_t rank = 0; rank < spec_.merges.size(); ++rank) {
    const auto& [left, right] = spec_.merges[rank];
    const TokenId ids[] = {FindToken(left), FindToken(right), FindToken(absl::StrCat(left, right))};
    bool can_happen = true;
    for (TokenId id : ids) {
      if (id >= 0 && IsNormal(id)) continue;
      // Gemma's merges make some of its user-defined tokens, which no text is left with when merging begins.
      if (id < 0 || spec_.types[id] != TokenType::kUserDefined) return BadMerge(rank, left, right, id >= 0);
      can_happen = false;
    }
    if (!can_happen) continue;
    pairs.push_back({ids[0], ids[1], static_cast<uint32_t>(rank), ids[2]});
  }
  return pairs;
}

absl::StatusOr<std::vector<SentencePieceTokenizer::Pair>> SentencePieceTokenizer::PairsFromScores() const {
  // Llama 2 has 61,249; tokens such as "aaa" of all lengths would give more than fit into memory.
  constexpr size_t kMaxPairs = 4'000'000;
  std::vector<float> best_first = spec_.scores;
  std::sort(best_first.begin(), best_first.end(), std::greater<>());
  best_first.erase(std::unique(best_first.begin(), best_first.end()), best_first.end());
  std::vector<Pair> pairs;
  for (TokenId id = 0; id < vocab_size(); ++id) {
    if (!IsNormal(id)) continue;
    const absl::string_view spelling = spec_.tokens[id];
    const auto rank = std::lower_bound(best_first.begin(), best_first.end(), spec_.scores[id], std::greater<>());
    for (size_t at = Utf8CharLength(spelling); at < spelling.size(); at += Utf8CharLength(spelling.substr(at))) {
      const int32_t left = SymbolOfSpelling(spelling.substr(0, at));
      if (left < 0) continue;
      const int32_t right = SymbolOfSpelling(spelling.substr(at));
      if (right < 0) continue;
      pairs.push_back({left, right, static_cast<uint32_t>(rank - best_first.begin()), id});
    }
    if (pairs.size() > kMaxPairs) return BadTokenizer(absl::StrCat("there are over ", kMaxPairs, " ways to merge"));
  }
  return pairs;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Tokenizer>> CreateSentencePiece(TokenizerSpec spec) {
  return SentencePieceTokenizer::Create(std::move(spec));
}

}  // namespace ilre
