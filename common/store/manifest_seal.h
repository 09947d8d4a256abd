// A checksum of RocksDB's own table of contents, kept while the store is closed.
//
// RocksDB takes a damaged length in its MANIFEST for the file's end, and would silently forget the tables listed after
// it. So closing a store leaves a seal over CURRENT and MANIFEST, and opening it checks and removes that. A store that
// was not closed, because its process was killed, has no seal and is not checked.
#pragma once

#include <string>

#include "absl/status/status.h"

namespace ilre {

// Seals the store in folder `path`. RocksDB must be quiet, and still hold its lock on the folder.
absl::Status SealManifest(const std::string& path);

// OK where there is no seal. DATA_LOSS with reason STORE_DAMAGED where there is one that does not fit.
absl::Status CheckManifestSeal(const std::string& path);

// Checks the seal and durably removes it, before RocksDB changes anything.
absl::Status BreakManifestSeal(const std::string& path);

}  // namespace ilre
