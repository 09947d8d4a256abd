// Disk space that is kept, so that what makes room can be written on a full disk.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>

#include "absl/status/status.h"

namespace ilre {

// A file RESERVE in the store's folder. Calls must not overlap.
class DiskReserve {
 public:
  // Of `bytes` in folder `path`; none if that is 0. Does nothing yet.
  DiskReserve(const std::string& path, uint64_t bytes);

  // Takes the space if it is not taken. RESOURCE_EXHAUSTED (DISK_FULL) where there is not enough of it.
  absl::Status Take();
  // Gives it back to the disk; whether there was any.
  bool Release();

 private:
  const std::string file_;
  const uint64_t bytes_;
  bool taken_ = false;
};

}  // namespace ilre
