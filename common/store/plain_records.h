// The smaller records: a block's text and an ingest's state (bytes as they are), and what the store keeps about itself.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace ilre {

// The format of the store as a whole: which records there are, and how they hang together. Frozen per version.
inline constexpr uint32_t kStoreVersion = 1;

std::string EncodeText(absl::string_view key, absl::string_view text);
// A view into `value`. Errors: DATA_LOSS with reason TEXT_DAMAGED or FORMAT_UNKNOWN.
absl::StatusOr<absl::string_view> ParseText(absl::string_view key, absl::string_view value);

std::string EncodeState(absl::string_view key, absl::string_view state);
// A view into `value`. Errors: DATA_LOSS with reason STATE_DAMAGED or FORMAT_UNKNOWN.
absl::StatusOr<absl::string_view> ParseState(absl::string_view key, absl::string_view value);

// Under StoreHeaderKey: the store's version. Under NextUidKey: the uid of the next document.
// Errors of these three: DATA_LOSS with reason STORE_DAMAGED or FORMAT_UNKNOWN.
std::string EncodeStoreHeader(absl::string_view key, uint32_t store_version);
absl::StatusOr<uint32_t> ParseStoreHeader(absl::string_view key, absl::string_view value);
std::string EncodeNextUid(absl::string_view key, uint64_t next_uid);
absl::StatusOr<uint64_t> ParseNextUid(absl::string_view key, absl::string_view value);

// Under OwnerKey(uid): whose the records of `uid` are. It stays after deletion until their disk space is given back,
// and finds the uid of a document whose row is damaged.
struct Owner {
  std::string collection, document;
  bool deleted = false;
  friend bool operator==(const Owner&, const Owner&) = default;
};
std::string EncodeOwner(absl::string_view key, const Owner& owner);
absl::StatusOr<Owner> ParseOwner(absl::string_view key, absl::string_view value);

}  // namespace ilre
