#include "cli/report/passage.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "common/base/errors.h"
#include "common/base/status_macros.h"

namespace ilre::cli {
namespace {

constexpr char kEllipsis[] = "\xE2\x80\xA6";
constexpr size_t kLongWord = 40;  // bytes: a longer one is cut

bool IsSpace(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }
bool IsContinuation(char c) { return (static_cast<unsigned char>(c) & 0xC0) == 0x80; }

// The end of `text`, at most max_bytes of it, beginning with a word if there is one near.
std::string LastWords(absl::string_view text, size_t max_bytes) {
  size_t begin = text.size() - std::min(text.size(), max_bytes);
  while (begin < text.size() && IsContinuation(text[begin])) ++begin;
  for (size_t i = begin; i < std::min(text.size(), begin + kLongWord); ++i) {
    if (IsSpace(text[i])) return std::string(text.substr(i + 1));
  }
  return std::string(text.substr(begin));
}

// The beginning of `text`, at most max_bytes of it, ending with a word if there is one near.
std::string FirstWords(absl::string_view text, size_t max_bytes) {
  size_t end = std::min(text.size(), max_bytes);
  while (end > 0 && end < text.size() && IsContinuation(text[end])) --end;
  for (size_t i = end; i > 0 && i + kLongWord > end; --i) {
    if (IsSpace(text[i - 1])) return std::string(text.substr(0, i - 1));
  }
  return std::string(text.substr(0, end));
}

}  // namespace

absl::StatusOr<Passage> ReadPassage(const KeyStoreReader& store, const DocumentRow& row, uint32_t token_begin,
                                    uint32_t token_end, size_t context_bytes) {
  if (token_begin >= token_end || token_end > row.num_tokens) {
    return errors::InvalidArgument(absl::StrCat("document ", row.collection, "/", row.document, " has no tokens ",
                                                token_begin, " to ", token_end));
  }
  Passage passage;
  passage.document = absl::StrCat(row.collection, "/", row.document);
  passage.token_begin = token_begin;
  passage.token_end = token_end;
  // One block more on either side for the context.
  const uint32_t first = token_begin / kBlockTokens, last = (token_end - 1) / kBlockTokens;
  const uint32_t begin = first > 0 ? first - 1 : 0, end = std::min(row.num_blocks, last + 2);
  uint64_t text_begin = 0;
  ILRE_RETURN_IF_ERROR(store.VisitBlocks(row, begin, end, [&](const BlockView& block) {
    if (block.block() == begin) text_begin = block.text_begin();
    if (block.block() == first) {
      const int token = static_cast<int>(token_begin % kBlockTokens);
      passage.byte_begin = block.text_begin() + (token > 0 ? block.token_end(token - 1) : 0);
    }
    if (block.block() == last) {
      passage.byte_end = block.text_begin() + block.token_end(static_cast<int>((token_end - 1) % kBlockTokens));
    }
    return absl::OkStatus();
  }));
  ILRE_ASSIGN_OR_RETURN(const std::string stored, store.ReadText(row, begin, end));
  const absl::string_view text = stored;
  if (passage.byte_begin < text_begin || passage.byte_end < passage.byte_begin ||
      passage.byte_end - text_begin > text.size()) {
    return MakeError(
        absl::StatusCode::kDataLoss, "BLOCK_DAMAGED",
        absl::StrCat("document ", passage.document, ", block ", first, ": its text is shorter than its tokens"));
  }
  const absl::string_view before = text.substr(0, passage.byte_begin - text_begin);
  const absl::string_view after = text.substr(passage.byte_end - text_begin);
  passage.text = std::string(text.substr(before.size(), passage.byte_end - passage.byte_begin));
  passage.before = LastWords(before, context_bytes);
  passage.after = FirstWords(after, context_bytes);
  if (passage.byte_begin > passage.before.size()) passage.before = absl::StrCat(kEllipsis, passage.before);
  if (passage.byte_end + passage.after.size() < row.committed_bytes) passage.after += kEllipsis;
  return passage;
}

}  // namespace ilre::cli
