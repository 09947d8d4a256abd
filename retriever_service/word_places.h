// Where given words stand first: found in the stored postings, with bounds of segments read from the few blocks that
// matter.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/optional.h"
#include "absl/types/span.h"
#include "common/store/key_store.h"
#include "retriever_service/scored_segment.h"

namespace ilre {

// A posting: a block, and the segment's number in it as docs/formats.md counts them.
struct PostingPlace {
  uint32_t document = 0;  // index
  uint32_t block = 0;
  uint8_t segment = 0;
};

// -> [words] the first `max_each` postings of each word, in order of document and place. `words` are as of ScanWords;
// every document must have postings. Reads no further than all words need. Errors: those of the store, CANCELLED.
absl::StatusOr<std::vector<std::vector<PostingPlace>>> FirstPostings(const KeyStoreReader& store,
                                                                     absl::Span<const DocumentRow> documents,
                                                                     absl::Span<const uint32_t> words, size_t max_each,
                                                                     const std::function<bool()>& should_stop);

// The whole segment of a posting, which may begin in a block before and end in a later one; nothing where the blocks
// have no such segment. Errors: those of the store.
absl::StatusOr<absl::optional<ScoredSegment>> SegmentOf(const KeyStoreReader& store,
                                                        absl::Span<const DocumentRow> documents,
                                                        const PostingPlace& posting);

}  // namespace ilre
