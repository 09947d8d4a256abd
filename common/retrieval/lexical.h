// Words of a text, for BM25 over segments.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "common/store/records.h"

namespace ilre {

// Hashes (stable for ever: they are stored) of the words of `text` in order: runs of ASCII letters and digits,
// lower-cased, and of letters of other scripts, as they stand; each CJK ideograph is a word of its own. Words without a
// digit count by their first six characters; English stop words do not count.
void AppendWordHashes(absl::string_view text, std::vector<uint32_t>* hashes);

// The first word of `text` with that hash, as it stands there; empty where there is none.
absl::string_view WordWithHash(absl::string_view text, uint32_t hash);

// Postings of a block. `ends` are byte offsets into `text` after each token, and starts tell which tokens begin a
// segment; a word counts for the segment in which it begins.
LexicalData BuildLexical(absl::string_view text, absl::Span<const uint32_t> ends, const bool* segment_starts);

}  // namespace ilre
