// Segments that scored a little too low for the prompt, but hold words of the question that tell.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "common/store/key_store.h"
#include "retriever_service/scored_segment.h"

namespace ilre {

// Puts into the prompt what a question of several parts, or with several answers, would miss of it. Of the segments
// that are near or in the prompt, those are taken of which two things are true of the words of the question
// (common/retrieval/lexical.h) that they hold: one is as rare among these segments as the rarest of the best segment,
// and no segment that scored higher holds the same and more. So "the numbers of A and of B" gets B's sentence though
// A's scored higher, and the sentences about C, which share only "numbers" with the question, stay out. question_words:
// distinct, in ascending order. Errors: those of ReadTokens.
absl::Status TakeByQuestionWords(const KeyStoreReader& store, absl::Span<const DocumentRow> documents,
                                 absl::Span<const uint32_t> question_words, std::vector<ScoredSegment>* segments);

}  // namespace ilre
