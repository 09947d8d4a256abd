#include "retriever_service/document_scan.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "common/base/errors.h"
#include "common/base/thread_pool.h"

namespace ilre {

std::vector<BlockRange> SplitIntoRanges(absl::Span<const DocumentRow> documents, uint32_t blocks_per_range) {
  std::vector<BlockRange> ranges;
  for (uint32_t document = 0; document < documents.size(); ++document) {
    const uint32_t num_blocks = documents[document].num_blocks;
    for (uint32_t begin = 0; begin < num_blocks; begin += blocks_per_range) {
      ranges.push_back({document, begin, std::min(begin + blocks_per_range, num_blocks)});
    }
  }
  return ranges;
}

absl::Status ForEachRange(size_t num_ranges, const std::function<bool()>& should_stop,
                          const std::function<absl::Status(size_t)>& scan) {
  std::vector<absl::Status> statuses(num_ranges);
  DefaultPool().ParallelFor(static_cast<int64_t>(num_ranges), [&](int64_t i) {
    statuses[i] = should_stop && should_stop() ? errors::Cancelled("the search") : scan(static_cast<size_t>(i));
  });
  for (absl::Status& status : statuses) {
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status CheckBlockForm(const BlockView& block, const DocumentRow& row, const std::vector<HeadFormat>& heads) {
  if (block.fingerprint() == CombinedFingerprint(row.model, row.tokenizer, row.profile) && block.heads() == heads) {
    return absl::OkStatus();
  }
  return MakeError(absl::StatusCode::kDataLoss, "BLOCK_DAMAGED",
                   absl::StrCat("document ", row.collection, "/", row.document, ", block ", block.block(),
                                ": written with another model or profile than its document"));
}

}  // namespace ilre
