// Which of the scored segments are recalled.
#pragma once

#include <vector>

#include "retriever_service/scored_segment.h"

namespace ilre {

// The range of scores that shares are of: from the median of all segments to the best one.
struct ScoreRange {
  float median = 0, best = 0;
  // The score that is `share` of the way up.
  float At(float share) const { return median + share * (best - median); }
  // How far up a score is: 0 at the median, 1 at the best; 1 if all scores are alike.
  float Height(float score) const { return best > median ? (score - median) / (best - median) : 1; }
};
// `segments` must not be empty.
ScoreRange RangeOf(const std::vector<ScoredSegment>& segments);

struct SelectionRule {
  int budget = 512;        // tokens, all segments together
  float prompt_floor = 0;  // as RetrievalProfile::prompt_floor
  int min_prompt = 0;      // as RetrievalProfile::min_prompt
  float near_floor = 0;    // as RetrievalProfile::prompt_word_floor: marks near segments, if not 0
};

// Whole segments, best first, as long as they fit the budget; a segment too long for what is left is passed over, and
// nothing more is taken once fewer than 8 tokens are left. Of equal scores the earlier place wins. If even the best
// segment is longer than the budget, its beginning is taken, so that something always is. Returned in order of document
// and place.
std::vector<ScoredSegment> SelectSegments(std::vector<ScoredSegment> segments, const SelectionRule& rule);

}  // namespace ilre
