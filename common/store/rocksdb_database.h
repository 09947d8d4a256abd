// An open RocksDB with this store's column families, and a place where it can be replaced by a reopened one.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/store/key_store.h"
#include "common/store/rocksdb_options.h"
#include "common/store/store_cut.h"
#include "rocksdb/cache.h"
#include "rocksdb/db.h"
#include "rocksdb/env.h"
#include "rocksdb/listener.h"

namespace ilre {

// Thread-safe, as RocksDB is. Closes it at the end of its life.
class RocksdbDatabase {
 public:
  // Opens for writing, creating what is missing; checks or writes the store's version. Errors as OpenKeyStore.
  static absl::StatusOr<std::unique_ptr<RocksdbDatabase>> OpenForWriting(
      const std::string& path, const KeyStoreOptions& options, rocksdb::Env* env,
      std::shared_ptr<rocksdb::EventListener> listener);
  // Opens the store in `path` as it was at `cut`, for reading. Errors as OpenKeyStoreFollower.
  static absl::StatusOr<std::unique_ptr<RocksdbDatabase>> OpenFrozen(const std::string& path, const StoreCut& cut,
                                                                     const KeyStoreOptions& options,
                                                                     std::shared_ptr<rocksdb::Cache> cache);
  // Takes `db` and its handles, which are in the order of Family, and shares what it reads through.
  RocksdbDatabase(rocksdb::DB* db, std::vector<rocksdb::ColumnFamilyHandle*> families,
                  std::shared_ptr<rocksdb::Env> env = nullptr)
      : env_(std::move(env)), db_(db), families_(std::move(families)) {}
  ~RocksdbDatabase();
  RocksdbDatabase(const RocksdbDatabase&) = delete;
  RocksdbDatabase& operator=(const RocksdbDatabase&) = delete;

  rocksdb::DB* db() const { return db_.get(); }
  rocksdb::ColumnFamilyHandle* family(Family family) const { return families_[static_cast<size_t>(family)]; }

 private:
  const std::shared_ptr<rocksdb::Env> env_;  // of db_, where it has one of its own
  const std::unique_ptr<rocksdb::DB> db_;
  const std::vector<rocksdb::ColumnFamilyHandle*> families_;  // owned
};

// Holds the open database. Whoever uses it leases it, and keeps it open by that. Thread-safe.
class DatabaseSlot {
 public:
  using Opener = std::function<absl::StatusOr<std::unique_ptr<RocksdbDatabase>>()>;

  // `opener` is called by the first Acquire, by Reopen, and again by the next Acquire after it failed.
  explicit DatabaseSlot(Opener opener) : opener_(std::move(opener)) {}

  // The right to use the database for as long as this object lives. Leases may nest.
  class Lease {
   public:
    Lease(DatabaseSlot* slot, std::shared_ptr<RocksdbDatabase> database)
        : slot_(slot), database_(std::move(database)) {}
    Lease(Lease&& other) noexcept : slot_(std::exchange(other.slot_, nullptr)), database_(std::move(other.database_)) {}
    Lease& operator=(Lease&&) = delete;
    ~Lease() {
      if (slot_ == nullptr) return;
      database_ = nullptr;
      slot_->Return();
    }
    const RocksdbDatabase* operator->() const { return database_.get(); }
    const RocksdbDatabase& operator*() const { return *database_; }

   private:
    DatabaseSlot* slot_;
    std::shared_ptr<RocksdbDatabase> database_;
  };
  // Fails only where opening does.
  absl::StatusOr<Lease> Acquire();

  bool is_open() const {
    absl::MutexLock lock(&mutex_);
    return database_ != nullptr;
  }

  // Waits until no lease is out, closes the database and opens it anew. UNAVAILABLE where leases stay out for longer
  // than `patience`; the old database then stays.
  absl::Status Reopen(absl::Duration patience);

  // From now on `database` is leased. The one before is closed with its last lease.
  void Replace(std::shared_ptr<RocksdbDatabase> database);

 private:
  void Return();
  absl::Status OpenLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool Unused() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return leases_ == 0; }

  const Opener opener_;
  mutable absl::Mutex mutex_;
  std::shared_ptr<RocksdbDatabase> database_ ABSL_GUARDED_BY(mutex_);  // null: not open
  int leases_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace ilre
