// Takes back what a failed write left in RocksDB's write-ahead log.
//
// A write that fails may be in the log all the same: appended and not synced, or synced with the answer lost. RocksDB
// does not show it, but would replay it when it next opens, and a commit that was refused would come to life. So the
// log's size before each write is noted, and after a failure everything beyond it is cut off before RocksDB opens
// again. This is right because writes go one at a time: beyond that size there is nothing that was acknowledged.
//
// It takes a disk that can be written again. A process that ends before, on a disk that fails from the moment at which
// the record was synced and its folder was to be, may find that one write made when it opens the store again.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "rocksdb/db.h"
#include "rocksdb/env.h"

namespace ilre {

// Thread-safe.
class WalGuard {
 public:
  // How far the log is acknowledged: in file `number`, `bytes` bytes; in later ones, nothing.
  struct Position {
    uint64_t number = 0, bytes = 0;
  };

  // `path` is RocksDB's folder, `env` where it lies.
  WalGuard(std::string path, rocksdb::Env* env) : path_(std::move(path)), env_(env) {}

  // Where the log of `db` ends now; call it before a write.
  absl::StatusOr<Position> Locate(rocksdb::DB* db) const;

  // A write after `end` failed: what it left shall be cut off.
  void Mark(Position end);
  // Cuts off what was marked, if anything was, and syncs. To be repeated until it succeeds and RocksDB is open again.
  absl::Status Cut();
  // RocksDB is open again without it.
  void Clear();

 private:
  absl::Status CutFile(const std::string& file, uint64_t keep_bytes);

  const std::string path_;
  rocksdb::Env* const env_;
  absl::Mutex mutex_;
  std::optional<Position> end_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace ilre
