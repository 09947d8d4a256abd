// ilre calibrate --train
#pragma once

#include "absl/status/status.h"
#include "cli/calibrate/calibrate_command.h"

namespace ilre::cli {

// The arguments are checked but for what depends on the model.
absl::Status CalibrateTrain(const Settings& settings, const CalibrateArguments& arguments);

}  // namespace ilre::cli
