// A number for what a block holds, to compare two documents block by block.
#pragma once

#include <cstdint>

#include "absl/strings/string_view.h"
#include "common/store/records.h"

namespace ilre::cli {

// XXH3 over a block's tokens, offsets, segments and vectors, its text, and its postings (null where there are none).
// Documents of the same text, read with the same model and profile, have the same, whatever their names and uids.
uint64_t ContentChecksum(const BlockView& block, absl::string_view text, const LexicalData* postings);

}  // namespace ilre::cli
