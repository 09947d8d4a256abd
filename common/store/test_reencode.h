// Parsed records encoded again: every record that parses must give its own bytes back (one record, one encoding).
#pragma once

#include <string>

#include "absl/strings/string_view.h"
#include "common/store/records.h"

namespace ilre {

// The value that EncodeBlock gives for what `view` shows. Touches everything that a view offers.
std::string ReencodeBlock(const BlockView& view);

enum class RecordKind { kBlock, kLexical, kDocumentRow, kText, kState, kStoreHeader, kNextUid, kOwner };
inline constexpr int kNumRecordKinds = 8;

// Parses `value` under `key` as a record of `kind`; if it parses, `*again` is its encoding.
absl::Status ParseAndReencode(RecordKind kind, absl::string_view key, absl::string_view value, std::string* again);

}  // namespace ilre
