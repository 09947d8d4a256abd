// tokenizer.model, the protocol buffer that SentencePiece keeps its models in.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/model/tokenizer_spec.h"

namespace ilre {

// Pieces, types, scores and the prefix space, of a BPE model whose normalisation leaves text as it is (Llama 2's and
// Mistral's do). Errors: BAD_MODEL_FILE naming `path` and what is broken or not supported.
absl::StatusOr<TokenizerSpec> ParseSentencePieceModel(const std::string& path, absl::string_view bytes);

}  // namespace ilre
