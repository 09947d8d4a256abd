#include "retriever_service/question_words.h"

#include <algorithm>
#include <cstddef>
#include <limits>
#include <utility>

#include "common/base/status_macros.h"
#include "common/retrieval/lexical.h"
#include "retriever_service/span_reader.h"

namespace ilre {
namespace {

// Indices into question_words of those that `text` holds, each once.
std::vector<size_t> WordsOf(absl::string_view text, absl::Span<const uint32_t> question_words) {
  std::vector<uint32_t> hashes;
  AppendWordHashes(text, &hashes);
  std::vector<size_t> words;
  for (const uint32_t hash : hashes) {
    const auto found = std::lower_bound(question_words.begin(), question_words.end(), hash);
    if (found != question_words.end() && *found == hash) {
      words.push_back(static_cast<size_t>(found - question_words.begin()));
    }
  }
  std::sort(words.begin(), words.end());
  words.erase(std::unique(words.begin(), words.end()), words.end());
  return words;
}

struct Candidate {
  ScoredSegment* segment;
  std::vector<size_t> words;
};

// Whether `a` holds all words of `b` and others.
bool HoldsMore(const Candidate& a, const Candidate& b) {
  return a.words.size() > b.words.size() &&
         std::includes(a.words.begin(), a.words.end(), b.words.begin(), b.words.end());
}

}  // namespace

absl::Status TakeByQuestionWords(const KeyStoreReader& store, absl::Span<const DocumentRow> documents,
                                 absl::Span<const uint32_t> question_words, std::vector<ScoredSegment>* segments) {
  const auto is_near = [](const ScoredSegment& segment) { return segment.is_near; };
  if (question_words.empty() || std::none_of(segments->begin(), segments->end(), is_near)) return absl::OkStatus();
  std::vector<Candidate> candidates;
  std::vector<size_t> holders(question_words.size());  // candidates that hold the word
  size_t best = 0;
  for (ScoredSegment& segment : *segments) {
    if (!segment.in_prompt && !segment.is_near) continue;
    ILRE_ASSIGN_OR_RETURN(const StoredTokens tokens,
                          ReadTokens(store, documents[segment.document], segment.begin, segment.end));
    candidates.push_back({&segment, WordsOf(tokens.text, question_words)});
    for (const size_t word : candidates.back().words) ++holders[word];
    if (segment.score > candidates[best].segment->score) best = candidates.size() - 1;
  }
  const auto rarest = [&](const Candidate& candidate) {
    size_t fewest = std::numeric_limits<size_t>::max();
    for (const size_t word : candidate.words) fewest = std::min(fewest, holders[word]);
    return fewest;
  };
  if (candidates[best].words.empty()) return absl::OkStatus();  // found by its meaning: words tell nothing
  for (const Candidate& candidate : candidates) {
    if (candidate.words.empty() || rarest(candidate) > rarest(candidates[best])) continue;
    const bool has_less = std::any_of(candidates.begin(), candidates.end(), [&](const Candidate& other) {
      return other.segment->score > candidate.segment->score && HoldsMore(other, candidate);
    });
    if (!has_less) candidate.segment->in_prompt = true;
  }
  return absl::OkStatus();
}

}  // namespace ilre
