#include "common/store/record_seal.h"

#if defined(__x86_64__)
#include <xxh_x86dispatch.h>  // the same functions, with the widest instructions that this machine has
#else
#include <xxhash.h>
#endif

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/base/errors.h"
#include "common/store/coding.h"

namespace ilre {

uint64_t RecordChecksum(absl::string_view key, absl::string_view bytes) {
  return XXH3_64bits_withSeed(bytes.data(), bytes.size(), XXH3_64bits(key.data(), key.size()));
}

void SealRecord(absl::string_view key, std::string* value) {
  AppendLittle<uint64_t>(value, RecordChecksum(key, *value));
}

absl::StatusOr<absl::string_view> OpenSealedRecord(absl::string_view key, absl::string_view value, uint8_t version,
                                                   absl::string_view damaged_reason) {
  if (value.size() < 1 + kSealBytes) {
    return DamagedRecord(damaged_reason, absl::StrCat("a record of only ", value.size(), " bytes"));
  }
  const absl::string_view bytes = value.substr(0, value.size() - kSealBytes);
  if (LoadLittle<uint64_t>(bytes.data() + bytes.size()) != RecordChecksum(key, bytes)) {
    return DamagedRecord(damaged_reason, "the checksum does not match");
  }
  const int found = static_cast<unsigned char>(bytes[0]);
  if (found != version) {
    return MakeError(absl::StatusCode::kDataLoss, "FORMAT_UNKNOWN",
                     absl::StrCat("record format version ", found, "; this program reads version ", version));
  }
  return bytes.substr(1);
}

absl::Status DamagedRecord(absl::string_view reason, absl::string_view what) {
  return MakeError(absl::StatusCode::kDataLoss, reason, what);
}

}  // namespace ilre
