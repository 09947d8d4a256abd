// Heads trained as long as it helps on texts that they do not learn from, and kept, so that a killed run goes on.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "cli/calibrate/learning_curve.h"
#include "cli/calibrate/training_pool.h"
#include "cli/line_log.h"
#include "common/retrieval/profile.h"

namespace ilre::cli {

struct TrainedHead {
  std::string name;          // "probe-2", "pooled-0-2"
  RetrievalHead head;        // learned from all training articles
  RetrievalHead trial;       // learned without those of `validation`; without weights where there are none
  int steps = 0;             // that the head was trained
  LearningCurve validation;  // the trial, on validation articles; empty where there are none
  LearningCurve held_out;    // the head, on held-out articles: looked at, never decided by
};

// Trains from all training articles or, where not `all`, without those of validation.
using TrainFunction = std::function<absl::StatusOr<RetrievalHead>(bool all, const TrainingObserver& observe)>;

// Trains twice: without the validation articles until for some points of the curve `judge` has seen no gain on them,
// then with all for as many steps as were best. validation: null for none, then all steps are done. Prints a line for
// each point. CANCELLED after an interrupt.
absl::StatusOr<TrainedHead> TrainWithEarlyStopping(const std::string& name, Judge judge, const TrainFunction& train,
                                                   const TrainingPool* validation, const TrainingPool& held_out);

// The work folder of calibrate --train: train.jsonl with a line for each trained head, its weights beside it.
class TrainingWork {
 public:
  // folder: empty for none. settings: as LineLog's.
  static absl::StatusOr<std::unique_ptr<TrainingWork>> Open(std::string folder, const std::string& settings);

  // The head of that name, kept or else trained and then kept. base: the profile without heads.
  absl::StatusOr<TrainedHead> Find(const std::string& name, const RetrievalProfile& base,
                                   const std::function<absl::StatusOr<TrainedHead>()>& train);
  // Of kept inputs (training_pool.h); empty for none.
  std::string inputs_folder() const { return folder_.empty() ? "" : folder_ + "/inputs"; }

 private:
  explicit TrainingWork(std::string folder) : folder_(std::move(folder)) {}

  std::string folder_;
  std::unique_ptr<LineLog> log_;
};

}  // namespace ilre::cli
