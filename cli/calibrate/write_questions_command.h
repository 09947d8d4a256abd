// ilre calibrate --write-questions
#pragma once

#include "absl/status/status.h"
#include "cli/calibrate/calibrate_command.h"

namespace ilre::cli {

// Writes a SQuAD-format file of questions about the texts, each with the segment that it was written about as its
// answer. The arguments are checked.
absl::Status CalibrateWriteQuestions(const Settings& settings, const CalibrateArguments& arguments);

}  // namespace ilre::cli
