// How much of the answers a profile recalls, measured through the engine itself: a temporary store, ingest, scores,
// selection.
#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "cli/calibrate/training_text.h"
#include "common/model/decoder.h"
#include "common/model/tokenizer.h"
#include "common/retrieval/profile.h"

namespace ilre::cli {

struct RecallAtBudget {
  int budget = 0;
  double fused = 0;  // share of the segments that hold the answers, with the profile as it is
  double heads = 0;  // by its heads alone; like the next, only of a profile that scores by kMaxSim
  double bm25 = 0;   // by BM25 alone
};

absl::StatusOr<std::vector<RecallAtBudget>> MeasureRecall(const Decoder& decoder, const Tokenizer& tokenizer,
                                                          const RetrievalProfile& profile, const TrainingText& text,
                                                          const std::vector<int>& budgets);

}  // namespace ilre::cli
