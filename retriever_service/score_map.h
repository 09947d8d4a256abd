// A document's scores, divided into parts of equal length: what a heat map is drawn from.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/store/key_store.h"
#include "retriever_service/scored_segment.h"

namespace ilre {

struct ScorePart {
  uint64_t byte_begin = 0, byte_end = 0;  // into the document's text
  float score = 0;                        // the best of the segments that touch this part
};

// `segments` are all those of one document, in order. -> num_parts parts, or one for each token if it has fewer; in
// order, together the whole text. num_parts >= 1.
absl::StatusOr<std::vector<ScorePart>> MapScores(const KeyStoreReader& store, const DocumentRow& row,
                                                 absl::Span<const ScoredSegment> segments, int num_parts);

}  // namespace ilre
