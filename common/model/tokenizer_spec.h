// A tokenizer as data: what GGUF metadata and tokenizer.json both describe, before anything is built from it.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace ilre {

enum class TokenizerKind {
  kByteLevelBpe,   // GPT-2's byte alphabet, merges by rank
  kSentencePiece,  // BPE by score over characters with byte fallback, as Llama 2, Mistral and Gemma have
};

// How text is cut into words before merging (byte-level BPE only).
enum class PreTokenizerKind {
  kGpt2,
  kSmolLm,  // every digit on its own, then as GPT-2
  kLlama3,
  kQwen2,
};

enum class TokenType : uint8_t {  // values as GGUF's; never change
  kNormal = 1,
  kUnknown = 2,
  kControl = 3,
  kUserDefined = 4,
  kUnused = 5,
  kByte = 6,
};

struct TokenizerSpec {
  TokenizerKind kind = TokenizerKind::kByteLevelBpe;
  PreTokenizerKind pre_tokenizer = PreTokenizerKind::kGpt2;
  // [vocab_size] by token id. Byte-level: in GPT-2's printable byte alphabet. SentencePiece: UTF-8 with U+2581 for a
  // space.
  std::vector<std::string> tokens;
  std::vector<TokenType> types;  // [vocab_size]
  // SentencePiece has either scores, [vocab_size], or merges: tokenizer.json keeps these instead.
  std::vector<float> scores;
  // By rank, best first, in the alphabet of `tokens`.
  std::vector<std::pair<std::string, std::string>> merges;
  bool ignore_merges = false;     // a word that is a token as it stands is not merged (Llama 3)
  bool add_space_prefix = false;  // SentencePiece: a space is put before the text's start
  // That space is left out where the text begins with one (Metaspace in newer tokenizer.json files).
  bool space_prefix_if_missing = false;
  bool add_bos = false;  // the model expects its begin token before any prompt
  int32_t bos_id = -1;   // -1: none
  int32_t eos_id = -1;
  // Ids that end an answer: end of text, end of turn. Contains eos_id where there is one.
  std::vector<int32_t> stop_ids;
  // The Jinja template, as in the file; empty if there is none. Chat templates are recognised by what they contain.
  std::string chat_template;
};

}  // namespace ilre
