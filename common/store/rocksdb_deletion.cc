// Deletion of documents: at once for readers, and later on the disk.
#include <algorithm>
#include <cstdint>
#include <memory>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/store/record_keys.h"
#include "common/store/rocksdb_key_store.h"
#include "common/store/rocksdb_status.h"

namespace ilre {
namespace {

// How many blocks there are records of, for a document whose row does not say. A table that cannot be read is passed
// over: the other families have the same blocks.
uint32_t CountBlocks(const RocksdbDatabase& database, uint64_t uid) {
  uint32_t num_blocks = 0;
  for (const auto& [family, record_class] : kBlockwiseRecords) {
    std::unique_ptr<rocksdb::Iterator> records(
        database.db()->NewIterator(MakeReadOptions(family), database.family(family)));
    records->SeekForPrev(DocumentEnd(record_class, uid));
    uint64_t last_uid = 0;
    uint32_t block = 0;
    const bool found =
        records->Valid() && ParseBlockwiseKey(FromSlice(records->key()), record_class, &last_uid, &block);
    if (found && last_uid == uid) num_blocks = std::max(num_blocks, block + 1);
    records->status().PermitUncheckedError();
  }
  return num_blocks;
}

// Record by record. A range would be one line, but an error of the disk in a compaction that finds nothing but deleted
// ranges ends the process: RocksDB asks for the smallest key of its empty table (CompactionJob's statistics, 7.8).
void DeleteRecords(const RocksdbDatabase& database, uint64_t uid, uint32_t num_blocks, rocksdb::WriteBatch* batch) {
  for (const auto& [family, record_class] : kBlockwiseRecords) {
    for (uint32_t block = 0; block < num_blocks; ++block) {
      batch->Delete(database.family(family), BlockwiseKey(record_class, uid, block));
    }
  }
  batch->Delete(database.family(kStateRecord.family), StateKey(uid));
}

}  // namespace

absl::Status RocksdbKeyStore::DeleteDocument(absl::string_view collection, absl::string_view document) {
  absl::MutexLock lock(&write_mutex_);
  return Free([&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(write_mutex_) { return DeleteAnyDocument(collection, document); });
}

absl::StatusOr<int> RocksdbKeyStore::ExpireDocuments(absl::Time now) {
  return DeleteWhere([now](const DocumentRow& row) { return IsExpired(row, now); });
}

// A damaged row does not keep its document from being deleted.
absl::Status RocksdbKeyStore::DeleteAnyDocument(absl::string_view collection, absl::string_view document) {
  const absl::StatusOr<DocumentRow> row = reader_.GetAnyDocument(collection, document);
  std::vector<uint64_t> uids;
  if (row.ok()) {
    uids.push_back(row->uid);
  } else if (absl::IsDataLoss(row.status())) {
    ILRE_ASSIGN_OR_RETURN(uids, FindUids(collection, document));
  } else {
    return row.status();
  }
  rocksdb::WriteBatch batch;
  {
    ILRE_ASSIGN_OR_RETURN(const DatabaseSlot::Lease database, slot_.Acquire());
    rocksdb::ColumnFamilyHandle* meta = database->family(Family::kMeta);
    batch.Delete(meta, DocumentRowKey(collection, document));
    for (const uint64_t uid : uids) {
      const std::string owner_key = OwnerKey(uid);
      const Owner owner = {std::string(collection), std::string(document), /*deleted=*/true};
      batch.Put(meta, owner_key, EncodeOwner(owner_key, owner));
      DeleteRecords(*database, uid, row.ok() ? row->num_blocks : CountBlocks(*database, uid), &batch);
    }
  }
  const uint64_t bytes = row.ok() ? SizesOf(*row).total() : 0;
  ILRE_RETURN_IF_ERROR(Write(&batch));
  if (row.ok()) usage_.Remove(collection, bytes);
  if (compactor_ != nullptr) compactor_->Ask();
  return absl::OkStatus();
}

// The uids whose owner has this name and is not deleted: what the document's own row would say if it could be read.
absl::StatusOr<std::vector<uint64_t>> RocksdbKeyStore::FindUids(absl::string_view collection,
                                                                absl::string_view document) const {
  std::vector<uint64_t> uids;
  ILRE_RETURN_IF_ERROR(VisitOwners([&](uint64_t uid, const Owner& owner) {
    if (!owner.deleted && owner.collection == collection && owner.document == document) uids.push_back(uid);
  }));
  return uids;
}

// In order of uids. A damaged owner is passed over: it can only keep disk space from being given back.
absl::Status RocksdbKeyStore::VisitOwners(const std::function<void(uint64_t, const Owner&)>& visit) const {
  ILRE_ASSIGN_OR_RETURN(const DatabaseSlot::Lease database, slot_.Acquire());
  std::unique_ptr<rocksdb::Iterator> records(
      database->db()->NewIterator(MakeReadOptions(Family::kMeta), database->family(Family::kMeta)));
  const std::string prefix = OwnerPrefix();
  for (records->Seek(prefix); records->Valid() && records->key().starts_with(prefix); records->Next()) {
    const absl::string_view key = FromSlice(records->key());
    uint64_t uid = 0;
    const absl::StatusOr<Owner> owner = ParseOwner(key, FromSlice(records->value()));
    if (owner.ok() && ParseOwnerKey(key, &uid)) visit(uid, *owner);
  }
  return FromRocksdb(records->status(), "cannot read the owners of documents");
}

absl::StatusOr<bool> RocksdbKeyStore::HasDeleted() const {
  bool has_deleted = false;
  ILRE_RETURN_IF_ERROR(VisitOwners([&](uint64_t, const Owner& owner) { has_deleted = has_deleted || owner.deleted; }));
  return has_deleted;
}

absl::Status RocksdbKeyStore::CompactDeleted() {
  absl::MutexLock lock(&compaction_mutex_);
  const auto unfinished = [](const DocumentRow& row) { return row.state == DocumentState::kDeleting; };
  ILRE_RETURN_IF_ERROR(DeleteWhere(unfinished).status());
  // Deleted documents that follow on each other are compacted together.
  std::vector<std::vector<uint64_t>> runs;
  bool in_run = false;
  ILRE_RETURN_IF_ERROR(VisitOwners([&](uint64_t uid, const Owner& owner) {
    if (owner.deleted && !in_run) runs.emplace_back();
    if (owner.deleted) runs.back().push_back(uid);
    in_run = owner.deleted;
  }));
  if (runs.empty()) return absl::OkStatus();
  for (const std::vector<uint64_t>& uids : runs) ILRE_RETURN_IF_ERROR(CompactUids(uids));
  return FlushAll();
}

// Puts everything into tables, so that the log, which still has what was deleted, can go.
absl::Status RocksdbKeyStore::FlushAll() {
  ILRE_ASSIGN_OR_RETURN(const DatabaseSlot::Lease database, slot_.Acquire());
  std::vector<rocksdb::ColumnFamilyHandle*> families;
  for (int i = 0; i < kNumFamilies; ++i) families.push_back(database->family(static_cast<Family>(i)));
  return FromRocksdb(database->db()->Flush(rocksdb::FlushOptions(), families),
                     absl::StrCat("cannot flush the store in ", path_));
}

// Gives back the space of all records from the first to the last of `uids`, then forgets these.
absl::Status RocksdbKeyStore::CompactUids(const std::vector<uint64_t>& uids) {
  rocksdb::WriteBatch forget;
  {
    ILRE_ASSIGN_OR_RETURN(const DatabaseSlot::Lease database, slot_.Acquire());
    rocksdb::CompactRangeOptions options;
    options.exclusive_manual_compaction = false;
    options.canceled = &cancel_compaction_;
    const auto compact = [&](const FamilyOfRecords& records) {
      const std::string begin = DocumentBegin(records.record_class, uids.front());
      const std::string end = DocumentEnd(records.record_class, uids.back());
      const rocksdb::Slice begin_slice(begin), end_slice(end);
      return FromRocksdb(
          database->db()->CompactRange(options, database->family(records.family), &begin_slice, &end_slice),
          absl::StrCat("cannot give the space of deleted documents back in ", path_));
    };
    for (const FamilyOfRecords& records : kBlockwiseRecords) ILRE_RETURN_IF_ERROR(compact(records));
    ILRE_RETURN_IF_ERROR(compact(kStateRecord));
    for (const uint64_t uid : uids) forget.Delete(database->family(Family::kMeta), OwnerKey(uid));
  }
  absl::MutexLock lock(&write_mutex_);
  return Free([&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(write_mutex_) { return Write(&forget); });
}

// Deletes the documents that are `condemned`, if they still are when their turn comes; returns how many there were.
absl::StatusOr<int> RocksdbKeyStore::DeleteWhere(const std::function<bool(const DocumentRow&)>& condemned) {
  std::vector<std::pair<std::string, std::string>> names;
  {
    ILRE_ASSIGN_OR_RETURN(const DatabaseSlot::Lease database, slot_.Acquire());
    const std::string prefix = DocumentRowPrefix("");
    std::unique_ptr<rocksdb::Iterator> records(
        database->db()->NewIterator(MakeReadOptions(Family::kMeta), database->family(Family::kMeta)));
    for (records->Seek(prefix); records->Valid() && records->key().starts_with(prefix); records->Next()) {
      const absl::StatusOr<DocumentRow> row = ParseDocumentRow(FromSlice(records->key()), FromSlice(records->value()));
      if (row.ok() && condemned(*row)) names.emplace_back(row->collection, row->document);
    }
    ILRE_RETURN_IF_ERROR(FromRocksdb(records->status(), "cannot list documents"));
  }
  int num_deleted = 0;
  for (const auto& name : names) {
    const std::string& collection = name.first;
    const std::string& document = name.second;
    absl::MutexLock lock(&write_mutex_);
    const absl::StatusOr<DocumentRow> row = reader_.GetAnyDocument(collection, document);
    if (!row.ok() || !condemned(*row)) continue;
    const auto remove = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(write_mutex_) {
      return DeleteAnyDocument(collection, document);
    };
    ILRE_RETURN_IF_ERROR(Free(remove));
    ++num_deleted;
  }
  return num_deleted;
}

}  // namespace ilre
