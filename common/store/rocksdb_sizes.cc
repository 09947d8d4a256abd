// How many bytes documents have, for quotas.
#include <memory>

#include "absl/strings/match.h"
#include "common/base/status_macros.h"
#include "common/store/record_keys.h"
#include "common/store/rocksdb_key_store.h"
#include "common/store/rocksdb_status.h"

namespace ilre {
namespace {

// Of all values in [begin, end). What cannot be read counts as nothing: its reader will say so.
uint64_t SumOfValues(const RocksdbDatabase& database, Family family, const std::string& begin, const std::string& end) {
  const rocksdb::Slice upper_bound(end);
  rocksdb::ReadOptions read = MakeReadOptions(family);
  read.iterate_upper_bound = &upper_bound;
  std::unique_ptr<rocksdb::Iterator> records(database.db()->NewIterator(read, database.family(family)));
  uint64_t bytes = 0;
  for (records->Seek(begin); records->Valid(); records->Next()) bytes += records->value().size();
  records->status().PermitUncheckedError();
  return bytes;
}

}  // namespace

// Fills the ledger, once. Documents whose row is damaged are not in it.
absl::Status RocksdbKeyStore::CountUsage() {
  ILRE_ASSIGN_OR_RETURN(const DatabaseSlot::Lease database, slot_.Acquire());
  const std::string prefix = DocumentRowPrefix("");
  std::unique_ptr<rocksdb::Iterator> records(
      database->db()->NewIterator(MakeReadOptions(Family::kMeta), database->family(Family::kMeta)));
  for (records->Seek(prefix); records->Valid() && records->key().starts_with(prefix); records->Next()) {
    const absl::StatusOr<DocumentRow> row = ParseDocumentRow(FromSlice(records->key()), FromSlice(records->value()));
    if (row.ok()) usage_.Add(row->collection, SizesOf(*row).total());
  }
  return FromRocksdb(records->status(), "cannot list documents");
}

// As the row says; where it does not, its records are measured, which reads all of them.
RocksdbKeyStore::Sizes RocksdbKeyStore::SizesOf(const DocumentRow& row) const {
  if (row.record_bytes != 0 || row.state_bytes != 0) return {.records = row.record_bytes, .state = row.state_bytes};
  const absl::StatusOr<DatabaseSlot::Lease> database = slot_.Acquire();
  if (!database.ok()) return {};
  const auto sum = [&](const FamilyOfRecords& records) {
    return SumOfValues(**database, records.family, DocumentBegin(records.record_class, row.uid),
                       DocumentEnd(records.record_class, row.uid));
  };
  Sizes sizes;
  for (const FamilyOfRecords& records : kBlockwiseRecords) sizes.records += sum(records);
  sizes.state = sum(kStateRecord);
  return sizes;
}

// Of the records of one block.
uint64_t RocksdbKeyStore::SizeOfBlock(const DocumentRow& row, uint32_t block) const {
  const absl::StatusOr<DatabaseSlot::Lease> database = slot_.Acquire();
  if (!database.ok()) return 0;
  uint64_t bytes = 0;
  for (const auto& [family, record_class] : kBlockwiseRecords) {
    bytes += SumOfValues(**database, family, BlockwiseKey(record_class, row.uid, block),
                         BlockwiseKey(record_class, row.uid, block + 1));
  }
  return bytes;
}

}  // namespace ilre
