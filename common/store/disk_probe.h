// Whether a disk takes data again.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "rocksdb/env.h"

namespace ilre {

// Writes, syncs and removes a file of `bytes` in folder `path`. OK, or what the disk says.
absl::Status ProbeDisk(const std::string& path, uint64_t bytes, rocksdb::Env* env);

}  // namespace ilre
