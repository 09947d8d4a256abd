// How right an answer is, how much of what it needs was in the prompt, and how sure a mean of such figures is.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "cli/eval/sample.h"

namespace ilre::cli {

// RULER's scores (Hsieh et al., arXiv 2404.06654): both texts without case, the answer's control characters as line
// breaks; a reference is found where it is a part of the answer. In [0, 1].
double ScoreAnswer(absl::string_view answer, const std::vector<std::string>& references, Matching matching);

// Whether the ranges (in any order; they may overlap) cover all of `wanted`.
bool Covers(std::vector<ByteRange> ranges, const ByteRange& wanted);
// The share of `wanted` that is covered, each wholly or not.
double ShareCovered(const std::vector<ByteRange>& ranges, absl::Span<const ByteRange> wanted);

struct Interval {
  double mean = 0, low = 0, high = 0;
};
// The mean over groups of each group's mean, with its 95% percentile bootstrap interval (Efron, "Bootstrap methods",
// 1979): samples are drawn anew within each group. Empty groups do not count; without any all is 0. The same input
// always gives the same interval.
Interval MeanOfGroups(const std::vector<std::vector<double>>& groups);

}  // namespace ilre::cli
