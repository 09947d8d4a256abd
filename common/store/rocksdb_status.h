// RocksDB's statuses end here: beyond this file failures are named as everywhere in this project.
#pragma once

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "rocksdb/slice.h"
#include "rocksdb/status.h"

namespace ilre {

// OK, or the error in our terms, naming `what` (an operation on a document or a folder):
//   full disk or quota          RESOURCE_EXHAUSTED  DISK_FULL
//   damage                      DATA_LOSS           STORE_DAMAGED
//   other input/output errors   UNAVAILABLE         STORE_IO
//   a stopped or busy store     UNAVAILABLE         STORE_UNAVAILABLE
//   anything else               INTERNAL            STORE_INTERNAL
absl::Status FromRocksdb(const rocksdb::Status& status, absl::string_view what);

// Whether RocksDB refuses to open a folder because somebody has it open.
bool IsLockHeld(const rocksdb::Status& status);

inline rocksdb::Slice ToSlice(absl::string_view bytes) { return {bytes.data(), bytes.size()}; }
inline absl::string_view FromSlice(const rocksdb::Slice& slice) { return {slice.data(), slice.size()}; }

}  // namespace ilre
