// Keys of stored records: a class byte, then what the record is of. Integers are big-endian, so that the records of one
// document lie together, in order of their blocks.
#pragma once

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"

namespace ilre {

// First byte of every key. Values are frozen, and unique over all column families.
enum class RecordClass : uint8_t {
  kStoreHeader = 1,
  kNextUid = 2,
  kDocumentRow = 3,
  kOwner = 4,
  kBlock = 5,
  kText = 6,
  kLexical = 7,
  kState = 8,
};

std::string StoreHeaderKey();
std::string NextUidKey();

// Rows sort by collection, then document: the 0 between the names is less than any character of a name.
std::string DocumentRowKey(absl::string_view collection, absl::string_view document);
// Before all rows of a collection; of all collections of a tenant if it is "TENANT."; of all if it is empty.
std::string DocumentRowPrefix(absl::string_view collection);
// False for what is no key of a row.
bool ParseDocumentRowKey(absl::string_view key, std::string* collection, std::string* document);

std::string OwnerKey(uint64_t uid);
std::string OwnerPrefix();
bool ParseOwnerKey(absl::string_view key, uint64_t* uid);

std::string BlockKey(uint64_t uid, uint32_t block);
std::string TextKey(uint64_t uid, uint32_t block);
std::string LexicalKey(uint64_t uid, uint32_t block);
std::string StateKey(uint64_t uid);

// A key of `record_class` for block `block` of document `uid`: BlockKey and its kin.
std::string BlockwiseKey(RecordClass record_class, uint64_t uid, uint32_t block);
// All keys of `record_class` of one document lie in [DocumentBegin, DocumentEnd).
std::string DocumentBegin(RecordClass record_class, uint64_t uid);
std::string DocumentEnd(RecordClass record_class, uint64_t uid);

// Whether `key` is BlockwiseKey(record_class, *uid, *block), for the uid and block that it sets.
bool ParseBlockwiseKey(absl::string_view key, RecordClass record_class, uint64_t* uid, uint32_t* block);

}  // namespace ilre
