// Trains a retrieval probe: two small projections and a gate, by cross-entropy over segments (libtorch's autograd).
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "cli/calibrate/learning_curve.h"
#include "cli/calibrate/training_pool.h"
#include "common/retrieval/profile.h"

namespace ilre::cli {

struct ProbeTrainingOptions {
  int dim = 64;  // of the stored vectors
  int steps = 80;
  float learning_rate = 5e-4f;  // of the projections
  float gate_learning_rate = 2e-3f;
  float temperature = 4;  // factor of the scores in the loss
  float dropout = 0.2f;   // of the inputs, on both sides
  int batch = 32;         // questions a step, from each pool
  int negatives = 120;    // segments drawn at random a step, beside gold ones and their neighbours
  int steps_a_point = 5;  // of the learning curve
  uint64_t seed = 0;
};

struct WeightedPool {
  float weight = 1;                          // of its loss
  std::vector<const TrainingPool*> choices;  // one of them is drawn at each step
};

// Both projections begin as one random matrix, which keeps inner products roughly as they are (Johnson and
// Lindenstrauss), and are trained with AdamW (Loshchilov and Hutter, 2019) under a warm-up and a cosine decay. A
// question's score of a segment is the sum over its tokens i of softplus(g h_i + c) max_t cos(Wq h_i, Wk h_t).
// `observe` is told of the untrained probe, then every so many steps and after the last. Returns a kProbe head at
// `layer`, its weights rounded to bfloat16 as they are computed with later, as it was when training ended.
absl::StatusOr<RetrievalHead> TrainProbe(const std::vector<WeightedPool>& pools, const TrainingPool& held_out,
                                         int layer, const ProbeTrainingOptions& options,
                                         const TrainingObserver& observe);

// The same as libilre_torch.so exports it, under the name IlreTrainProbe.
using TrainProbeFunction = void(const std::vector<WeightedPool>* pools, const TrainingPool* held_out, int layer,
                                const ProbeTrainingOptions* options, const TrainingObserver* observe,
                                absl::StatusOr<RetrievalHead>* head);

}  // namespace ilre::cli
