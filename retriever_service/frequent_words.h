// Questions that ask what words a text has most of: no sentence answers them, and the best matches of the question's
// own words least of all. The store has every word's count; what is recalled is one place of each of the most frequent
// words, the word alone: a small model copies such a list, and counts no longer one.
//
// Words are those of the postings: without stop words, and counted by their first six characters.
#pragma once

#include <functional>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "common/store/key_store.h"
#include "retriever_service/scored_segment.h"

namespace ilre {

// How many words are to be named by a question, in English, for the most common, frequent or often used words of a
// text: the number in it ("the three most common words"), else 10, at most 100. 0: it asks for something else.
int CountFrequentWordsAsked(absl::string_view question);

// `segments`: all of `documents`, which have postings, in order of document and place; their scores do not matter. ->
// of each of the `num_words` most frequent words of all documents together the tokens of its first place, most frequent
// words first as long as they fit `budget`, returned in order of document and place. A place's score is the word's
// share of all words that count; all are for the prompt. Empty: there is no word, or none fits.
//
// Work is linear in the postings, memory bounded: of texts of more than 262,144 distinct words those that are rarest on
// the way are counted anew. The result does not depend on threads. Errors: those of the store, CANCELLED.
absl::StatusOr<std::vector<ScoredSegment>> PlacesOfFrequentWords(const KeyStoreReader& store,
                                                                 absl::Span<const DocumentRow> documents,
                                                                 absl::Span<const ScoredSegment> segments,
                                                                 int num_words, int budget,
                                                                 const std::function<bool()>& should_stop);

}  // namespace ilre
