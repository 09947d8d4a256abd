#include "retriever_service/word_places.h"

#include <algorithm>

#include "common/base/status_macros.h"
#include "retriever_service/document_scan.h"
#include "retriever_service/word_scan.h"

namespace ilre {
namespace {

constexpr uint32_t kBlocksPerRange = 8;
constexpr size_t kRangesAtOnce = 8;

using Postings = std::vector<std::vector<PostingPlace>>;  // [words]

absl::Status TakeRange(const KeyStoreReader& store, absl::Span<const DocumentRow> documents, const BlockRange& range,
                       absl::Span<const uint32_t> words, size_t max_each, Postings* found) {
  found->resize(words.size());
  return store.VisitLexical(documents[range.document], range.begin, range.end,
                            [&](uint32_t block, const LexicalData& lexical) {
                              VisitPostings(lexical, words, [&](uint16_t word, const LexicalPosting& posting) {
                                std::vector<PostingPlace>& places = (*found)[word];
                                if (places.size() < max_each)
                                  places.push_back({range.document, block, posting.segment});
                              });
                              return absl::OkStatus();
                            });
}

// Tokens, counted in the document, at which segments start in one block.
absl::StatusOr<std::vector<uint32_t>> StartsIn(const KeyStoreReader& store, const DocumentRow& row, uint32_t block) {
  std::vector<uint32_t> starts;
  ILRE_RETURN_IF_ERROR(store.VisitBlocks(row, block, block + 1, [&](const BlockView& view) {
    for (int token = 0; token < view.num_tokens(); ++token) {
      if (view.starts_segment(token)) starts.push_back(block * kBlockTokens + static_cast<uint32_t>(token));
    }
    return absl::OkStatus();
  }));
  return starts;
}

}  // namespace

absl::StatusOr<Postings> FirstPostings(const KeyStoreReader& store, absl::Span<const DocumentRow> documents,
                                       absl::Span<const uint32_t> words, size_t max_each,
                                       const std::function<bool()>& should_stop) {
  const std::vector<BlockRange> ranges = SplitIntoRanges(documents, kBlocksPerRange);
  Postings first(words.size());
  const auto has_all = [&] {
    return std::all_of(first.begin(), first.end(), [&](const auto& places) { return places.size() >= max_each; });
  };
  for (size_t begin = 0; begin < ranges.size() && !has_all(); begin += kRangesAtOnce) {
    std::vector<Postings> found(std::min(kRangesAtOnce, ranges.size() - begin));
    ILRE_RETURN_IF_ERROR(ForEachRange(found.size(), should_stop, [&](size_t i) {
      return TakeRange(store, documents, ranges[begin + i], words, max_each, &found[i]);
    }));
    for (const Postings& here : found) {
      for (size_t word = 0; word < words.size(); ++word) {
        const size_t count = std::min(max_each - first[word].size(), here[word].size());
        first[word].insert(first[word].end(), here[word].begin(), here[word].begin() + static_cast<ptrdiff_t>(count));
      }
    }
  }
  return first;
}

absl::StatusOr<absl::optional<ScoredSegment>> SegmentOf(const KeyStoreReader& store,
                                                        absl::Span<const DocumentRow> documents,
                                                        const PostingPlace& posting) {
  const DocumentRow& row = documents[posting.document];
  ILRE_ASSIGN_OR_RETURN(std::vector<uint32_t> starts, StartsIn(store, row, posting.block));
  if (posting.segment > starts.size()) return absl::optional<ScoredSegment>();
  ScoredSegment segment{.document = posting.document, .end = static_cast<uint32_t>(row.num_tokens)};
  bool has_begin = posting.segment > 0, has_end = posting.segment < starts.size();
  if (has_begin) segment.begin = starts[posting.segment - 1u];
  if (has_end) segment.end = starts[posting.segment];
  for (uint32_t block = posting.block; !has_begin && block > 0; --block) {
    ILRE_ASSIGN_OR_RETURN(starts, StartsIn(store, row, block - 1));
    has_begin = !starts.empty();
    if (has_begin) segment.begin = starts.back();
  }
  for (uint32_t block = posting.block + 1; !has_end && block < row.num_blocks; ++block) {
    ILRE_ASSIGN_OR_RETURN(starts, StartsIn(store, row, block));
    has_end = !starts.empty();
    if (has_end) segment.end = starts.front();
  }
  return has_begin ? absl::optional<ScoredSegment>(segment) : absl::optional<ScoredSegment>();
}

}  // namespace ilre
