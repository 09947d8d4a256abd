#include "retriever_service/text_reader.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "common/base/errors.h"
#include "common/base/status_macros.h"
#include "common/base/utf8.h"

namespace ilre {
namespace {

absl::StatusOr<uint64_t> TextBeginOf(const KeyStoreReader& store, const DocumentRow& row, uint32_t block) {
  uint64_t begin = 0;
  ILRE_RETURN_IF_ERROR(store.VisitBlocks(row, block, block + 1, [&](const BlockView& view) {
    begin = view.text_begin();
    return absl::OkStatus();
  }));
  return begin;
}

bool IsContinuation(char c) { return (static_cast<unsigned char>(c) & 0xC0) == 0x80; }

}  // namespace

absl::StatusOr<TextPiece> ReadTextPiece(const KeyStoreReader& store, const DocumentRow& row, uint64_t byte_begin,
                                        uint64_t num_bytes) {
  if (byte_begin > row.committed_bytes) {
    return MakeError(absl::StatusCode::kOutOfRange, "OFFSET_BEHIND_END",
                     absl::StrCat("byte ", byte_begin, " of document ", row.collection, "/", row.document,
                                  ", which has ", row.committed_bytes));
  }
  if (row.num_blocks == 0 || byte_begin == row.committed_bytes) return TextPiece{"", byte_begin};
  const uint64_t wanted = byte_begin - std::min<uint64_t>(byte_begin, 3);  // a character may begin 3 bytes earlier
  uint32_t low = 0, high = row.num_blocks;                                 // the block is in [low, high)
  while (high - low > 1) {
    const uint32_t middle = low + (high - low) / 2;
    ILRE_ASSIGN_OR_RETURN(const uint64_t begin, TextBeginOf(store, row, middle));
    (begin <= wanted ? low : high) = middle;
  }
  ILRE_ASSIGN_OR_RETURN(const uint64_t text_begin, TextBeginOf(store, row, low));
  std::string text;
  for (uint32_t block = low; block < row.num_blocks && text_begin + text.size() < byte_begin + num_bytes; ++block) {
    ILRE_ASSIGN_OR_RETURN(const std::string more, store.ReadText(row, block, block + 1));
    text += more;
  }
  uint64_t from = std::min<uint64_t>(byte_begin - text_begin, text.size());
  while (from > 0 && IsContinuation(text[from])) --from;
  const uint64_t end = std::min<uint64_t>(byte_begin + num_bytes - text_begin, text.size());
  TextPiece piece{text.substr(from, end - from), text_begin + from};
  piece.text.resize(Utf8ValidPrefix(piece.text));
  return piece;
}

}  // namespace ilre
