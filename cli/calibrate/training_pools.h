// All that calibrate --train learns from and checks by, as the model sees it.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "cli/calibrate/calibrate_command.h"
#include "cli/calibrate/teacher.h"
#include "cli/calibrate/training_pool.h"
#include "common/model/decoder.h"
#include "common/model/tokenizer.h"
#include "common/retrieval/profile.h"

namespace ilre::cli {

// By articles: the last are held out, the last of the others validate, the rest is learned from until it is known how
// long to learn from both.
struct CalibrationTexts {
  TrainingText training;  // all that are not held out
  TrainingText part;      // those that do not validate; empty, like the next, without validation
  TrainingText validation;
  TrainingText held_out;
  std::vector<TrainingText> needles;
};
absl::StatusOr<CalibrationTexts> ReadCalibrationTexts(const CalibrateArguments& arguments);

struct CalibrationPools {
  TrainingPool training, part, validation, held_out;
  std::vector<TrainingPool> needles;
  std::vector<TrainingPool> others;  // the teacher's texts
  bool has_validation() const { return validation.num_questions() > 0; }
};

// Reads everything, with progress on stderr. teacher: null for none. layers: of probes; pooled_layers: of pooled heads.
// folder: as PoolReader's. CANCELLED after an interrupt.
absl::StatusOr<CalibrationPools> ReadCalibrationPools(const Decoder& decoder, const Tokenizer& tokenizer,
                                                      const RetrievalProfile& profile, const CalibrationTexts& texts,
                                                      const Teacher* teacher, const std::vector<int>& layers,
                                                      const std::vector<int>& pooled_layers, const std::string& folder);

}  // namespace ilre::cli
