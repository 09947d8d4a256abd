// Reading every record of the store at its opening.
#include <algorithm>

#include "common/base/status_macros.h"
#include "common/store/rocksdb_key_store.h"

namespace ilre {
namespace {

constexpr int kPageSize = 1000;         // rows
constexpr uint32_t kBlocksAtOnce = 64;  // whose text is held in memory

}  // namespace

// A damaged document becomes FAILED, and the others go on. One whose row is damaged is listed as FAILED anyway.
absl::Status RocksdbKeyStore::VerifyAll() {
  std::string next;
  do {
    ILRE_ASSIGN_OR_RETURN(Page page, ListDocuments("", kPageSize, next));
    for (DocumentRow& row : page.rows) {
      if (row.uid == 0) continue;
      const absl::Status sound = VerifyDocument(row);
      if (!absl::IsDataLoss(sound)) {
        ILRE_RETURN_IF_ERROR(sound);
        continue;
      }
      row.state = DocumentState::kFailed;
      row.failure = std::string(sound.message()).substr(0, kMaxFailureBytes);
      ILRE_RETURN_IF_ERROR(UpdateRow(row).status());
    }
    next = page.next;
  } while (!next.empty());
  return absl::OkStatus();
}

absl::Status RocksdbKeyStore::VerifyDocument(const DocumentRow& row) const {
  ILRE_RETURN_IF_ERROR(VisitBlocks(row, 0, row.num_blocks, [](const BlockView&) { return absl::OkStatus(); }));
  for (uint32_t block = 0; block < row.num_blocks; block += kBlocksAtOnce) {
    const uint32_t end = std::min(block + kBlocksAtOnce, row.num_blocks);
    ILRE_RETURN_IF_ERROR(ReadText(row, block, end).status());
  }
  if (row.has_postings) {
    const auto ignore = [](uint32_t, const LexicalData&) { return absl::OkStatus(); };
    ILRE_RETURN_IF_ERROR(VisitLexical(row, 0, row.num_blocks, ignore));
  }
  return ReadState(row).status();
}

}  // namespace ilre
