// The trainers by way of the library that has libtorch; see probe_trainer.cc and pooled_trainer.cc for the training.
#include <algorithm>

#include "cli/calibrate/pooled_trainer.h"
#include "cli/calibrate/probe_trainer.h"
#include "common/base/errors.h"
#include "common/base/status_macros.h"
#include "common/model/torch_backend.h"

namespace ilre::cli {

absl::StatusOr<RetrievalHead> TrainProbe(const std::vector<WeightedPool>& pools, const TrainingPool& held_out,
                                         int layer, const ProbeTrainingOptions& options,
                                         const TrainingObserver& observe) {
  const auto asks = [](const TrainingPool& pool) {
    return !pool.gold.empty() &&
           std::none_of(pool.gold.begin(), pool.gold.end(), [](const auto& gold) { return gold.empty(); });
  };
  bool all_ask = asks(held_out);
  for (const WeightedPool& pool : pools) {
    for (const TrainingPool* choice : pool.choices) all_ask = all_ask && asks(*choice);
  }
  if (!all_ask) return errors::InvalidArgument("a training text has no questions");
  ILRE_ASSIGN_OR_RETURN(void* const function, TorchBackendFunction("IlreTrainProbe"));
  absl::StatusOr<RetrievalHead> head;
  reinterpret_cast<TrainProbeFunction*>(function)(&pools, &held_out, layer, &options, &observe, &head);
  return head;
}

absl::StatusOr<RetrievalHead> TrainPooled(const PooledTrainingData& data, const std::vector<int>& layers,
                                          const PooledTrainingOptions& options, const TrainingObserver& observe) {
  for (const TaughtPool* taught : {&data.labelled, &data.held_out}) {
    if (taught->segments.empty() || taught->questions.empty()) {
      return errors::InvalidArgument("the teacher has read no sentence or no question of the SQuAD-format file");
    }
  }
  const TaughtPool& labelled = data.labelled;
  const bool any_answer = std::any_of(labelled.questions.begin(), labelled.questions.end(), [&](int64_t question) {
    const std::vector<int64_t>& gold = labelled.pool->gold[static_cast<size_t>(question)];
    return std::any_of(gold.begin(), gold.end(), [&](int64_t segment) {
      return std::binary_search(labelled.segments.begin(), labelled.segments.end(), segment);
    });
  });
  if (!any_answer) return errors::InvalidArgument("the teacher has read no answer's sentence");
  if (options.dim < 1 || options.dim > data.labelled.dim) {
    return errors::InvalidArgument("a pooled head has at most as many dimensions as the teacher's vectors");
  }
  ILRE_ASSIGN_OR_RETURN(void* const function, TorchBackendFunction("IlreTrainPooled"));
  absl::StatusOr<RetrievalHead> head;
  reinterpret_cast<TrainPooledFunction*>(function)(&data, &layers, &options, &observe, &head);
  return head;
}

RetrievalHead WithFewerDims(RetrievalHead head, int dim) {
  const size_t width = head.key_projection.size() / static_cast<size_t>(head.dim);
  head.key_projection.resize(width * static_cast<size_t>(dim));
  head.query_projection.resize(width * static_cast<size_t>(dim));
  head.dim = dim;
  return head;
}

}  // namespace ilre::cli
