// What a store's folder held at one moment, taken while another process writes there.
//
// RocksDB's files hang together: the manifest says which tables there are and from which log on records are not in
// tables yet. A log, or a table that a compaction replaced, is deleted only after the manifest has a further record
// that says so. So if the manifest is the same before and after all other files were opened, then every file that it
// needs is among those: together they are what the store held at that moment. Nothing here depends on how fast anybody
// is, nor on the writer's help.
//
// (RocksDB's own secondary instance reads manifest, logs and folder one after the other without that check, and keeps
// in memory what it once read from a log. So it can miss a log that was deleted in between, and go on to show a record
// that a table has since replaced or removed.)
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "rocksdb/file_system.h"

namespace ilre {

// An open file, of which the first `bytes` bytes count. Closed with its last owner; it can be read after its deletion.
class CutFile {
 public:
  // NOT_FOUND, UNAVAILABLE, ... by ErrnoError. `bytes` is what the file has now.
  static absl::StatusOr<std::shared_ptr<const CutFile>> Open(const std::string& path);
  ~CutFile();
  CutFile(const CutFile&) = delete;
  CutFile& operator=(const CutFile&) = delete;

  uint64_t bytes() const { return bytes_; }
  // Whether `other` is the same file and as long.
  bool SameAs(const CutFile& other) const {
    return device_ == other.device_ && inode_ == other.inode_ && bytes_ == other.bytes_;
  }
  // Reads up to `size` bytes at `offset`; fewer only at the end. Thread-safe.
  absl::StatusOr<size_t> Read(uint64_t offset, size_t size, char* buffer) const;

 private:
  CutFile(int descriptor, uint64_t bytes, dev_t device, ino_t inode)
      : descriptor_(descriptor), bytes_(bytes), device_(device), inode_(inode) {}
  const int descriptor_;
  const uint64_t bytes_;
  const dev_t device_;
  const ino_t inode_;
};

// A table: it never changes once the manifest names it, so it may be mapped.
struct CutTable {
  std::shared_ptr<rocksdb::FSRandomAccessFile> file;
  uint64_t bytes = 0;
  dev_t device = 0;
  ino_t inode = 0;
};

struct StoreCut {
  std::string current;        // content of CURRENT
  std::string manifest_name;  // which it names
  std::shared_ptr<const CutFile> manifest;
  std::map<std::string, std::shared_ptr<const CutFile>> logs;  // by name
  std::map<std::string, CutTable> tables;                      // by name; some are of no use

  // Whether the store is as it was at `other`.
  bool SameAs(const StoreCut& other) const;
  bool SameManifest(const StoreCut& other) const;
};

// Takes a cut of the store in folder `path`. Tables that `before`, a cut of the same folder, has open are shared with
// it; it may be null. Errors: NOT_FOUND (NO_STORE); DATA_LOSS (STORE_DAMAGED) where CURRENT names no file; UNAVAILABLE
// (STORE_UNAVAILABLE) where the writer does not leave the manifest alone for long enough.
absl::StatusOr<StoreCut> TakeStoreCut(const std::string& path, const StoreCut* before);

}  // namespace ilre
