// Results of an evaluation on disk: a line of JSON for each, written when it is known, so that a killed evaluation goes
// on where it was.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "cli/line_log.h"

namespace ilre::cli {

// One sample answered in one mode.
struct EvalResult {
  std::string task, mode;
  int length = 0, index = 0, budget = 0;
  double score = -1;     // of the answer, in [0, 1]; below 0: none was generated
  double needles = -1;   // share of what is needed that is wholly in the prompt; below 0: nothing can be named
  double recalled = -1;  // the same of all that is recalled, in the prompt or not
  int context_tokens = 0, recalled_tokens = 0, prompt_tokens = 0, document_tokens = 0, looks = 0;
  double retrieval_ms = 0;
  std::string answer;

  // Whole chains and sets of needles.
  bool all_needles() const { return needles >= 1; }
  // What no two results of one evaluation share.
  std::string Key() const;
};

class ResultLog {
 public:
  // Opens or creates `path`. `settings` is one line that says what results depend on beside their keys; a log that was
  // begun with others is FAILED_PRECONDITION with reason EVAL_OTHER_SETTINGS, naming both. A last line that was cut off
  // by a crash is dropped; any other line that is no result is DATA_LOSS with reason EVAL_LOG_DAMAGED, naming it.
  static absl::StatusOr<std::unique_ptr<ResultLog>> Open(const std::string& path, const std::string& settings);

  bool Has(const EvalResult& result) const { return keys_.count(result.Key()) > 0; }
  // Says what results of a mode depend on beside all that, as `settings`, one line of JSON. A log that says otherwise
  // of this mode is FAILED_PRECONDITION with reason EVAL_OTHER_SETTINGS, naming both.
  absl::Status SetMode(const std::string& mode, const std::string& settings);
  // The line is in the system's hands when this returns: it outlives this process.
  absl::Status Append(const EvalResult& result);
  const std::vector<EvalResult>& results() const { return results_; }

 private:
  ResultLog() = default;

  std::string path_;
  std::unique_ptr<LineLog> log_;
  std::map<std::string, std::string> modes_;  // and their settings
  std::set<std::string> keys_;
  std::vector<EvalResult> results_;
};

}  // namespace ilre::cli
