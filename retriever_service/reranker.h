// Scores a shortlist anew: its tokens as one prompt through deeper layers, scored by one head's attention.
#pragma once

#include <functional>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "common/model/tokenizer.h"
#include "common/retrieval/retrieval_model.h"
#include "retriever_service/scored_segment.h"

namespace ilre {

// `ids` are the tokens of `segments`, one after the other. Returns the segments with new scores: the sum over a segment
// of each token's greatest attention from a question token, at profile.rerank.
absl::StatusOr<std::vector<ScoredSegment>> Rerank(const RetrievalModel& model, std::vector<ScoredSegment> segments,
                                                  absl::Span<const TokenId> ids, absl::string_view question,
                                                  const std::function<bool()>& should_stop);

}  // namespace ilre
