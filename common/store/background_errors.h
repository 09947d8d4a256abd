// What went wrong in RocksDB's background work, noted for the next write.
#pragma once

#include <array>
#include <atomic>

#include "common/store/rocksdb_options.h"
#include "rocksdb/listener.h"

namespace ilre {

// Thread-safe. RocksDB calls it on its own threads, where nothing may be done but taking note.
class BackgroundErrors final : public rocksdb::EventListener {
 public:
  // RocksDB must be reopened.
  bool failed() const { return failed_; }
  void Clear() { failed_ = false; }

  // Whether a compaction of the family met damage since this was last asked.
  bool TakeDamaged(Family family) { return damaged_[static_cast<size_t>(family)].exchange(false); }

  // Damage that a compaction finds would stop all writing for good, though it concerns a few records, each of which is
  // reported when it is read. So that is not taken for an error; but compactions of that family must be stopped, else
  // RocksDB tries for ever.
  void OnBackgroundError(rocksdb::BackgroundErrorReason reason, rocksdb::Status* status) override {
    if (reason == rocksdb::BackgroundErrorReason::kCompaction && status->IsCorruption()) {
      *status = rocksdb::Status::OK();
    } else {
      failed_ = true;
    }
  }

  // RocksDB would try again by itself, on a thread that outlives a reopening; the store reopens it instead, with the
  // next write.
  void OnErrorRecoveryBegin(rocksdb::BackgroundErrorReason, rocksdb::Status, bool* auto_recovery) override {
    *auto_recovery = false;
  }

  void OnCompactionCompleted(rocksdb::DB*, const rocksdb::CompactionJobInfo& info) override {
    if (!info.status.IsCorruption()) return;
    for (int family = 0; family < kNumFamilies; ++family) {
      if (info.cf_name == FamilyName(static_cast<Family>(family))) damaged_[static_cast<size_t>(family)] = true;
    }
  }

 private:
  std::atomic<bool> failed_ = false;
  std::array<std::atomic<bool>, kNumFamilies> damaged_ = {};
};

}  // namespace ilre
