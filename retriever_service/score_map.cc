#include "retriever_service/score_map.h"

#include <algorithm>
#include <limits>

#include "common/base/status_macros.h"

namespace ilre {

absl::StatusOr<std::vector<ScorePart>> MapScores(const KeyStoreReader& store, const DocumentRow& row,
                                                 absl::Span<const ScoredSegment> segments, int num_parts) {
  const uint64_t tokens = row.num_tokens, n = std::min<uint64_t>(static_cast<uint64_t>(num_parts), tokens);
  std::vector<ScorePart> parts(n, {.score = std::numeric_limits<float>::lowest()});
  if (n == 0) return parts;
  const auto part_end = [&](uint64_t part) { return (part + 1) * tokens / n; };  // in tokens
  uint64_t part = 0;
  ILRE_RETURN_IF_ERROR(store.VisitBlocks(row, 0, row.num_blocks, [&](const BlockView& block) {
    const uint64_t base = uint64_t{block.block()} * kBlockTokens,
                   end = base + static_cast<uint64_t>(block.num_tokens());
    for (; part < n && part_end(part) <= end; ++part) {
      parts[part].byte_end = block.text_begin() + block.token_end(static_cast<int>(part_end(part) - base - 1));
      if (part + 1 < n) parts[part + 1].byte_begin = parts[part].byte_end;
    }
    return absl::OkStatus();
  }));
  for (const ScoredSegment& segment : segments) {
    const uint64_t first = std::min(n - 1, segment.begin * n / tokens);
    for (uint64_t i = first > 0 ? first - 1 : 0; i < n; ++i) {
      const uint64_t begin = i == 0 ? 0 : part_end(i - 1);
      if (begin >= segment.end) break;
      if (part_end(i) > segment.begin) parts[i].score = std::max(parts[i].score, segment.score);
    }
  }
  return parts;
}

}  // namespace ilre
