#include "retriever_service/word_finder.h"

#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "common/base/errors.h"
#include "common/base/status_macros.h"
#include "common/retrieval/lexical.h"

namespace ilre {
namespace {

constexpr uint32_t kMaxRunOn = 16;  // tokens of a word after the end of its segment

bool IsWordByte(char c) {
  return absl::ascii_isalnum(static_cast<unsigned char>(c)) || static_cast<uint8_t>(c) >= 0x80;
}

// The text of some tokens and where each of them ends in it.
struct SegmentText {
  std::string text;
  std::vector<size_t> ends;
};

absl::StatusOr<SegmentText> ReadTokens(const KeyStoreReader& store, const DocumentRow& row, ScoredSegment segment) {
  const uint32_t first = segment.begin / kBlockTokens, end = (segment.end - 1) / kBlockTokens + 1;
  SegmentText read;
  uint64_t blocks_begin = 0, text_begin = 0;
  ILRE_RETURN_IF_ERROR(store.VisitBlocks(row, first, end, [&](const BlockView& block) {
    if (block.block() == first) text_begin = blocks_begin = block.text_begin();
    const uint32_t base = block.block() * kBlockTokens;
    for (uint32_t i = 0; i < static_cast<uint32_t>(block.num_tokens()); ++i) {
      const uint64_t token_end = block.text_begin() + block.token_end(static_cast<int>(i));
      if (base + i < segment.begin) text_begin = token_end;
      if (base + i >= segment.begin && base + i < segment.end) read.ends.push_back(token_end - text_begin);
    }
    return absl::OkStatus();
  }));
  ILRE_ASSIGN_OR_RETURN(const std::string text, store.ReadText(row, first, end));
  if (read.ends.empty() || text_begin - blocks_begin + read.ends.back() > text.size()) {
    return MakeError(absl::StatusCode::kDataLoss, "BLOCK_DAMAGED",
                     absl::StrCat("document ", row.collection, "/", row.document, ", block ", first,
                                  ": its text is shorter than its tokens"));
  }
  read.text = text.substr(text_begin - blocks_begin, read.ends.back());
  return read;
}

}  // namespace

absl::StatusOr<absl::optional<ScoredSegment>> FindWord(const KeyStoreReader& store,
                                                       absl::Span<const DocumentRow> documents,
                                                       const ScoredSegment& segment, uint32_t word) {
  const DocumentRow& row = documents[segment.document];
  ScoredSegment around = segment;
  around.begin -= segment.begin > 0 ? 1 : 0;
  around.end = static_cast<uint32_t>(std::min<uint64_t>(row.num_tokens, uint64_t{segment.end} + kMaxRunOn));
  ILRE_ASSIGN_OR_RETURN(const SegmentText read, ReadTokens(store, row, around));
  const absl::string_view text = read.text;
  std::vector<uint32_t> hashes;
  size_t begin = 0;  // byte where a run of tokens begins that words do not leave
  uint32_t run = around.begin;
  for (uint32_t i = 0; i < read.ends.size() && run < segment.end; ++i) {
    const size_t end = read.ends[i];
    if (end > 0 && end < text.size() && IsWordByte(text[end - 1]) && IsWordByte(text[end])) continue;
    hashes.clear();
    AppendWordHashes(text.substr(begin, end - begin), &hashes);
    if (run >= segment.begin && std::find(hashes.begin(), hashes.end(), word) != hashes.end()) {
      ScoredSegment place = segment;
      place.begin = run;
      place.end = around.begin + i + 1;
      return absl::optional<ScoredSegment>(place);
    }
    begin = end;
    run = around.begin + i + 1;
  }
  return absl::optional<ScoredSegment>();
}

}  // namespace ilre
