// BM25 over segments (Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond", 2009,
// section 3.4).
#pragma once

#include <cstdint>
#include <vector>

#include "absl/types/span.h"

namespace ilre {

// A word of the question in a segment. Hits of one segment and word may come in several parts (a segment may lie in two
// blocks).
struct WordHit {
  uint32_t segment;  // index over all segments of the search
  uint16_t word;     // index into the question's words
  uint16_t count;
};

// -> [segment_words.size()] scores, as shares of the greatest that the words could have together: in [0, 1). hits need
// not be sorted. idf = ln(1 + (N - df + 0.5) / (df + 0.5)), over the num_words words of the question, found or not.
std::vector<float> Bm25Scores(std::vector<WordHit> hits, absl::Span<const uint32_t> segment_words, size_t num_words,
                              float k1, float b);

}  // namespace ilre
