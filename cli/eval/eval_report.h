// What an evaluation's results come to: means with intervals, as a table, CSV, JSON and plots.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "cli/eval/result_log.h"
#include "cli/eval/scoring.h"

namespace ilre::cli {

// One mode at one length and budget: of one task, or of all together (task "mean": the mean of the tasks' means).
struct EvalFigure {
  std::string task, mode;
  int length = 0, budget = 0;
  size_t samples = 0;
  bool has_score = false, has_needles = false;
  Interval score;                                             // of the answers
  Interval needles;                                           // share of what is needed that is wholly in the prompt
  Interval all;                                               // share of samples of which all of it is
  Interval recalled;                                          // share that is recalled, in the prompt or not
  double context_tokens = 0, document_tokens = 0, looks = 0;  // means
};

// By length, budget, task (in RULER's order, others behind, "mean" last) and mode.
std::vector<EvalFigure> Summarize(absl::Span<const EvalResult> results);

// For people: for each length and budget the tasks as rows and, for each mode, score and needles.
std::string FormatTable(const std::vector<EvalFigure>& figures);
// Members of EvalFigure by name, with a heading.
std::string FormatCsv(const std::vector<EvalFigure>& figures);
std::string FormatJson(const std::vector<EvalFigure>& figures);

// Writes summary.csv, summary.json and the plots into `folder`: score_by_length.svg and needles_by_length.svg of the
// greatest budget, score_by_budget.svg and needles_by_compression.svg (document tokens a token of context) of the
// greatest length.
absl::Status WriteReport(const std::string& folder, const std::vector<EvalFigure>& figures);

}  // namespace ilre::cli
