#include "retriever_service/selection.h"

#include <algorithm>
#include <cstddef>
#include <tuple>

namespace ilre {
namespace {

constexpr int kTooFewToFill = 8;  // tokens

bool BetterFirst(const ScoredSegment& a, const ScoredSegment& b) {
  return std::tie(b.score, a.document, a.begin) < std::tie(a.score, b.document, b.begin);
}

bool InPlace(const ScoredSegment& a, const ScoredSegment& b) {
  return std::tie(a.document, a.begin) < std::tie(b.document, b.begin);
}

}  // namespace

ScoreRange RangeOf(const std::vector<ScoredSegment>& segments) {
  std::vector<float> scores;
  scores.reserve(segments.size());
  for (const ScoredSegment& segment : segments) scores.push_back(segment.score);
  const auto middle = scores.begin() + static_cast<std::ptrdiff_t>(scores.size() / 2);
  std::nth_element(scores.begin(), middle, scores.end());
  return {.median = *middle, .best = *std::max_element(middle, scores.end())};
}

std::vector<ScoredSegment> SelectSegments(std::vector<ScoredSegment> segments, const SelectionRule& rule) {
  if (segments.empty() || rule.budget <= 0) return {};
  const ScoreRange range = rule.prompt_floor > 0 ? RangeOf(segments) : ScoreRange();
  const float floor = range.At(rule.prompt_floor), near_floor = range.At(rule.near_floor);
  // Every segment has a token at least: no more than `budget` of them can be looked at before it is full or passes over
  // many.
  std::vector<ScoredSegment> chosen;
  int used = 0;
  size_t sorted = 0;
  for (size_t i = 0; i < segments.size() && rule.budget - used >= (used == 0 ? 1 : kTooFewToFill); ++i) {
    if (i == sorted) {  // sort as far as needed, in growing steps
      const size_t more = std::min(segments.size(), std::max<size_t>(256, sorted * 4));
      std::partial_sort(segments.begin() + static_cast<std::ptrdiff_t>(sorted),
                        segments.begin() + static_cast<std::ptrdiff_t>(more), segments.end(), BetterFirst);
      sorted = more;
    }
    ScoredSegment segment = segments[i];
    if (static_cast<int>(segment.num_tokens()) > rule.budget - used) {
      if (i > 0) continue;
      segment.end = segment.begin + static_cast<uint32_t>(rule.budget);
    }
    segment.in_prompt = rule.prompt_floor <= 0 || segment.score >= floor || used < rule.min_prompt;
    segment.is_near = !segment.in_prompt && rule.near_floor > 0 && segment.score >= near_floor;
    used += static_cast<int>(segment.num_tokens());
    chosen.push_back(segment);
  }
  std::sort(chosen.begin(), chosen.end(), InPlace);
  return chosen;
}

}  // namespace ilre
