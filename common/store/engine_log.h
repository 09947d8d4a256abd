// RocksDB's warnings, in a file beside its tables that a full disk cannot hurt.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "rocksdb/env.h"

namespace ilre {

inline constexpr uint64_t kMaxEngineLogBytes = 1 << 20;

// Warnings and errors, one line each, are appended to `path`/LOG; what `path`/LOG held before becomes `path`/LOG.old.
// A line that cannot be written, on a full disk say, is left out, and so is what would make the file larger than
// `max_bytes`: a log must never be the reason for an error. RocksDB's own log does not promise that: after a failed
// write it goes on with a writer that may no longer be used, which builds with assertions answer with an abort.
// Thread-safe.
std::shared_ptr<rocksdb::Logger> OpenEngineLog(const std::string& path, uint64_t max_bytes = kMaxEngineLogBytes);

// A log that keeps nothing, for a folder where nothing may be written.
std::shared_ptr<rocksdb::Logger> NoEngineLog();

}  // namespace ilre
