#include "common/store/test_reencode.h"

#include <cstddef>
#include <memory>
#include <vector>

#include "common/base/check.h"
#include "common/base/status_macros.h"
#include "common/store/plain_records.h"

namespace ilre {

std::string ReencodeBlock(const BlockView& view) {
  const auto n = static_cast<size_t>(view.num_tokens());
  std::vector<int32_t> ids(n);
  std::vector<uint32_t> ends(n);
  const auto starts = std::make_unique<bool[]>(n);
  for (size_t t = 0; t < n; ++t) {
    ids[t] = view.id(static_cast<int>(t));
    ends[t] = view.token_end(static_cast<int>(t));
    starts[t] = view.starts_segment(static_cast<int>(t));
  }
  BlockData block = {.document_uid = view.document_uid(),
                     .block = view.block(),
                     .fingerprint = view.fingerprint(),
                     .text_begin = view.text_begin(),
                     .ids = ids,
                     .ends = ends,
                     .segment_starts = starts.get(),
                     .heads = view.heads()};
  std::vector<std::vector<float>> scales(view.heads().size());
  for (size_t h = 0; h < scales.size(); ++h) {
    const bool scaled = view.heads()[h].type == VectorType::kInt8;
    const int head = static_cast<int>(h);
    for (int v = 0; scaled && v < view.num_vectors(head); ++v) scales[h].push_back(view.scale(head, v));
    block.scales.emplace_back(scales[h]);
    block.vectors.push_back(view.vectors(static_cast<int>(h)));
  }
  const absl::StatusOr<std::string> value = EncodeBlock(block);
  ILRE_CHECK(value.ok());
  return *value;
}

absl::Status ParseAndReencode(RecordKind kind, absl::string_view key, absl::string_view value, std::string* again) {
  switch (kind) {
    case RecordKind::kBlock: {
      ILRE_ASSIGN_OR_RETURN(const BlockView view, BlockView::Parse(key, value));
      *again = ReencodeBlock(view);
      return absl::OkStatus();
    }
    case RecordKind::kLexical: {
      ILRE_ASSIGN_OR_RETURN(const LexicalData data, ParseLexical(key, value));
      *again = EncodeLexical(key, data);
      return absl::OkStatus();
    }
    case RecordKind::kDocumentRow: {
      ILRE_ASSIGN_OR_RETURN(const DocumentRow row, ParseDocumentRow(key, value));
      *again = EncodeDocumentRow(key, row);
      return absl::OkStatus();
    }
    case RecordKind::kText: {
      ILRE_ASSIGN_OR_RETURN(const absl::string_view text, ParseText(key, value));
      *again = EncodeText(key, text);
      return absl::OkStatus();
    }
    case RecordKind::kState: {
      ILRE_ASSIGN_OR_RETURN(const absl::string_view state, ParseState(key, value));
      *again = EncodeState(key, state);
      return absl::OkStatus();
    }
    case RecordKind::kStoreHeader: {
      ILRE_ASSIGN_OR_RETURN(const uint32_t version, ParseStoreHeader(key, value));
      *again = EncodeStoreHeader(key, version);
      return absl::OkStatus();
    }
    case RecordKind::kNextUid: {
      ILRE_ASSIGN_OR_RETURN(const uint64_t next_uid, ParseNextUid(key, value));
      *again = EncodeNextUid(key, next_uid);
      return absl::OkStatus();
    }
    case RecordKind::kOwner: {
      ILRE_ASSIGN_OR_RETURN(const Owner owner, ParseOwner(key, value));
      *again = EncodeOwner(key, owner);
      return absl::OkStatus();
    }
  }
  return absl::OkStatus();
}

}  // namespace ilre
