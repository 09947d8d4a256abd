// The bytes of a document's row, names of documents, and what a row may hold.
#include <string>
#include <utility>

#include <xxhash.h>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "common/base/check.h"
#include "common/base/errors.h"
#include "common/base/status_macros.h"
#include "common/store/coding.h"
#include "common/store/record_keys.h"
#include "common/store/record_seal.h"
#include "common/store/records.h"

namespace ilre {
namespace {

// Version 2 adds the sizes at the end. A row whose sizes are not known is written as version 1.
constexpr uint8_t kRowVersion = 1, kRowVersionWithSizes = 2;
constexpr uint8_t kHasPostings = 1;  // flag
constexpr char kDamaged[] = "ROW_DAMAGED";
constexpr size_t kMaxNameBytes = 63;

bool IsKnownState(DocumentState state) {
  return state >= DocumentState::kIngesting && state <= DocumentState::kDeleting;
}

// What is wrong with `row` apart from its names; empty if nothing is.
std::string Fault(const DocumentRow& row) {
  if (!IsKnownState(row.state)) return absl::StrCat("state ", static_cast<int>(row.state));
  for (const std::string* fingerprint : {&row.model, &row.tokenizer, &row.profile}) {
    if (fingerprint->size() > kMaxFingerprintBytes)
      return absl::StrCat("a fingerprint of ", fingerprint->size(), " bytes");
  }
  if (row.failure.size() > kMaxFailureBytes) return absl::StrCat("a failure of ", row.failure.size(), " bytes");
  const uint64_t capacity = uint64_t{row.num_blocks} * kBlockTokens;
  if (row.num_tokens > capacity || row.num_tokens + kBlockTokens <= capacity) {
    return absl::StrCat(row.num_tokens, " tokens in ", row.num_blocks, " blocks");
  }
  return "";
}

void AppendString(absl::string_view text, std::string* value) {
  AppendLittle<uint16_t>(value, static_cast<uint16_t>(text.size()));
  value->append(text.data(), text.size());
}

bool ReadString(ByteReader* reader, std::string* text) {
  uint16_t size = 0;
  absl::string_view bytes;
  if (!reader->Read(&size) || !reader->ReadBytes(size, &bytes)) return false;
  *text = std::string(bytes);
  return true;
}

bool IsNameCharacter(char c) { return absl::ascii_islower(c) || absl::ascii_isdigit(c) || c == '-'; }

}  // namespace

bool IsValidName(absl::string_view name) {
  if (name.empty() || name.size() > kMaxNameBytes || name.front() == '-' || name.back() == '-') return false;
  for (char c : name) {
    if (!IsNameCharacter(c)) return false;
  }
  return true;
}

bool IsValidCollection(absl::string_view collection) {
  const size_t dot = collection.find('.');
  if (dot == absl::string_view::npos) return IsValidName(collection);
  return IsValidName(collection.substr(0, dot)) && IsValidName(collection.substr(dot + 1));
}

absl::string_view TenantOf(absl::string_view collection) {
  const size_t dot = collection.find('.');
  return dot == absl::string_view::npos ? absl::string_view() : collection.substr(0, dot);
}

absl::string_view DocumentStateName(DocumentState state) {
  switch (state) {
    case DocumentState::kIngesting:
      return "INGESTING";
    case DocumentState::kReady:
      return "READY";
    case DocumentState::kFailed:
      return "FAILED";
    case DocumentState::kDeleting:
      return "DELETING";
  }
  return "UNKNOWN";
}

uint64_t CombinedFingerprint(absl::string_view model, absl::string_view tokenizer, absl::string_view profile) {
  std::string all;
  for (absl::string_view part : {model, tokenizer, profile}) {
    all.append(part.data(), part.size());
    all.push_back('\0');  // so that no two triples give the same bytes
  }
  return XXH3_64bits(all.data(), all.size());
}

absl::Status ValidateDocumentRow(const DocumentRow& row) {
  if (!IsValidCollection(row.collection) || !IsValidName(row.document)) {
    return MakeError(absl::StatusCode::kInvalidArgument, "INVALID_NAME",
                     absl::StrCat("'", row.collection, "/", row.document,
                                  "': names have 1 to 63 lower-case letters, digits and hyphens, and neither start nor "
                                  "end with a hyphen"));
  }
  const std::string fault = Fault(row);
  if (fault.empty()) return absl::OkStatus();
  return MakeError(absl::StatusCode::kInvalidArgument, "INVALID_ROW",
                   absl::StrCat("document ", row.collection, "/", row.document, ": ", fault));
}

std::string EncodeDocumentRow(absl::string_view key, const DocumentRow& row) {
  ILRE_CHECK(ValidateDocumentRow(row).ok());
  std::string value;
  const bool has_sizes = row.record_bytes != 0 || row.state_bytes != 0;
  AppendLittle<uint8_t>(&value, has_sizes ? kRowVersionWithSizes : kRowVersion);
  AppendLittle<uint8_t>(&value, static_cast<uint8_t>(row.state));
  AppendLittle<uint8_t>(&value, row.has_postings ? kHasPostings : 0);
  AppendLittle<uint32_t>(&value, row.num_blocks);
  for (uint64_t number : {row.uid, row.committed_bytes, row.num_tokens, row.text_checksum, row.revision}) {
    AppendLittle(&value, number);
  }
  for (int64_t time_ms : {row.create_time_ms, row.update_time_ms, row.expire_time_ms}) AppendLittle(&value, time_ms);
  for (const std::string* text : {&row.model, &row.tokenizer, &row.profile, &row.failure}) AppendString(*text, &value);
  if (has_sizes) {
    AppendLittle(&value, row.record_bytes);
    AppendLittle(&value, row.state_bytes);
  }
  SealRecord(key, &value);
  return value;
}

absl::StatusOr<DocumentRow> ParseDocumentRow(absl::string_view key, absl::string_view value) {
  const bool has_sizes = value.empty() || static_cast<uint8_t>(value[0]) != kRowVersion;
  ILRE_ASSIGN_OR_RETURN(absl::string_view body,
                        OpenSealedRecord(key, value, has_sizes ? kRowVersionWithSizes : kRowVersion, kDamaged));
  DocumentRow row;
  if (!ParseDocumentRowKey(key, &row.collection, &row.document)) {
    return DamagedRecord(kDamaged, "its key is not that of a document");
  }
  ByteReader reader(body);
  uint8_t state = 0, flags = 0;
  bool whole = reader.Read(&state) && reader.Read(&flags) && reader.Read(&row.num_blocks);
  for (uint64_t* number : {&row.uid, &row.committed_bytes, &row.num_tokens, &row.text_checksum, &row.revision}) {
    whole = whole && reader.Read(number);
  }
  for (int64_t* time_ms : {&row.create_time_ms, &row.update_time_ms, &row.expire_time_ms}) {
    whole = whole && reader.Read(time_ms);
  }
  for (std::string* text : {&row.model, &row.tokenizer, &row.profile, &row.failure}) {
    whole = whole && ReadString(&reader, text);
  }
  if (has_sizes) whole = whole && reader.Read(&row.record_bytes) && reader.Read(&row.state_bytes);
  if (!whole || !reader.AtEnd()) return DamagedRecord(kDamaged, "its size does not match its content");
  if ((flags & ~kHasPostings) != 0) return DamagedRecord(kDamaged, "unknown flags");
  if (has_sizes && row.record_bytes == 0 && row.state_bytes == 0) return DamagedRecord(kDamaged, "no sizes");
  row.state = static_cast<DocumentState>(state);
  row.has_postings = flags == kHasPostings;
  const std::string fault = Fault(row);
  if (!fault.empty()) return DamagedRecord(kDamaged, fault);
  return row;
}

}  // namespace ilre
