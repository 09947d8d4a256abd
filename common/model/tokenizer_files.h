// Tokenizers as they are kept on disk, read into a TokenizerSpec. Every file is untrusted.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/model/gguf_file.h"
#include "common/model/tokenizer_spec.h"

namespace ilre {

// What GGUF metadata say of the tokenizer ("tokenizer.ggml.*"). Errors: BAD_MODEL_FILE naming the file and the key.
absl::StatusOr<TokenizerSpec> TokenizerSpecFromGguf(const GgufFile& file);

// Reads tokenizer.json (or, where there is none, tokenizer.model of SentencePiece) of a Hugging Face folder, with
// tokenizer_config.json, generation_config.json, chat_template.jinja and config.json where present.
// Errors: NOT_FOUND where the folder has neither; BAD_MODEL_FILE naming the file and what in it is not understood.
absl::StatusOr<TokenizerSpec> TokenizerSpecFromFolder(const std::string& folder);

// The contents of a Hugging Face folder's files. Empty: there is no such file.
struct TokenizerJsonFiles {
  absl::string_view tokenizer;          // tokenizer.json
  absl::string_view sentencepiece;      // tokenizer.model, a protocol buffer; used only where `tokenizer` is empty
  absl::string_view tokenizer_config;   // tokenizer_config.json
  absl::string_view generation_config;  // generation_config.json
  absl::string_view config;             // config.json
  absl::string_view chat_template;      // chat_template.jinja
};

// The same from memory; `path` is the folder, for messages only.
absl::StatusOr<TokenizerSpec> TokenizerSpecFromJson(const std::string& path, const TokenizerJsonFiles& files);

}  // namespace ilre
