#include "retriever_service/bm25.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <tuple>

namespace ilre {

std::vector<float> Bm25Scores(std::vector<WordHit> hits, absl::Span<const uint32_t> segment_words, size_t num_words,
                              float k1, float b) {
  std::vector<float> scores(segment_words.size(), 0.0f);
  if (hits.empty()) return scores;
  std::sort(hits.begin(), hits.end(), [](const WordHit& x, const WordHit& y) {
    return std::tie(x.word, x.segment) < std::tie(y.word, y.segment);
  });
  size_t kept = 0;
  for (size_t i = 1; i < hits.size(); ++i) {  // parts of one segment become one hit
    if (hits[i].word == hits[kept].word && hits[i].segment == hits[kept].segment) {
      hits[kept].count = static_cast<uint16_t>(hits[kept].count + hits[i].count);
    } else {
      hits[++kept] = hits[i];
    }
  }
  hits.resize(kept + 1);
  std::vector<double> segments_with(num_words, 0);
  for (const WordHit& hit : hits) ++segments_with[hit.word];
  const double n = static_cast<double>(segment_words.size());
  const auto idf_of = [&](double df) { return std::log1p((n - df + 0.5) / (df + 0.5)); };
  double greatest = 0;
  for (const double df : segments_with) greatest += idf_of(df) * (k1 + 1);
  const double mean_words = std::max(1.0, std::accumulate(segment_words.begin(), segment_words.end(), 0.0) / n);
  for (const WordHit& hit : hits) {
    const double idf = idf_of(segments_with[hit.word]), count = hit.count;
    const double length = segment_words[hit.segment] / mean_words;
    scores[hit.segment] += static_cast<float>(idf * count * (k1 + 1) / (count + k1 * (1 - b + b * length)) / greatest);
  }
  return scores;
}

}  // namespace ilre
