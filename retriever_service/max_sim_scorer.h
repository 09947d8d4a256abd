// Late interaction over segments (Khattab and Zaharia, "ColBERT", 2020): the weighted mean over the question's vectors
// of the maximum over the segment's tokens, for each head; plus BM25 over the same segments and a share of the better
// neighbour's score, where the profile gives them weights.
//
// A segment's score depends on nothing but itself and its neighbours, so results of several documents, stores or
// machines merge exactly. (BM25 counts words over the documents of one search.)
#pragma once

#include <functional>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/retrieval/retrieval_model.h"
#include "common/store/key_store.h"
#include "retriever_service/scored_segment.h"

namespace ilre {

// Scores every segment of `documents`, in order of document and place.
absl::StatusOr<std::vector<ScoredSegment>> ScoreByMaxSim(const KeyStoreReader& store,
                                                         absl::Span<const DocumentRow> documents,
                                                         const EncodedQuestion& question,
                                                         const RetrievalProfile& profile,
                                                         const std::function<bool()>& should_stop);

}  // namespace ilre
