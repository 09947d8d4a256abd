// What a stored block holds, as a few digits: two documents were read alike if the digests of all their blocks are
// alike.
#pragma once

#include <string>

#include "absl/strings/string_view.h"
#include "common/store/records.h"

namespace ilre {

// XXH3-128 in hexadecimal over all that the block says but which document it belongs to: the same text read by the same
// model and profile has the same digest under any name and in any store.
std::string BlockDigest(const BlockView& block);

// The same over a block's text, and over its postings.
std::string TextDigest(absl::string_view text);
std::string LexicalDigest(const LexicalData& lexical);

}  // namespace ilre
