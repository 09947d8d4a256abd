// Finds the tokens of a word in a segment that has it.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/types/optional.h"
#include "absl/types/span.h"
#include "common/store/key_store.h"
#include "retriever_service/scored_segment.h"

namespace ilre {

struct FoundWord {
  ScoredSegment place;
  std::string word;  // as it stands in the text
};

// The tokens of the first occurrence of `word` (a hash) that begins in `segment`, whole even where the segment ends
// within it; nothing where there is none. Of scripts without spaces all of the run around it. Errors: those of the
// store; DATA_LOSS with reason BLOCK_DAMAGED where a text is shorter than its tokens.
absl::StatusOr<absl::optional<FoundWord>> FindWord(const KeyStoreReader& store, absl::Span<const DocumentRow> documents,
                                                   const ScoredSegment& segment, uint32_t word);

}  // namespace ilre
