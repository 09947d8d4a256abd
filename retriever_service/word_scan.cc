#include "retriever_service/word_scan.h"

#include <algorithm>
#include <limits>
#include <tuple>

#include "common/base/check.h"
#include "common/base/status_macros.h"
#include "retriever_service/document_scan.h"

namespace ilre {
namespace {

constexpr uint32_t kBlocksPerRange = 32;

bool BeginsBefore(const ScoredSegment& segment, uint32_t token) { return segment.begin < token; }

// Hits of one block. first: the first segment that starts in this block or later; the block's own index 0 is what runs
// on from before.
void TakeBlock(const LexicalData& lexical, absl::Span<const uint32_t> words, size_t first, size_t num_segments,
               std::vector<WordHit>* hits) {
  VisitPostings(lexical, words, [&](uint16_t word, const LexicalPosting& posting) {
    const size_t segment = first + posting.segment;  // one too many
    if (segment == 0 || segment > num_segments) return;
    hits->push_back({static_cast<uint32_t>(segment - 1), word, posting.count});
  });
}

// Sorts hits[begin..]; parts of one segment and word, which may lie in two blocks, become one hit.
void MergeParts(size_t begin, std::vector<WordHit>* hits) {
  std::sort(hits->begin() + static_cast<ptrdiff_t>(begin), hits->end(), [](const WordHit& x, const WordHit& y) {
    return std::tie(x.segment, x.word) < std::tie(y.segment, y.word);
  });
  size_t kept = begin;
  for (size_t i = begin; i < hits->size(); ++i) {
    const WordHit hit = (*hits)[i];
    if (kept > begin && (*hits)[kept - 1].segment == hit.segment && (*hits)[kept - 1].word == hit.word) {
      uint16_t& count = (*hits)[kept - 1].count;
      count = static_cast<uint16_t>(std::min<int>(count + hit.count, std::numeric_limits<uint16_t>::max()));
    } else {
      (*hits)[kept++] = hit;
    }
  }
  hits->resize(kept);
}

// Joins hits of consecutive ranges, each merged. Only the segment that runs on from one range into the next has parts
// in both.
std::vector<WordHit> JoinRanges(const std::vector<std::vector<WordHit>>& ranges) {
  size_t total = 0;
  for (const std::vector<WordHit>& range : ranges) total += range.size();
  std::vector<WordHit> hits;
  hits.reserve(total);
  for (const std::vector<WordHit>& range : ranges) {
    size_t shared = hits.size();  // where hits of the range's first segment begin
    while (!range.empty() && shared > 0 && hits[shared - 1].segment == range[0].segment) --shared;
    size_t first = 0;  // after those in the range
    if (shared < hits.size()) {
      while (first < range.size() && range[first].segment == range[0].segment) hits.push_back(range[first++]);
      MergeParts(shared, &hits);
    }
    hits.insert(hits.end(), range.begin() + static_cast<ptrdiff_t>(first), range.end());
  }
  return hits;
}

}  // namespace

void VisitPostings(const LexicalData& lexical, absl::Span<const uint32_t> words,
                   absl::FunctionRef<void(uint16_t, const LexicalPosting&)> visit) {
  auto posting = lexical.postings.begin();
  const auto end = lexical.postings.end();
  for (size_t w = 0; w < words.size() && posting != end; ++w) {
    posting = std::lower_bound(posting, end, words[w],
                               [](const LexicalPosting& p, uint32_t hash) { return p.word_hash < hash; });
    for (; posting != end && posting->word_hash == words[w]; ++posting) visit(static_cast<uint16_t>(w), *posting);
  }
}

absl::StatusOr<std::vector<WordHit>> ScanWords(const KeyStoreReader& store, absl::Span<const DocumentRow> documents,
                                               absl::Span<const ScoredSegment> segments,
                                               absl::Span<const uint32_t> words,
                                               const std::function<bool()>& should_stop) {
  ILRE_CHECK(words.size() <= std::numeric_limits<uint16_t>::max());
  std::vector<size_t> document_begins;  // [documents + 1] into segments
  size_t at = 0;
  for (uint32_t document = 0; document <= documents.size(); ++document) {
    while (at < segments.size() && segments[at].document < document) ++at;
    document_begins.push_back(at);
  }
  const std::vector<BlockRange> ranges = SplitIntoRanges(documents, kBlocksPerRange);
  std::vector<std::vector<WordHit>> found(ranges.size());
  ILRE_RETURN_IF_ERROR(ForEachRange(ranges.size(), should_stop, [&](size_t i) -> absl::Status {
    const BlockRange& range = ranges[i];
    const auto begin = segments.begin() + static_cast<ptrdiff_t>(document_begins[range.document]);
    const auto end = segments.begin() + static_cast<ptrdiff_t>(document_begins[range.document + 1]);
    ILRE_RETURN_IF_ERROR(store.VisitLexical(
        documents[range.document], range.begin, range.end, [&](uint32_t block, const LexicalData& lexical) {
          const auto first = std::lower_bound(begin, end, block * kBlockTokens, BeginsBefore);
          TakeBlock(lexical, words, static_cast<size_t>(first - segments.begin()),
                    static_cast<size_t>(end - segments.begin()), &found[i]);
          return absl::OkStatus();
        }));
    MergeParts(0, &found[i]);  // here, side by side
    return absl::OkStatus();
  }));
  return JoinRanges(found);
}

}  // namespace ilre
