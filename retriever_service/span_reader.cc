#include "retriever_service/span_reader.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "common/base/errors.h"
#include "common/base/status_macros.h"

namespace ilre {

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
    const DocumentRow& row = documents[span.document];
    const uint32_t first = span.token_begin / kBlockTokens, end = (span.token_end - 1) / kBlockTokens + 1;
    uint64_t blocks_begin = 0;
    ILRE_RETURN_IF_ERROR(store.VisitBlocks(row, first, end, [&](const BlockView& block) {
      const uint32_t base = block.block() * kBlockTokens;
      if (block.block() == first) blocks_begin = block.text_begin();
      for (int i = 0; i < block.num_tokens(); ++i) {
        const uint32_t token = base + static_cast<uint32_t>(i);
        if (token < span.token_begin || token >= span.token_end) continue;
        if (token == span.token_begin) span.byte_begin = block.text_begin() + (i > 0 ? block.token_end(i - 1) : 0);
        span.byte_end = block.text_begin() + block.token_end(i);
        span.ids.push_back(block.id(i));
      }
      return absl::OkStatus();
    }));
    ILRE_ASSIGN_OR_RETURN(const std::string text, store.ReadText(row, first, end));
    if (span.byte_end - blocks_begin > text.size() || span.byte_begin < blocks_begin) {
      return MakeError(absl::StatusCode::kDataLoss, "BLOCK_DAMAGED",
                       absl::StrCat("document ", row.collection, "/", row.document, ", block ", first,
                                    ": its text is shorter than its tokens"));
    }
    span.text = text.substr(span.byte_begin - blocks_begin, span.byte_end - span.byte_begin);
  }
  return spans;
}

}  // namespace ilre
