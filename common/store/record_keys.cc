#include "common/store/record_keys.h"

#include <cstddef>

#include "common/store/coding.h"
#include "common/store/records.h"

namespace ilre {
namespace {

constexpr size_t kOwnerKeyBytes = 1 + sizeof(uint64_t);
constexpr size_t kBlockwiseKeyBytes = 1 + sizeof(uint64_t) + sizeof(uint32_t);

std::string ClassKey(RecordClass record_class) { return std::string(1, static_cast<char>(record_class)); }

std::string UidKey(RecordClass record_class, uint64_t uid) {
  std::string key = ClassKey(record_class);
  AppendBig<uint64_t>(&key, uid);
  return key;
}

bool HasClass(absl::string_view key, RecordClass record_class) {
  return !key.empty() && key[0] == static_cast<char>(record_class);
}

}  // namespace

std::string StoreHeaderKey() { return ClassKey(RecordClass::kStoreHeader); }

std::string NextUidKey() { return ClassKey(RecordClass::kNextUid); }

std::string DocumentRowKey(absl::string_view collection, absl::string_view document) {
  std::string key = DocumentRowPrefix(collection);
  key.append(document.data(), document.size());
  return key;
}

std::string DocumentRowPrefix(absl::string_view collection) {
  std::string key = ClassKey(RecordClass::kDocumentRow);
  if (collection.empty()) return key;
  key.append(collection.data(), collection.size());
  if (collection.back() != '.') key.push_back('\0');
  return key;
}

bool ParseDocumentRowKey(absl::string_view key, std::string* collection, std::string* document) {
  if (!HasClass(key, RecordClass::kDocumentRow)) return false;
  key.remove_prefix(1);
  const size_t separator = key.find('\0');
  if (separator == absl::string_view::npos) return false;
  *collection = std::string(key.substr(0, separator));
  *document = std::string(key.substr(separator + 1));
  return IsValidCollection(*collection) && IsValidName(*document);
}

std::string OwnerKey(uint64_t uid) { return UidKey(RecordClass::kOwner, uid); }

std::string OwnerPrefix() { return ClassKey(RecordClass::kOwner); }

bool ParseOwnerKey(absl::string_view key, uint64_t* uid) {
  if (key.size() != kOwnerKeyBytes || !HasClass(key, RecordClass::kOwner)) return false;
  *uid = LoadBig<uint64_t>(key.data() + 1);
  return true;
}

std::string BlockKey(uint64_t uid, uint32_t block) { return BlockwiseKey(RecordClass::kBlock, uid, block); }

std::string TextKey(uint64_t uid, uint32_t block) { return BlockwiseKey(RecordClass::kText, uid, block); }

std::string LexicalKey(uint64_t uid, uint32_t block) { return BlockwiseKey(RecordClass::kLexical, uid, block); }

std::string StateKey(uint64_t uid) { return UidKey(RecordClass::kState, uid); }

std::string BlockwiseKey(RecordClass record_class, uint64_t uid, uint32_t block) {
  std::string key = UidKey(record_class, uid);
  AppendBig<uint32_t>(&key, block);
  return key;
}

std::string DocumentBegin(RecordClass record_class, uint64_t uid) { return UidKey(record_class, uid); }

std::string DocumentEnd(RecordClass record_class, uint64_t uid) {
  if (uid == UINT64_MAX) return std::string(1, static_cast<char>(static_cast<uint8_t>(record_class) + 1));
  return UidKey(record_class, uid + 1);
}

bool ParseBlockwiseKey(absl::string_view key, RecordClass record_class, uint64_t* uid, uint32_t* block) {
  if (key.size() != kBlockwiseKeyBytes || !HasClass(key, record_class)) return false;
  *uid = LoadBig<uint64_t>(key.data() + 1);
  *block = LoadBig<uint32_t>(key.data() + 1 + sizeof(uint64_t));
  return true;
}

}  // namespace ilre
