// A piece of a document in its place: what people are shown of a recalled span or a near miss.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "common/store/key_store.h"

namespace ilre::cli {

struct Passage {
  std::string document;  // "collection/document"
  uint32_t token_begin = 0, token_end = 0;
  uint64_t byte_begin = 0, byte_end = 0;  // into the document's text
  float score = 0;
  bool in_prompt = false;
  std::string text;           // exactly those bytes: may begin or end within a character
  std::string before, after;  // some text around it, cut between words; "..." where the document goes on
};

// Reads the text of tokens [token_begin, token_end) of `row`, with up to context_bytes on either side. Score and
// in_prompt are left to the caller. Errors as of KeyStoreReader; INVALID_ARGUMENT for tokens that are not there.
absl::StatusOr<Passage> ReadPassage(const KeyStoreReader& store, const DocumentRow& row, uint32_t token_begin,
                                    uint32_t token_end, size_t context_bytes);

}  // namespace ilre::cli
