#include "common/store/plain_records.h"

#include "absl/status/status.h"
#include "common/base/status_macros.h"
#include "common/store/coding.h"
#include "common/store/record_seal.h"
#include "common/store/records.h"

namespace ilre {
namespace {

constexpr uint8_t kTextVersion = 1;
constexpr uint8_t kStateVersion = 1;
constexpr uint8_t kStoreHeaderVersion = 1;
constexpr uint8_t kNextUidVersion = 1;
constexpr uint8_t kOwnerVersion = 1;
constexpr char kStoreDamaged[] = "STORE_DAMAGED";

std::string EncodeBytes(absl::string_view key, uint8_t version, absl::string_view bytes) {
  std::string value;
  value.reserve(1 + bytes.size() + kSealBytes);
  AppendLittle(&value, version);
  value.append(bytes.data(), bytes.size());
  SealRecord(key, &value);
  return value;
}

template <typename T>
std::string EncodeNumber(absl::string_view key, uint8_t version, T number) {
  std::string bytes;
  AppendLittle(&bytes, number);
  return EncodeBytes(key, version, bytes);
}

template <typename T>
absl::StatusOr<T> ParseNumber(absl::string_view key, absl::string_view value, uint8_t version) {
  ILRE_ASSIGN_OR_RETURN(absl::string_view body, OpenSealedRecord(key, value, version, kStoreDamaged));
  if (body.size() != sizeof(T)) return DamagedRecord(kStoreDamaged, "a number of another size");
  return LoadLittle<T>(body.data());
}

}  // namespace

std::string EncodeText(absl::string_view key, absl::string_view text) { return EncodeBytes(key, kTextVersion, text); }

absl::StatusOr<absl::string_view> ParseText(absl::string_view key, absl::string_view value) {
  return OpenSealedRecord(key, value, kTextVersion, "TEXT_DAMAGED");
}

std::string EncodeState(absl::string_view key, absl::string_view state) {
  return EncodeBytes(key, kStateVersion, state);
}

absl::StatusOr<absl::string_view> ParseState(absl::string_view key, absl::string_view value) {
  return OpenSealedRecord(key, value, kStateVersion, "STATE_DAMAGED");
}

std::string EncodeStoreHeader(absl::string_view key, uint32_t store_version) {
  return EncodeNumber(key, kStoreHeaderVersion, store_version);
}

absl::StatusOr<uint32_t> ParseStoreHeader(absl::string_view key, absl::string_view value) {
  return ParseNumber<uint32_t>(key, value, kStoreHeaderVersion);
}

std::string EncodeNextUid(absl::string_view key, uint64_t next_uid) {
  return EncodeNumber(key, kNextUidVersion, next_uid);
}

absl::StatusOr<uint64_t> ParseNextUid(absl::string_view key, absl::string_view value) {
  return ParseNumber<uint64_t>(key, value, kNextUidVersion);
}

std::string EncodeOwner(absl::string_view key, const Owner& owner) {
  std::string bytes(1, owner.deleted ? '\1' : '\0');
  bytes += owner.collection;
  bytes += '\0';
  bytes += owner.document;
  return EncodeBytes(key, kOwnerVersion, bytes);
}

absl::StatusOr<Owner> ParseOwner(absl::string_view key, absl::string_view value) {
  ILRE_ASSIGN_OR_RETURN(absl::string_view body, OpenSealedRecord(key, value, kOwnerVersion, kStoreDamaged));
  if (body.empty() || static_cast<unsigned char>(body[0]) > 1) return DamagedRecord(kStoreDamaged, "an unknown owner");
  const size_t separator = body.find('\0', 1);
  if (separator == absl::string_view::npos) return DamagedRecord(kStoreDamaged, "an owner without a document");
  Owner owner = {.collection = std::string(body.substr(1, separator - 1)),
                 .document = std::string(body.substr(separator + 1)),
                 .deleted = body[0] == '\1'};
  if (!IsValidCollection(owner.collection) || !IsValidName(owner.document)) {
    return DamagedRecord(kStoreDamaged, "an owner without a valid name");
  }
  return owner;
}

}  // namespace ilre
