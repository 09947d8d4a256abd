// Documents whose every byte follows from their uid, so that one process can check what another wrote.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "common/store/key_store.h"
#include "common/store/test_documents.h"

namespace ilre {

inline constexpr char kKnownCollection[] = "known";

// Appends to a document that has only such blocks, so that it has `num_blocks` more. Every third revision is READY, and
// then, if it has new blocks, its last one is partial; the next one that has new blocks replaces that.
absl::StatusOr<DocumentRow> AppendKnownBlocks(KeyStore* store, const DocumentRow& row, uint32_t num_blocks);

// What of the document is not as it should be at this row; empty: nothing.
std::string KnownDifference(const KeyStoreReader& store, const DocumentRow& row);

// Blocks and postings alone, as their visits end; DATA_LOSS where one is another than it should be.
absl::Status CheckKnownBlocks(const KeyStoreReader& store, const DocumentRow& row);
absl::Status CheckKnownPostings(const KeyStoreReader& store, const DocumentRow& row);

}  // namespace ilre
