// Splits documents into ranges of blocks that are read side by side.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "common/retrieval/profile.h"
#include "common/store/key_store.h"

namespace ilre {

// Consecutive blocks of one document: what one task reads.
struct BlockRange {
  uint32_t document = 0;  // index
  uint32_t begin = 0, end = 0;
};

// Ranges in order of document and block, none of them empty.
std::vector<BlockRange> SplitIntoRanges(absl::Span<const DocumentRow> documents, uint32_t blocks_per_range);

// Calls scan(i) for each range on the threads of the default pool; before each, should_stop (if any) is asked and ends
// it with CANCELLED. Returns the first error in order of ranges.
absl::Status ForEachRange(size_t num_ranges, const std::function<bool()>& should_stop,
                          const std::function<absl::Status(size_t)>& scan);

// DATA_LOSS, naming the block, where a stored block is not of the form the profile says.
absl::Status CheckBlockForm(const BlockView& block, const DocumentRow& row, const std::vector<HeadFormat>& heads);

}  // namespace ilre
