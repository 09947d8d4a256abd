// What of a document goes into a prompt, however it was chosen.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "cli/eval/sample.h"
#include "common/model/tokenizer.h"
#include "generator_service/prompt.h"
#include "retriever_service/retriever.h"

namespace ilre::cli {

struct EvalContext {
  struct Piece {
    std::string text, document;  // the latter as ContextPiece has it
    std::vector<TokenId> ids;
  };
  std::vector<Piece> pieces;                   // in the prompt
  std::vector<ByteRange> in_prompt, recalled;  // of the sample's document
  int recalled_tokens = 0, document_tokens = 0, looks = 0;
  double retrieval_ms = 0;
  bool marks_gaps = true;  // whether the prompt shows where something was left out
};

// Tokens [begin, end) of `document`, in the prompt and recalled, for each of `ranges`: ascending, not empty.
EvalContext ContextOfTokens(const Tokens& tokens, absl::string_view document,
                            absl::Span<const std::pair<size_t, size_t>> ranges);

// Bytes `ranges` of `document`, ascending, each as text of its own: a token across a range's end is another one here.
EvalContext ContextOfBytes(const Tokenizer& tokenizer, absl::string_view document, absl::Span<const ByteRange> ranges);

// The first tokens and the last, `budget` together.
EvalContext WindowContext(const Tokens& tokens, absl::string_view document, int budget);

// What was recalled from documents that begin at `document_begins` of the sample's; they are named in the prompt if
// there are several.
EvalContext RecalledContext(Retrieval retrieval, absl::Span<const DocumentRow> documents,
                            absl::Span<const uint64_t> document_begins);

// A worked example or nothing, then the context: borrows from both.
std::vector<ContextPiece> PiecesOf(const Sample& sample, const EvalContext& context);

}  // namespace ilre::cli
