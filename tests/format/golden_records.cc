#include "tests/format/golden_records.h"

#include <cstdint>
#include <memory>

#include "absl/strings/string_view.h"
#include "common/base/check.h"
#include "common/store/plain_records.h"
#include "common/store/record_keys.h"
#include "common/store/records.h"

namespace ilre {
namespace {

constexpr uint64_t kUid = 7;

// A block of `n` tokens. Vectors, scales and offsets follow simple formulas, written down here for good.
std::string GoldenBlock(uint32_t block, int n, int32_t id_step, uint32_t end_step, std::vector<HeadFormat> heads) {
  std::vector<int32_t> ids;
  std::vector<uint32_t> ends;
  const auto starts = std::make_unique<bool[]>(static_cast<size_t>(n));
  for (int t = 0; t < n; ++t) {
    ids.push_back(t * id_step);
    ends.push_back(static_cast<uint32_t>(t + 1) * end_step);
    starts[static_cast<size_t>(t)] = t % 5 == 0;
  }
  BlockData data = {.document_uid = kUid,
                    .block = block,
                    .fingerprint = 0x0123456789ABCDEF,
                    .text_begin = block * uint64_t{1000},
                    .ids = ids,
                    .ends = ends,
                    .segment_starts = starts.get(),
                    .heads = std::move(heads)};
  std::vector<std::string> vectors;
  std::vector<std::vector<float>> scales;
  for (const HeadFormat& head : data.heads) {
    const bool int8 = head.type == VectorType::kInt8;
    const int count = head.pooled ? CountParts(starts.get(), static_cast<size_t>(n)) : n;
    vectors.emplace_back(static_cast<size_t>(count) * head.dim * (int8 ? 1 : 2), '\0');
    for (size_t i = 0; i < vectors.back().size(); ++i) vectors.back()[i] = static_cast<char>(i * 31 + 7);
    scales.emplace_back();
    for (int t = 0; int8 && t < count; ++t) scales.back().push_back(static_cast<float>(t) / 8.0f);
  }
  data.vectors.assign(vectors.begin(), vectors.end());
  data.scales.assign(scales.begin(), scales.end());
  const absl::StatusOr<std::string> value = EncodeBlock(data);
  ILRE_CHECK(value.ok());
  return *value;
}

DocumentRow GoldenRow() {
  return {.collection = "books",
          .document = "moby-dick",
          .uid = kUid,
          .state = DocumentState::kReady,
          .committed_bytes = 1'234'567,
          .num_tokens = 259,
          .num_blocks = 2,
          .text_checksum = 0xFEDCBA9876543210,
          .model = "00112233445566ff",
          .tokenizer = "8899aabbccddeeff",
          .profile = "0123456789abcdef",
          .create_time_ms = 1'700'000'000'000,
          .update_time_ms = 1'700'000'000'123,
          .expire_time_ms = 1'800'000'000'000,
          .revision = 42,
          .has_postings = true};
}

// Version 2: with sizes, and of a tenant.
DocumentRow GoldenSizedRow() {
  DocumentRow row = GoldenRow();
  row.collection = "acme.books";
  row.record_bytes = 0x0102030405060708;
  row.state_bytes = 65'536;
  return row;
}

DocumentRow GoldenFailedRow() {
  DocumentRow row = GoldenRow();
  row.document = "broken";
  row.state = DocumentState::kFailed;
  row.num_tokens = row.num_blocks = 0;
  row.failure = "document books/broken, block 0: the checksum does not match";
  return row;
}

LexicalData GoldenLexical() {
  return {.postings = {{1, 0, 1}, {1, 2, 255}, {0x80000000, 1, 2}, {0xFFFFFFFF, 0, 3}}, .segment_words = {4, 2, 300}};
}

}  // namespace

std::vector<GoldenRecord> MakeGoldenRecords() {
  const std::string row_key = DocumentRowKey("books", "moby-dick"), failed_key = DocumentRowKey("books", "broken");
  const std::string sized_key = DocumentRowKey("acme.books", "moby-dick");
  return {
      {"block_v1_bf16", RecordKind::kBlock, BlockKey(kUid, 0), GoldenBlock(0, 256, 190, 4, {{8, VectorType::kBf16}})},
      {"block_v1_int8", RecordKind::kBlock, BlockKey(kUid, 1),
       GoldenBlock(1, 3, 400'000, 40'000, {{5, VectorType::kInt8}, {2, VectorType::kBf16}})},
      {"block_v1_wide_ids", RecordKind::kBlock, BlockKey(kUid, 2), GoldenBlock(2, 9, 200'000'000, 1, {})},
      {"block_v2", RecordKind::kBlock, BlockKey(kUid, 3),
       GoldenBlock(3, 12, 1000, 4,
                   {{3, VectorType::kInt8, true}, {2, VectorType::kBf16}, {4, VectorType::kBf16, true}})},
      {"lexical_v1", RecordKind::kLexical, LexicalKey(kUid, 0), EncodeLexical(LexicalKey(kUid, 0), GoldenLexical())},
      {"row_v1_ready", RecordKind::kDocumentRow, row_key, EncodeDocumentRow(row_key, GoldenRow())},
      {"row_v1_failed", RecordKind::kDocumentRow, failed_key, EncodeDocumentRow(failed_key, GoldenFailedRow())},
      {"row_v2", RecordKind::kDocumentRow, sized_key, EncodeDocumentRow(sized_key, GoldenSizedRow())},
      {"text_v1", RecordKind::kText, TextKey(kUid, 0), EncodeText(TextKey(kUid, 0), "Call me Ishmael. \xC3\xA9\n")},
      {"state_v1", RecordKind::kState, StateKey(kUid), EncodeState(StateKey(kUid), absl::string_view("\0\1\2\xFF", 4))},
      {"store_header_v1", RecordKind::kStoreHeader, StoreHeaderKey(), EncodeStoreHeader(StoreHeaderKey(), 1)},
      {"next_uid_v1", RecordKind::kNextUid, NextUidKey(), EncodeNextUid(NextUidKey(), kUid + 1)},
      {"owner_v1", RecordKind::kOwner, OwnerKey(kUid), EncodeOwner(OwnerKey(kUid), {"books", "moby-dick"})},
      {"owner_v1_tenant", RecordKind::kOwner, OwnerKey(5), EncodeOwner(OwnerKey(5), {"acme.books", "moby-dick"})},
      {"owner_v1_deleted", RecordKind::kOwner, OwnerKey(3), EncodeOwner(OwnerKey(3), {"books", "old", true})},
  };
}

std::string GoldenFileContent(const GoldenRecord& record) {
  return std::string(1, static_cast<char>(record.key.size())) + record.key + record.value;
}

}  // namespace ilre
