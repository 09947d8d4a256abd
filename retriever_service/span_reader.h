// Recalled segments as they stand in their documents: with byte ranges, text and token ids.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/model/tokenizer.h"
#include "common/store/key_store.h"
#include "retriever_service/scored_segment.h"

namespace ilre {

// Consecutive tokens of one document that were recalled.
struct RecalledSpan {
  uint32_t document = 0;  // index into the documents asked
  uint32_t token_begin = 0, token_end = 0;
  uint64_t byte_begin = 0, byte_end = 0;  // into the document's text
  float score = 0;                        // of its best segment
  bool in_prompt = true;                  // false: recalled, but scored too low for the answer's prompt
  std::string text;                       // exactly those bytes
  std::vector<TokenId> ids;
};

// Consecutive tokens as they are stored.
struct StoredTokens {
  std::vector<TokenId> ids;
  std::vector<size_t> ends;  // of each token in `text`
  uint64_t byte_begin = 0;   // of `text` in the document's
  std::string text;
};

// Tokens [begin, end), not empty, of a document. Errors: as of ReadSpans.
absl::StatusOr<StoredTokens> ReadTokens(const KeyStoreReader& store, const DocumentRow& row, uint32_t begin,
                                        uint32_t end);

// Segments must be in order of document and place; neighbours (of one document, both in the prompt or both not) become
// one span. Errors: those of the store; DATA_LOSS with reason BLOCK_DAMAGED where a text is shorter than its tokens.
absl::StatusOr<std::vector<RecalledSpan>> ReadSpans(const KeyStoreReader& store,
                                                    absl::Span<const DocumentRow> documents,
                                                    absl::Span<const ScoredSegment> segments);

}  // namespace ilre
