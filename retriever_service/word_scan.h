// Finds given words in segments that are known already: reads stored postings alone, no vectors.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/store/key_store.h"
#include "retriever_service/bm25.h"
#include "retriever_service/scored_segment.h"

namespace ilre {

// Calls visit(i, posting) for each posting of one of `words` (as of ScanWords) in a block, i its index: in order of
// word and then segment.
void VisitPostings(const LexicalData& lexical, absl::Span<const uint32_t> words,
                   absl::FunctionRef<void(uint16_t, const LexicalPosting&)> visit);

// `segments`: all segments of `documents`, in order of document and place. `words`: hashes, ascending and distinct, at
// most 65,535. -> hits in order of segment and then word, one for each segment and word. Every document must have
// postings. Errors: those of the store, CANCELLED.
absl::StatusOr<std::vector<WordHit>> ScanWords(const KeyStoreReader& store, absl::Span<const DocumentRow> documents,
                                               absl::Span<const ScoredSegment> segments,
                                               absl::Span<const uint32_t> words,
                                               const std::function<bool()>& should_stop);

}  // namespace ilre
