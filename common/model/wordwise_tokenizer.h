// What byte-level BPE and SentencePiece have in common: text is cut into words, and each word has tokens of its own.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "common/model/bpe_merger.h"
#include "common/model/pre_tokenizer.h"
#include "common/model/special_tokens.h"
#include "common/model/tokenizer.h"
#include "common/model/word_table.h"

namespace ilre {

// Thread-safe: constant after creation.
class WordwiseTokenizer : public Tokenizer {
 public:
  Tokens Encode(absl::string_view text, SpecialTokens special, TextPosition position) const final;
  size_t SafePrefix(absl::string_view buffer) const final;
  absl::string_view TokenBytes(TokenId id) const final;
  TokenId FindToken(absl::string_view spelling) const final;

 protected:
  struct Scratch {
    std::vector<BpeSymbol> symbols;
    BpeMerger::Scratch merger;
    std::string prefixed;
  };

  // Takes the spec over, checks what every kind needs, and indexes the spellings. To be called first.
  absl::Status Init(TokenizerSpec spec);
  // What each token stands for; called once, for all ids in order. Empty for control tokens.
  void AddTokenBytes(absl::string_view bytes);
  // Makes special tokens known and fills the table of words that are one token; to be called last.
  void Finish();

  // A normal token takes part in merging; control tokens must never come out of it.
  bool IsNormal(TokenId id) const { return spec_.types[id] == TokenType::kNormal; }

  // The word of `text` that begins at `begin`; at most kMaxWordBytes.
  virtual WordEnd ScanWord(absl::string_view text, size_t begin) const = 0;
  // Appends the tokens of `word` by the rules alone; ends are counted from `base`.
  virtual void MergeWord(absl::string_view word, uint32_t base, Scratch* scratch, Tokens* tokens) const = 0;
  // Whether a blank behind a character that is no space begins a word in every text.
  virtual bool BlankBeginsWord() const = 0;
  // Whether user-defined tokens are words wherever they stand in a text, as SentencePiece has them. Each is of at most
  // kMaxTextTokenBytes then, without a blank behind another character if BlankBeginsWord.
  virtual bool UserDefinedAreText() const { return false; }
  static constexpr size_t kMaxTextTokenBytes = 64;
  // Whether the vocabulary can say this byte at all.
  virtual bool HasByte(uint8_t byte) const = 0;

 private:
  void EncodeText(absl::string_view text, uint32_t base, bool space_prefix, RecentWords* recent, Scratch* scratch,
                  Tokens* tokens) const;
  void EncodeWord(absl::string_view all, uint32_t begin, uint32_t end, RecentWords* recent, Scratch* scratch,
                  Tokens* tokens) const;
  void EncodePrefixedWord(absl::string_view word, uint32_t base, Scratch* scratch, Tokens* tokens) const;
  bool IsOneToken(TokenId id, Scratch* scratch) const;

  absl::flat_hash_map<absl::string_view, TokenId> ids_;  // by spelling
  std::string token_bytes_;                              // of all tokens, one behind the other
  std::vector<size_t> token_begins_{0};                  // [vocab_size + 1] offsets in token_bytes_
  SpecialTokenFinder special_tokens_;                    // of texts in which they are parsed
  SpecialTokenFinder text_tokens_;                       // of any text
  WordTable one_token_words_;
};

absl::StatusOr<std::unique_ptr<Tokenizer>> CreateByteLevelBpe(TokenizerSpec spec);
absl::StatusOr<std::unique_ptr<Tokenizer>> CreateSentencePiece(TokenizerSpec spec);

// INVALID_ARGUMENT with reason BAD_TOKENIZER: a spec that contradicts itself.
absl::Status BadTokenizer(absl::string_view why);
// The same for merge number `rank` of the spec.
absl::Status BadMerge(size_t rank, absl::string_view left, absl::string_view right, bool is_token);

}  // namespace ilre
