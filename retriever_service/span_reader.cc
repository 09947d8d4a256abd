#include "retriever_service/span_reader.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/errors.h"
#include "common/base/status_macros.h"

namespace ilre {

absl::StatusOr<StoredTokens> ReadTokens(const KeyStoreReader& store, const DocumentRow& row, uint32_t begin,
                                        uint32_t end) {
  const uint32_t first_block = begin / kBlockTokens, end_block = (end - 1) / kBlockTokens + 1;
  StoredTokens tokens;
  uint64_t blocks_begin = 0;
  ILRE_RETURN_IF_ERROR(store.VisitBlocks(row, first_block, end_block, [&](const BlockView& block) {
    if (block.block() == first_block) blocks_begin = block.text_begin();
    for (int i = 0; i < block.num_tokens(); ++i) {
      const uint32_t token = block.block() * kBlockTokens + static_cast<uint32_t>(i);
      if (token < begin || token >= end) continue;
      if (token == begin) tokens.byte_begin = block.text_begin() + (i > 0 ? block.token_end(i - 1) : 0);
      tokens.ends.push_back(block.text_begin() + block.token_end(i) - tokens.byte_begin);
      tokens.ids.push_back(block.id(i));
    }
    return absl::OkStatus();
  }));
  ILRE_ASSIGN_OR_RETURN(const std::string text, store.ReadText(row, first_block, end_block));
  if (tokens.ends.empty() || tokens.byte_begin < blocks_begin ||
      tokens.byte_begin - blocks_begin + tokens.ends.back() > text.size()) {
    return MakeError(absl::StatusCode::kDataLoss, "BLOCK_DAMAGED",
                     absl::StrCat("document ", row.collection, "/", row.document, ", block ", first_block,
                                  ": its text is shorter than its tokens"));
  }
  tokens.text = text.substr(tokens.byte_begin - blocks_begin, tokens.ends.back());
  return tokens;
}

absl::StatusOr<std::vector<RecalledSpan>> ReadSpans(const KeyStoreReader& store,
                                                    absl::Span<const DocumentRow> documents,
                                                    absl::Span<const ScoredSegment> segments) {
  std::vector<RecalledSpan> spans;
  for (const ScoredSegment& segment : segments) {  // neighbours become one span
    if (!spans.empty() && spans.back().document == segment.document && spans.back().token_end == segment.begin &&
        spans.back().in_prompt == segment.in_prompt) {
      spans.back().token_end = segment.end;
      spans.back().score = std::max(spans.back().score, segment.score);
    } else {
      spans.push_back({.document = segment.document,
                       .token_begin = segment.begin,
                       .token_end = segment.end,
                       .score = segment.score,
                       .in_prompt = segment.in_prompt});
    }
  }
  for (RecalledSpan& span : spans) {
    ILRE_ASSIGN_OR_RETURN(StoredTokens tokens,
                          ReadTokens(store, documents[span.document], span.token_begin, span.token_end));
    span.byte_begin = tokens.byte_begin;
    span.byte_end = tokens.byte_begin + tokens.ends.back();
    span.text = std::move(tokens.text);
    span.ids = std::move(tokens.ids);
  }
  return spans;
}

}  // namespace ilre
