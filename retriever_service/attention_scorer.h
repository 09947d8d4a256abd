// The published scoring (arXiv 2508.17892, section 3): softmax attention of the question's tokens over all tokens of
// the searched documents, at the profile's heads.
#pragma once

#include <functional>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/retrieval/retrieval_model.h"
#include "common/store/key_store.h"
#include "retriever_service/scored_segment.h"

namespace ilre {

struct TokenScores {
  // [documents][tokens]: the attention a token gets, the maximum (or sum) over question tokens and heads.
  std::vector<std::vector<float>> scores;
  std::vector<ScoredSegment> segments;  // all segments, scored by the sum of their tokens' scores
};

// `decoder` gives the rotary frequencies where the profile wants positions.
absl::StatusOr<TokenScores> ScoreByAttention(const KeyStoreReader& store, absl::Span<const DocumentRow> documents,
                                             const EncodedQuestion& question, const RetrievalProfile& profile,
                                             const ModelConfig& model, const std::function<bool()>& should_stop);

// Multi-kernel pooling: for each kernel, scores are max-pooled (stride 1) and its budget of best tokens not taken yet
// is taken. The budgets are shares of `budget`. Returns the union as scored segments of consecutive tokens.
std::vector<ScoredSegment> SelectByPooling(const std::vector<std::vector<float>>& scores,
                                           absl::Span<const RetrievalProfile::Attention::Kernel> kernels, int budget);

}  // namespace ilre
