// Documents whose every byte follows from their uid, so that one process can check what another wrote.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "common/store/key_store.h"
#include "common/store/test_documents.h"

namespace ilre {

inline constexpr char kKnownCollection[] = "known";

// Appends `num_blocks` blocks to a document that has only such blocks. READY at every third revision.
absl::StatusOr<DocumentRow> AppendKnownBlocks(KeyStore* store, const DocumentRow& row, uint32_t num_blocks);

// What of the document is not as it should be at this row; empty: nothing.
std::string KnownDifference(const KeyStoreReader& store, const DocumentRow& row);

}  // namespace ilre
