// Records from anywhere: parsing never crashes, and what parses is the one encoding of what it says.
//
// Input: the kind of record, the key's size, the key, the value without its checksum; that is put in here, since no
// fuzzer would find it.
#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "common/base/check.h"
#include "common/store/record_seal.h"
#include "common/store/test_reencode.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  absl::string_view input(reinterpret_cast<const char*>(data), size);
  if (input.size() < 2) return 0;
  const auto kind = static_cast<ilre::RecordKind>(data[0] % ilre::kNumRecordKinds);
  const size_t key_bytes = data[1];
  input.remove_prefix(2);
  if (input.size() < key_bytes) return 0;
  const absl::string_view key = input.substr(0, key_bytes);
  const absl::string_view bytes = input.substr(key_bytes);
  std::string again;
  ilre::ParseAndReencode(kind, key, bytes, &again).IgnoreError();  // with whatever its last bytes make of a checksum
  std::string value(bytes);
  ilre::SealRecord(key, &value);
  if (ilre::ParseAndReencode(kind, key, value, &again).ok()) ILRE_CHECK(again == value);
  return 0;
}
