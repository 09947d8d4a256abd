// ilre calibrate --heads
#pragma once

#include "absl/status/status.h"
#include "cli/calibrate/calibrate_command.h"
#include "cli/settings.h"

namespace ilre::cli {

// Arguments are checked already. FAILED_PRECONDITION with reason CALIBRATE_OTHER_SETTINGS where the folder of work was
// begun otherwise; DATA_LOSS with reason CALIBRATE_LOG_DAMAGED for a line there that is no result.
absl::Status CalibrateHeads(const Settings& settings, const CalibrateArguments& arguments);

}  // namespace ilre::cli
