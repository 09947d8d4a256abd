#include "retriever_service/second_look.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <unordered_set>
#include <utility>

#include "common/base/status_macros.h"
#include "common/retrieval/lexical.h"
#include "retriever_service/selection.h"
#include "retriever_service/span_reader.h"
#include "retriever_service/word_scan.h"

namespace ilre {
namespace {

// A word counts as rare if its inverse document frequency is at least this share of that of a word of one segment:
// about the square root of the number of segments may have it.
constexpr double kRareShare = 0.5;
constexpr size_t kMaxWordsOfSource = 256;

struct Source {
  size_t segment = 0;           // index
  float height = 0;             // how far its score is on the way from the median to the best, at most 1
  std::vector<uint32_t> words;  // new ones, ascending and distinct
};

// As Bm25Scores counts: of a word that `found_in` of `num_segments` segments have.
double InverseFrequency(double num_segments, double found_in) {
  return std::log1p((num_segments - found_in + 0.5) / (found_in + 0.5));
}

class Follower {
 public:
  Follower(const KeyStoreReader& store, absl::Span<const DocumentRow> documents,
           const RetrievalProfile::SecondLook& options, std::vector<ScoredSegment>* segments)
      : store_(store), documents_(documents), options_(options), segments_(*segments), range_(RangeOf(*segments)) {}

  void Know(absl::Span<const uint32_t> words) { known_.insert(words.begin(), words.end()); }

  // Those that have not been followed yet, best first, with their new words.
  absl::StatusOr<std::vector<Source>> NextSources() {
    const float floor = range_.At(options_.floor);
    std::vector<size_t> found;
    for (size_t i = 0; i < segments_.size(); ++i) {
      if (segments_[i].score >= floor && followed_.count(i) == 0) found.push_back(i);
    }
    const size_t count = std::min(found.size(), static_cast<size_t>(options_.max_sources));
    std::partial_sort(
        found.begin(), found.begin() + static_cast<ptrdiff_t>(count), found.end(), [&](size_t a, size_t b) {
          return segments_[a].score != segments_[b].score ? segments_[a].score > segments_[b].score : a < b;
        });
    std::vector<Source> sources;
    for (size_t i = 0; i < count; ++i) {
      followed_.insert(found[i]);
      Source source{.segment = found[i], .height = range_.Height(segments_[found[i]].score)};
      ILRE_ASSIGN_OR_RETURN(source.words, NewWords(segments_[found[i]]));
      if (!source.words.empty()) sources.push_back(std::move(source));
    }
    return sources;
  }

  // Raises the scores of what is linked to `sources`.
  absl::Status Follow(const std::vector<Source>& sources, const std::function<bool()>& should_stop) {
    std::vector<uint32_t> words;
    for (const Source& source : sources) words.insert(words.end(), source.words.begin(), source.words.end());
    std::sort(words.begin(), words.end());
    words.erase(std::unique(words.begin(), words.end()), words.end());
    ILRE_ASSIGN_OR_RETURN(const std::vector<WordHit> hits,
                          ScanWords(store_, documents_, segments_, words, should_stop));
    const std::vector<double> values = WordValues(hits, words.size());
    const double rare = kRareShare * InverseFrequency(static_cast<double>(segments_.size()), 1);
    // [sources][words] what each word of a source is worth, all of a source together its height.
    std::vector<std::vector<float>> worth;
    for (const Source& source : sources) worth.push_back(Worth(source, words, values, rare));
    for (size_t begin = 0, end = 0; begin < hits.size(); begin = end) {
      while (end < hits.size() && hits[end].segment == hits[begin].segment) ++end;
      Raise(hits[begin].segment, absl::MakeConstSpan(hits).subspan(begin, end - begin), sources, worth);
    }
    for (const Source& source : sources) Know(source.words);
    return absl::OkStatus();
  }

 private:
  absl::StatusOr<std::vector<uint32_t>> NewWords(const ScoredSegment& segment) const {
    ILRE_ASSIGN_OR_RETURN(const auto spans, ReadSpans(store_, documents_, absl::MakeConstSpan(&segment, 1)));
    std::vector<uint32_t> words;
    AppendWordHashes(spans[0].text, &words);
    std::sort(words.begin(), words.end());
    words.erase(std::unique(words.begin(), words.end()), words.end());
    words.erase(std::remove_if(words.begin(), words.end(), [&](uint32_t word) { return known_.count(word) > 0; }),
                words.end());
    if (words.size() > kMaxWordsOfSource) words.resize(kMaxWordsOfSource);
    return words;
  }

  // [words] inverse document frequencies.
  std::vector<double> WordValues(const std::vector<WordHit>& hits, size_t num_words) const {
    std::vector<double> values(num_words, 0);
    for (const WordHit& hit : hits) ++values[hit.word];
    const auto n = static_cast<double>(segments_.size());
    for (double& value : values) value = InverseFrequency(n, value);
    return values;
  }

  static std::vector<float> Worth(const Source& source, const std::vector<uint32_t>& words,
                                  const std::vector<double>& values, double rare) {
    std::vector<float> worth(words.size(), 0);
    double total = 0;
    for (const bool adding : {true, false}) {
      for (const uint32_t word : source.words) {
        const auto w = static_cast<size_t>(std::lower_bound(words.begin(), words.end(), word) - words.begin());
        if (adding) {
          total += values[w];
        } else if (total > 0 && values[w] >= rare) {
          worth[w] = static_cast<float>(source.height * values[w] / total);
        }
      }
    }
    return worth;
  }

  void Raise(size_t segment, absl::Span<const WordHit> hits, const std::vector<Source>& sources,
             const std::vector<std::vector<float>>& worth) {
    float link = 0;
    for (size_t s = 0; s < sources.size(); ++s) {
      if (sources[s].segment == segment) continue;
      float sum = 0;
      for (const WordHit& hit : hits) sum += worth[s][hit.word];
      if (sum >= options_.min_link * sources[s].height) link = std::max(link, sum);
    }
    float& score = segments_[segment].score;
    if (score < range_.best) score += options_.weight * std::min(link, 1.0f) * (range_.best - score);
  }

  const KeyStoreReader& store_;
  const absl::Span<const DocumentRow> documents_;
  const RetrievalProfile::SecondLook& options_;
  std::vector<ScoredSegment>& segments_;
  const ScoreRange range_;  // of the first look
  std::unordered_set<uint32_t> known_;
  std::unordered_set<size_t> followed_;
};

}  // namespace

absl::StatusOr<int> LookAgain(const KeyStoreReader& store, absl::Span<const DocumentRow> documents,
                              const std::vector<uint32_t>& question_words, const RetrievalProfile::SecondLook& options,
                              const std::function<bool()>& should_stop, std::vector<ScoredSegment>* segments) {
  if (segments->empty()) return 0;
  Follower follower(store, documents, options, segments);
  follower.Know(question_words);
  int looks = 0;
  while (looks < options.max_looks) {
    ILRE_ASSIGN_OR_RETURN(const std::vector<Source> sources, follower.NextSources());
    if (sources.empty()) break;
    ILRE_RETURN_IF_ERROR(follower.Follow(sources, should_stop));
    ++looks;
  }
  return looks;
}

}  // namespace ilre
