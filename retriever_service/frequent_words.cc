#include "retriever_service/frequent_words.h"

#include <algorithm>
#include <iterator>
#include <string>
#include <tuple>
#include <unordered_map>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "absl/types/optional.h"
#include "common/base/status_macros.h"
#include "retriever_service/document_scan.h"
#include "retriever_service/word_finder.h"
#include "retriever_service/word_places.h"

namespace ilre {
namespace {

constexpr uint32_t kBlocksPerRange = 32;
constexpr size_t kRangesAtOnce = 64;  // counts that are held together, each of at most 8,192 words
constexpr size_t kMaxTries = 8;       // a word may be cut in two by the end of a block, and is then not found there
constexpr int kDefaultWords = 10, kMaxAsked = 100;
constexpr size_t kReach = 5;  // terms between "most" and "words"
constexpr char kPunctuation[] = " \t\r\n.,;:!?()[]{}\"'*_/-";
constexpr size_t kMaxWords = 256 << 10;  // beyond these the rarer half is dropped

using Counts = std::unordered_map<uint32_t, uint64_t>;  // by hash

using WordCount = std::pair<uint32_t, uint64_t>;  // hash, how often it stands in the text

// The most frequent words, most frequent first. Of equally frequent ones the smaller hashes.
std::vector<WordCount> MostFrequent(const Counts& counts, size_t num_words) {
  std::vector<WordCount> words(counts.begin(), counts.end());
  const auto end = words.begin() + static_cast<std::ptrdiff_t>(std::min(num_words, words.size()));
  std::partial_sort(words.begin(), end, words.end(), [](const WordCount& a, const WordCount& b) {
    return a.second != b.second ? a.second > b.second : a.first < b.first;
  });
  words.erase(end, words.end());
  return words;
}

absl::StatusOr<Counts> CountRange(const KeyStoreReader& store, const DocumentRow& document, const BlockRange& range) {
  Counts counts;
  ILRE_RETURN_IF_ERROR(store.VisitLexical(document, range.begin, range.end, [&](uint32_t, const LexicalData& lexical) {
    for (const LexicalPosting& posting : lexical.postings) counts[posting.word_hash] += posting.count;
    return absl::OkStatus();
  }));
  return counts;
}

// Counts are put together in the order of the ranges, so that what is dropped never depends on threads.
absl::StatusOr<Counts> CountWords(const KeyStoreReader& store, absl::Span<const DocumentRow> documents,
                                  const std::function<bool()>& should_stop) {
  const std::vector<BlockRange> ranges = SplitIntoRanges(documents, kBlocksPerRange);
  Counts counts;
  for (size_t begin = 0; begin < ranges.size(); begin += kRangesAtOnce) {
    std::vector<Counts> found(std::min(kRangesAtOnce, ranges.size() - begin));
    ILRE_RETURN_IF_ERROR(ForEachRange(found.size(), should_stop, [&](size_t i) -> absl::Status {
      const BlockRange& range = ranges[begin + i];
      ILRE_ASSIGN_OR_RETURN(found[i], CountRange(store, documents[range.document], range));
      return absl::OkStatus();
    }));
    for (const Counts& here : found) {
      for (const auto& [hash, count] : here) counts[hash] += count;
    }
    if (counts.size() <= kMaxWords) continue;
    const std::vector<WordCount> kept = MostFrequent(counts, kMaxWords / 2);
    counts = Counts(kept.begin(), kept.end());
  }
  return counts;
}

bool IsFrequency(absl::string_view term) {
  return term == "common" || term == "commonly" || term == "often" || absl::StartsWith(term, "frequent");
}

// In digits or in words; 0: none in [1, kMaxAsked].
int NumberOf(absl::string_view term) {
  constexpr absl::string_view kNumbers[] = {"one",   "two",   "three", "four", "five",   "six",
                                            "seven", "eight", "nine",  "ten",  "eleven", "twelve"};
  const auto* const word = std::find(std::begin(kNumbers), std::end(kNumbers), term);
  if (word != std::end(kNumbers)) return static_cast<int>(word - std::begin(kNumbers)) + 1;
  int number = 0;
  return absl::SimpleAtoi(term, &number) && number >= 1 && number <= kMaxAsked ? number : 0;
}

// What is found of one word, at the first of its postings where it is whole.
absl::StatusOr<absl::optional<FoundWord>> FindFirst(const KeyStoreReader& store,
                                                    absl::Span<const DocumentRow> documents,
                                                    const std::vector<PostingPlace>& postings, uint32_t hash) {
  ScoredSegment last;
  for (const PostingPlace& posting : postings) {
    ILRE_ASSIGN_OR_RETURN(const absl::optional<ScoredSegment> segment, SegmentOf(store, documents, posting));
    if (!segment.has_value()) continue;
    if (segment->document == last.document && segment->end == last.end) continue;  // its part in the next block
    last = *segment;
    ILRE_ASSIGN_OR_RETURN(absl::optional<FoundWord> found, FindWord(store, documents, *segment, hash));
    if (found.has_value()) return found;
  }
  return absl::optional<FoundWord>();
}

}  // namespace

int CountFrequentWordsAsked(absl::string_view question) {
  const std::string lower = absl::AsciiStrToLower(question);
  const std::vector<absl::string_view> terms = absl::StrSplit(lower, absl::ByAnyChar(kPunctuation), absl::SkipEmpty());
  for (size_t i = 0; i < terms.size(); ++i) {
    if (terms[i] != "most" || i + 1 == terms.size() || !IsFrequency(terms[i + 1])) continue;
    const size_t begin = i > kReach ? i - kReach : 0, end = std::min(terms.size(), i + kReach);
    const auto near_begin = terms.begin() + static_cast<std::ptrdiff_t>(begin);
    const auto near_end = terms.begin() + static_cast<std::ptrdiff_t>(end);
    if (std::find(near_begin, near_end, "words") == near_end) continue;
    const int before = i > 0 ? NumberOf(terms[i - 1]) : 0;
    return before > 0 ? before : kDefaultWords;
  }
  return 0;
}

absl::StatusOr<FrequentWords> FindFrequentWords(const KeyStoreReader& store, absl::Span<const DocumentRow> documents,
                                                int num_words, int budget, const std::function<bool()>& should_stop) {
  ILRE_ASSIGN_OR_RETURN(const Counts counts, CountWords(store, documents, should_stop));
  FrequentWords result;
  for (const auto& [hash, count] : counts) result.counts.total += count;
  const std::vector<WordCount> frequent = MostFrequent(counts, static_cast<size_t>(num_words));
  std::vector<uint32_t> hashes;
  for (const auto& [hash, count] : frequent) hashes.push_back(hash);
  std::sort(hashes.begin(), hashes.end());
  ILRE_ASSIGN_OR_RETURN(const auto postings, FirstPostings(store, documents, hashes, kMaxTries, should_stop));
  for (const auto& [hash, count] : frequent) {
    const auto word = std::lower_bound(hashes.begin(), hashes.end(), hash) - hashes.begin();
    ILRE_ASSIGN_OR_RETURN(absl::optional<FoundWord> found,
                          FindFirst(store, documents, postings[static_cast<size_t>(word)], hash));
    if (!found.has_value()) continue;
    result.counts.words.push_back({std::move(found->word), count});
    ScoredSegment& place = found->place;
    if (static_cast<int>(place.num_tokens()) > budget) continue;
    budget -= static_cast<int>(place.num_tokens());
    place.score = static_cast<float>(static_cast<double>(count) / static_cast<double>(result.counts.total));
    place.in_prompt = true;
    result.places.push_back(place);
  }
  std::sort(result.places.begin(), result.places.end(), [](const ScoredSegment& a, const ScoredSegment& b) {
    return std::tie(a.document, a.begin) < std::tie(b.document, b.begin);
  });
  return result;
}

}  // namespace ilre
