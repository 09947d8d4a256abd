// Reads a piece of a stored document's text by byte offsets.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "common/store/key_store.h"

namespace ilre {

struct TextPiece {
  std::string text;         // whole characters
  uint64_t byte_begin = 0;  // where it begins
};

// At most num_bytes bytes from byte_begin on. Where the piece would begin or end within a character, it begins or ends
// before it. OUT_OF_RANGE with reason OFFSET_BEHIND_END for byte_begin > the document's size. num_bytes >= 4.
absl::StatusOr<TextPiece> ReadTextPiece(const KeyStoreReader& store, const DocumentRow& row, uint64_t byte_begin,
                                        uint64_t num_bytes);

}  // namespace ilre
