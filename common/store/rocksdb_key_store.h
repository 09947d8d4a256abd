// The store that writes: RocksDB with one synced batch per commit.
//
// Writes go one at a time under a mutex. When one fails, or RocksDB meets an error in its background work, RocksDB
// takes no more of them; readers go on with what they have. The next write then first makes sure that the disk works
// again (ProbeDisk), takes the failed write out of the log (WalGuard) and reopens RocksDB.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "common/store/background_errors.h"
#include "common/store/background_task.h"
#include "common/store/disk_reserve.h"
#include "common/store/key_store.h"
#include "common/store/plain_records.h"
#include "common/store/rocksdb_database.h"
#include "common/store/rocksdb_reader.h"
#include "common/store/usage_ledger.h"
#include "common/store/wal_guard.h"
#include "rocksdb/env.h"
#include "rocksdb/write_batch.h"

namespace ilre {

class RocksdbKeyStore final : public KeyStore {
 public:
  // `env` is where the files lie: the system's, or one that fails on purpose. It must outlive the store.
  static absl::StatusOr<std::unique_ptr<RocksdbKeyStore>> Open(const std::string& path, const KeyStoreOptions& options,
                                                               rocksdb::Env* env);
  // Puts what is in memory into tables, as far as the disk allows; what was committed is durable without that.
  ~RocksdbKeyStore() override;

  absl::StatusOr<DocumentRow> GetDocument(absl::string_view collection, absl::string_view document) const override {
    return reader_.GetDocument(collection, document);
  }
  absl::StatusOr<Page> ListDocuments(absl::string_view collection, int page_size,
                                     absl::string_view after) const override {
    return reader_.ListDocuments(collection, page_size, after);
  }
  absl::Status VisitBlocks(const DocumentRow& row, uint32_t begin, uint32_t end,
                           const std::function<absl::Status(const BlockView&)>& visit) const override {
    return reader_.VisitBlocks(row, begin, end, visit);
  }
  absl::Status VisitLexical(const DocumentRow& row, uint32_t begin, uint32_t end,
                            const std::function<absl::Status(uint32_t, const LexicalData&)>& visit) const override {
    return reader_.VisitLexical(row, begin, end, visit);
  }
  absl::StatusOr<std::string> ReadText(const DocumentRow& row, uint32_t begin, uint32_t end) const override {
    return reader_.ReadText(row, begin, end);
  }
  absl::StatusOr<std::string> ReadState(const DocumentRow& row) const override { return reader_.ReadState(row); }
  absl::StatusOr<Stats> GetStats() const override { return reader_.GetStats(); }
  absl::Status Refresh() override { return absl::OkStatus(); }

  absl::StatusOr<DocumentRow> CreateDocument(const DocumentRow& row) override;
  absl::StatusOr<DocumentRow> Apply(const Commit& commit) override;
  absl::StatusOr<DocumentRow> UpdateRow(const DocumentRow& row) override;
  absl::Status DeleteDocument(absl::string_view collection, absl::string_view document) override;
  absl::Status CompactDeleted() override;
  absl::StatusOr<int> ExpireDocuments(absl::Time now) override;
  Usage UsageOf(absl::string_view tenant) const override { return usage_.Of(tenant); }
  Usage TotalUsage() const override { return usage_.Total(); }

 private:
  RocksdbKeyStore(std::string path, const KeyStoreOptions& options, rocksdb::Env* env);
  absl::StatusOr<std::unique_ptr<RocksdbDatabase>> OpenDatabase();
  absl::Status Close() ABSL_EXCLUSIVE_LOCKS_REQUIRED(write_mutex_);

  // To be called first under the mutex: makes the store writable if a failure before left it otherwise.
  absl::Status PrepareWrite() ABSL_EXCLUSIVE_LOCKS_REQUIRED(write_mutex_);
  // The same for writes that may make the store grow: of these there are none while the reserve is in use.
  absl::Status PrepareGrowth() ABSL_EXCLUSIVE_LOCKS_REQUIRED(write_mutex_);
  // Does `write`, which frees space; if the disk is full, again with the help of the reserve.
  absl::Status Free(const std::function<absl::Status()>& write) ABSL_EXCLUSIVE_LOCKS_REQUIRED(write_mutex_);
  // Reopens RocksDB after a failure, once its cause is gone; until then, an error.
  absl::Status Recover() ABSL_EXCLUSIVE_LOCKS_REQUIRED(write_mutex_);
  // Writes `batch` whole and durably, or not at all.
  absl::Status Write(rocksdb::WriteBatch* batch) ABSL_EXCLUSIVE_LOCKS_REQUIRED(write_mutex_);

  // Helpers of the writing methods; see their definitions.
  absl::StatusOr<uint64_t> ReadNextUid() const;
  absl::StatusOr<DocumentRow> ReadForChange(const DocumentRow& row) const;
  absl::StatusOr<DocumentRow> PutChangedRow(const DocumentRow& stored, const DocumentRow& row,
                                            rocksdb::WriteBatch* batch) const;
  absl::StatusOr<DocumentRow> PutCommit(const DocumentRow& stored, const Commit& commit,
                                        rocksdb::WriteBatch* batch) const;

  // Sizes of documents, in rocksdb_sizes.cc.
  struct Sizes {
    uint64_t records = 0, state = 0;
    uint64_t total() const { return records + state; }
  };
  absl::Status CountUsage();
  Sizes SizesOf(const DocumentRow& row) const;
  uint64_t SizeOfBlock(const DocumentRow& row, uint32_t block) const;

  // Helpers of deletion, in rocksdb_deletion.cc.
  absl::Status DeleteAnyDocument(absl::string_view collection, absl::string_view document)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(write_mutex_);
  absl::StatusOr<std::vector<uint64_t>> FindUids(absl::string_view collection, absl::string_view document) const;
  absl::Status VisitOwners(const std::function<void(uint64_t, const Owner&)>& visit) const;
  absl::Status CompactUids(const std::vector<uint64_t>& uids);
  absl::StatusOr<int> DeleteWhere(const std::function<bool(const DocumentRow&)>& condemned);
  absl::StatusOr<bool> HasDeleted() const;
  absl::Status FlushAll();

  // Helpers of verify_on_open, in rocksdb_verification.cc.
  absl::Status VerifyAll();
  absl::Status VerifyDocument(const DocumentRow& row) const;

  const std::string path_;
  const KeyStoreOptions options_;
  rocksdb::Env* const env_;
  const std::shared_ptr<BackgroundErrors> background_errors_;
  WalGuard wal_guard_;
  mutable DatabaseSlot slot_;
  RocksdbReader reader_;
  absl::Mutex write_mutex_;  // held over check, write and recovery
  bool must_recover_ ABSL_GUARDED_BY(write_mutex_) = false;
  DiskReserve reserve_ ABSL_GUARDED_BY(write_mutex_);
  UsageLedger usage_;
  absl::Mutex compaction_mutex_;  // one compaction of deleted documents at a time; before write_mutex_
  std::atomic<bool> cancel_compaction_ = false;
  std::unique_ptr<BackgroundTask> compactor_;  // last: it uses the members above; null: none
};

}  // namespace ilre
