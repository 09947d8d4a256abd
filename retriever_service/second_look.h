// Follows what the first look found: chains ("B is A", "C is B") and questions of several steps, where the segment that
// holds the answer shares its words with another segment and not with the question.
//
// A segment that the question found (it scores at least `floor` of the way from the median of all scores to the best)
// is a *source*. Its new words are those that neither the question nor an earlier look's source has. Another segment's
// *link* to it is the share of these words that it has, each counted by its inverse document frequency; words that many
// segments have do not link, but count for the whole, as do words of the source alone: so a sentence of many things
// links to little. Of links of at least min_link the strongest counts, times how far its source is on the way from the
// median to the best: a segment's score s becomes s + weight * link * (best - s), never above the best. Segments that
// become sources in this way are followed in turn, as often as the profile allows.
//
// Only stored postings are read, in one scan a look. The result depends on the documents, the question's scores and the
// profile alone.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/retrieval/profile.h"
#include "common/store/key_store.h"
#include "retriever_service/scored_segment.h"

namespace ilre {

// `segments`: all of `documents`, in order of document and place, as the first look scored them; their scores change.
// `question_words`: hashes. -> the number of looks that followed the first one. Errors: those of the store, CANCELLED.
absl::StatusOr<int> LookAgain(const KeyStoreReader& store, absl::Span<const DocumentRow> documents,
                              const std::vector<uint32_t>& question_words, const RetrievalProfile::SecondLook& options,
                              const std::function<bool()>& should_stop, std::vector<ScoredSegment>* segments);

}  // namespace ilre
