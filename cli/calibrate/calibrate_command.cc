#include "cli/calibrate/calibrate_command.h"

#include <filesystem>

#include "absl/strings/str_cat.h"
#include "cli/calibrate/heads_command.h"
#include "cli/calibrate/train_command.h"
#include "cli/calibrate/write_questions_command.h"
#include "cli/interrupt.h"
#include "common/base/errors.h"
#include "common/base/status_macros.h"
#include "common/base/thread_pool.h"

namespace ilre::cli {
namespace {

absl::Status CheckArguments(const CalibrateArguments& arguments) {
  if (arguments.train + arguments.heads + !arguments.write_questions.empty() != 1) {
    return errors::InvalidArgument("calibrate: say what to do: --train, --heads or --write-questions");
  }
  if (arguments.write_questions.empty() && arguments.squad_files.empty()) {
    return errors::InvalidArgument("calibrate: --train and --heads need questions: --squad FILE");
  }
  if (arguments.layers.empty()) return errors::InvalidArgument("calibrate: no layer");
  if (!(arguments.holdout > 0 && arguments.holdout < 1)) {
    return errors::InvalidArgument("calibrate: --holdout is not in (0, 1)");
  }
  if (!(arguments.validation >= 0 && arguments.validation < 1)) {
    return errors::InvalidArgument("calibrate: --validation is not in [0, 1)");
  }
  if (arguments.teacher.empty() && !arguments.pooled_layers.empty()) {
    return errors::InvalidArgument("calibrate: a pooled head needs --teacher FOLDER");
  }
  // Known before minutes of training, not after.
  for (const std::string& file : {arguments.output, arguments.report}) {
    std::filesystem::path folder = std::filesystem::path(file).parent_path();
    if (folder.empty()) folder = ".";
    std::error_code error;
    if (!std::filesystem::is_directory(folder, error)) {
      return MakeError(absl::StatusCode::kNotFound, "FILE_NOT_FOUND", absl::StrCat("no folder ", folder.string()));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status RunCalibrate(const Settings& settings, const CalibrateArguments& arguments) {
  ILRE_RETURN_IF_ERROR(CheckArguments(arguments));
  InstallInterruptHandler();
  SetDefaultPoolThreads(settings.threads);
  if (!arguments.write_questions.empty()) return CalibrateWriteQuestions(settings, arguments);
  return arguments.heads ? CalibrateHeads(settings, arguments) : CalibrateTrain(settings, arguments);
}

}  // namespace ilre::cli
