// Questions that ask what words a text has most of: no sentence answers them, and the best matches of the question's
// own words least of all. The store has every word's count; what is recalled is one place of each of the most frequent
// words, the word alone: a small model copies such a list, and counts no longer one.
//
// Words are those of the postings: without stop words, and counted by their first six characters.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
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

struct WordCounts {
  struct Word {
    std::string word;    // as it stands at its first place
    uint64_t count = 0;  // in all documents together
  };
  std::vector<Word> words;  // most frequent first
  uint64_t total = 0;       // of all words that count
};

struct FrequentWords {
  WordCounts counts;
  std::vector<ScoredSegment> places;  // in order of document and place
};

// The `num_words` most frequent words of `documents`, which have postings, and of each the tokens of its first place:
// most frequent words first as long as they fit `budget`. A place's score is the word's share of all words that count;
// all are for the prompt. A word whose first places are all cut by the ends of blocks is left out. No places: there is
// no word, or none fits.
//
// Vectors are not read. Work is linear in the postings, memory bounded: of texts of more than 262,144 distinct words
// those that are rarest on the way are counted anew. The result does not depend on threads. Errors: those of the store,
// CANCELLED.
absl::StatusOr<FrequentWords> FindFrequentWords(const KeyStoreReader& store, absl::Span<const DocumentRow> documents,
                                                int num_words, int budget, const std::function<bool()>& should_stop);

}  // namespace ilre
