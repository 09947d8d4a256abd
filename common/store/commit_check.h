// What a commit must satisfy before anything of it is written.
#pragma once

#include "absl/status/status.h"
#include "common/store/key_store.h"

namespace ilre {

// `commit` in itself: its blocks belong to its row, follow on each other without a gap, are full but for the document's
// last, and have the text, postings and fingerprint that they should. INVALID_ARGUMENT with reason INVALID_COMMIT.
absl::Status CheckCommit(const Commit& commit);

// `commit` against the stored row that it replaces (the same document and revision): it begins with the first block
// after it, or replaces a partial last one, and has postings if the blocks before have. INVALID_ARGUMENT with reason
// INVALID_COMMIT.
absl::Status CheckContinues(const Commit& commit, const DocumentRow& stored);

// ABORTED with reason DOCUMENT_CHANGED where `row` was not made from `stored`.
absl::Status CheckRevision(const DocumentRow& row, const DocumentRow& stored);

}  // namespace ilre
