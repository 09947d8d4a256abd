#include "cli/eval/eval_context.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace ilre::cli {
namespace {

constexpr size_t kWindowSinks = 32;  // tokens from the document's beginning in a window

}  // namespace

EvalContext ContextOfTokens(const Tokens& tokens, absl::string_view document,
                            absl::Span<const std::pair<size_t, size_t>> ranges) {
  EvalContext context;
  context.document_tokens = static_cast<int>(tokens.ids.size());
  for (const auto& [begin, end] : ranges) {
    const uint64_t byte_begin = begin == 0 ? 0 : tokens.ends[begin - 1], byte_end = tokens.ends[end - 1];
    EvalContext::Piece& piece = context.pieces.emplace_back();
    piece.text = std::string(document.substr(byte_begin, byte_end - byte_begin));
    piece.ids.assign(tokens.ids.begin() + static_cast<std::ptrdiff_t>(begin),
                     tokens.ids.begin() + static_cast<std::ptrdiff_t>(end));
    context.in_prompt.push_back({byte_begin, byte_end});
    context.recalled_tokens += static_cast<int>(end - begin);
  }
  context.recalled = context.in_prompt;
  return context;
}

EvalContext ContextOfBytes(const Tokenizer& tokenizer, absl::string_view document, absl::Span<const ByteRange> ranges) {
  const auto encode = [&](absl::string_view text) {
    return tokenizer.EncodeIds(text, SpecialTokens::kPlainText, TextPosition::kContinued);
  };
  EvalContext context;
  context.document_tokens = static_cast<int>(encode(document).size());
  for (const ByteRange& range : ranges) {
    const absl::string_view text = document.substr(range.begin, range.end - range.begin);
    context.pieces.push_back({.text = std::string(text), .document = "", .ids = encode(text)});
    context.recalled_tokens += static_cast<int>(context.pieces.back().ids.size());
  }
  context.in_prompt.assign(ranges.begin(), ranges.end());
  context.recalled = context.in_prompt;
  return context;
}

EvalContext WindowContext(const Tokens& tokens, absl::string_view document, int budget) {
  const size_t n = tokens.ids.size(), wanted = static_cast<size_t>(budget);
  const size_t first = std::min({n, kWindowSinks, wanted / 2}), last = std::min(n - first, wanted - first);
  std::vector<std::pair<size_t, size_t>> ranges;
  for (const auto& range : {std::pair<size_t, size_t>{0, first}, {n - last, n}}) {
    if (range.first < range.second) ranges.push_back(range);
  }
  return ContextOfTokens(tokens, document, ranges);
}

EvalContext RecalledContext(Retrieval retrieval, absl::Span<const DocumentRow> documents,
                            absl::Span<const uint64_t> document_begins) {
  EvalContext context;
  context.recalled_tokens = retrieval.recalled_tokens;
  context.looks = retrieval.looks;
  context.document_tokens = static_cast<int>(retrieval.document_tokens);
  context.retrieval_ms = retrieval.query_ms + retrieval.score_ms + retrieval.second_look_ms + retrieval.rerank_ms;
  for (RecalledSpan& span : retrieval.spans) {
    const uint64_t begin = document_begins[span.document];
    const ByteRange bytes = {begin + span.byte_begin, begin + span.byte_end};
    context.recalled.push_back(bytes);
    if (!span.in_prompt) continue;
    context.in_prompt.push_back(bytes);
    EvalContext::Piece& piece = context.pieces.emplace_back();
    piece.text = std::move(span.text);
    piece.ids = std::move(span.ids);
    const DocumentRow& row = documents[span.document];
    if (documents.size() > 1) piece.document = absl::StrCat(row.collection, "/", row.document);
  }
  return context;
}

std::vector<ContextPiece> PiecesOf(const Sample& sample, const EvalContext& context) {
  std::vector<ContextPiece> pieces;
  if (!sample.preamble.empty()) pieces.push_back({.text = sample.preamble});
  for (size_t i = 0; i < context.pieces.size(); ++i) {
    const EvalContext::Piece& piece = context.pieces[i];
    pieces.push_back(
        {.text = piece.text, .ids = piece.ids, .after_gap = i > 0 && context.marks_gaps, .document = piece.document});
  }
  return pieces;
}

}  // namespace ilre::cli
