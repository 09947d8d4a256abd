// Trains a pooled head (common/retrieval/profile.h): a vector for each segment and question, learned to be what a
// sentence-embedding teacher gives for the two (libtorch's autograd).
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "cli/calibrate/learning_curve.h"
#include "cli/calibrate/teacher.h"
#include "common/retrieval/profile.h"

namespace ilre::cli {

struct PooledTrainingOptions {
  int dim = 256;                // of the stored vectors, at most the teacher's
  int steps = 150;              // of the gates
  float learning_rate = 3e-4f;  // of the projections that the gates are trained with
  float gate_learning_rate = 3e-3f;
  float decay = 0.02f;        // of weights
  float dropout = 0.1f;       // of the inputs
  float temperature = 0.05f;  // divides cosines in the loss
  float ridge = 100;          // of the regression
  float supervised = 0.5f;    // weight of the labelled questions' loss
  int batch = 16;             // questions a step, labelled and not each
  int negatives = 24;         // labelled segments drawn at random a step
  int run = 40;               // consecutive segments of the other texts a step
  int steps_a_point = 25;     // of the learning curve
  uint64_t seed = 0;
};

struct PooledTrainingData {
  TaughtPool labelled;             // with questions whose answers' segments are known
  std::vector<TaughtPool> others;  // texts, or questions, alone
  TaughtPool held_out;             // as `labelled`, not learned from
};

// Teacher's vectors are turned so that the first dimensions hold most, and cut to `dim` of them. The gates are trained
// with AdamW and projections that are then thrown away, by the cosine to the teacher's vectors, the divergence from its
// choices among segments, and the labelled questions. The head's projections are the ridge regression from the means
// that the gates give to the teacher's vectors: training them further overfits. So the first k rows of a head's
// projections are those of a head of k dimensions.
//
// `observe` is told of the regression without trained gates, then every so many steps and after the last. Returns a
// kPooled head in int8 of `layers`, as it was when training ended.
absl::StatusOr<RetrievalHead> TrainPooled(const PooledTrainingData& data, const std::vector<int>& layers,
                                          const PooledTrainingOptions& options, const TrainingObserver& observe);

// The same as libilre_torch.so exports it, under the name IlreTrainPooled.
using TrainPooledFunction = void(const PooledTrainingData* data, const std::vector<int>* layers,
                                 const PooledTrainingOptions* options, const TrainingObserver* observe,
                                 absl::StatusOr<RetrievalHead>* head);

// The head cut to its first `dim` dimensions.
RetrievalHead WithFewerDims(RetrievalHead head, int dim);

}  // namespace ilre::cli
