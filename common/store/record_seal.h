// What all stored values have in common: the format version in their first byte, and in their last eight a checksum
// over key and value.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace ilre {

inline constexpr size_t kSealBytes = 8;

// The checksum of a value (all but its last eight bytes) stored under `key`. Frozen:
// XXH3-64(bytes, seed = XXH3-64(key)).
uint64_t RecordChecksum(absl::string_view key, absl::string_view bytes);

// Ends a value: appends the checksum.
void SealRecord(absl::string_view key, std::string* value);

// The value without its version and its checksum. Errors, all DATA_LOSS: `damaged_reason` where the checksum is not
// that of key and value, FORMAT_UNKNOWN (naming both) where it is but the version is not `version`.
absl::StatusOr<absl::string_view> OpenSealedRecord(absl::string_view key, absl::string_view value, uint8_t version,
                                                   absl::string_view damaged_reason);

// DATA_LOSS with `reason`, for a record whose checksum is right and whose content is not.
absl::Status DamagedRecord(absl::string_view reason, absl::string_view what);

}  // namespace ilre
