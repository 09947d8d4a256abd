// Whether a stored document was read with the model that is loaded: else its vectors mean nothing here.
#pragma once

#include "absl/status/status.h"
#include "common/retrieval/retrieval_model.h"
#include "common/store/records.h"

namespace ilre {

// FAILED_PRECONDITION with reason MODEL_MISMATCH, naming the document, what differs and both fingerprints.
absl::Status CheckSameModel(const DocumentRow& row, const RetrievalModel& model);

}  // namespace ilre
