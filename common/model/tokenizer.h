// Text to token ids and back.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "common/model/tokenizer_spec.h"

namespace ilre {

using TokenId = int32_t;

// What of a text becomes which token. Bytes and tokens are in order and complete: token i stands for the bytes
// [ends[i - 1], ends[i]) of the text (from 0 for the first), so ends.back() is the text's size. Several tokens may
// share a character; a token may be empty of text (a prefix space that SentencePiece adds).
struct Tokens {
  std::vector<TokenId> ids;
  std::vector<uint32_t> ends;  // byte offset after each token, counted from the text's start
};

// Whether control tokens written in a text (such as <|im_end|>) are understood. Text from outside must use kPlainText:
// it can then never forge the end of a turn.
enum class SpecialTokens { kPlainText, kParse };

// Where a text stands, for tokenizers that treat a beginning differently (SentencePiece's prefix space).
enum class TextPosition { kStart, kContinued };

// Thread-safe: constant after Create.
class Tokenizer {
 public:
  // Errors: INVALID_ARGUMENT naming what of the spec is inconsistent.
  static absl::StatusOr<std::unique_ptr<Tokenizer>> Create(TokenizerSpec spec);
  virtual ~Tokenizer() = default;

  // Ids of `text`. Any bytes are accepted: broken UTF-8 survives a round trip. Never adds a begin token.
  // Texts of up to 2^31 bytes; a word without a break of 64 KiB (a little less: kMaxWordBytes) is cut there.
  // A vocabulary may lack single bytes (SmolLM2's has none for 0x04, 0x06, 0x13, 0x14, 0x16, 0x1D, and for bytes that
  // UTF-8 hardly or never has): they are left out, and belong to the token behind them, or at the end to the last one.
  // A text of nothing else has no tokens.
  virtual Tokens Encode(absl::string_view text, SpecialTokens special = SpecialTokens::kPlainText,
                        TextPosition position = TextPosition::kStart) const = 0;
  std::vector<TokenId> EncodeIds(absl::string_view text, SpecialTokens special = SpecialTokens::kPlainText,
                                 TextPosition position = TextPosition::kStart) const;

  // How many bytes at the start of `buffer` may be encoded now with the result that they would have as part of any
  // longer text beginning with `buffer`, i.e. Encode(A + B) = Encode(A) then Encode(B, kContinued) when A is that
  // prefix. 0 where no such cut is known yet. A cut is found at the latest every 64 KiB, and less than that is left
  // over; it depends on the text alone, not on the buffer's end: whatever pieces a stream comes in, cutting greedily
  // gives the same tokens. For SpecialTokens::kPlainText: a control token could lie across a cut.
  virtual size_t SafePrefix(absl::string_view buffer) const = 0;

  // The bytes that a token stands for; empty for control tokens and for ids out of range.
  virtual absl::string_view TokenBytes(TokenId id) const = 0;
  // The bytes of all; of control tokens nothing.
  std::string Decode(absl::Span<const TokenId> ids) const;

  // The id of a token by its exact spelling in the vocabulary (control tokens mostly), or -1.
  virtual TokenId FindToken(absl::string_view spelling) const = 0;
  bool IsControl(TokenId id) const;
  bool IsStop(TokenId id) const;

  const TokenizerSpec& spec() const { return spec_; }
  int64_t vocab_size() const { return static_cast<int64_t>(spec_.tokens.size()); }
  // 16 hexadecimal digits over everything that the ids depend on.
  const std::string& fingerprint() const { return fingerprint_; }

 protected:
  TokenizerSpec spec_;
  std::string fingerprint_;
};

// Decodes a stream of tokens into text that is valid UTF-8 at every step: half a character is held back until it is
// whole, and what never becomes one is replaced by U+FFFD. Not thread-safe.
class StreamingDecoder {
 public:
  explicit StreamingDecoder(const Tokenizer& tokenizer) : tokenizer_(tokenizer) {}  // which must outlive this

  // The text that `id` completes; may be empty.
  std::string Push(TokenId id);
  // What is still held back, with U+FFFD for an unfinished character.
  std::string Finish();

 private:
  const Tokenizer& tokenizer_;
  std::string pending_;
};

}  // namespace ilre
