#include "cli/eval/eval_report.h"

#include <algorithm>
#include <map>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "cli/eval/evaluator.h"
#include "cli/eval/ruler.h"
#include "cli/eval/svg_plot.h"
#include "cli/json_output.h"
#include "common/base/file.h"
#include "common/base/status_macros.h"

namespace ilre::cli {
namespace {

constexpr char kMean[] = "mean";

size_t PlaceOf(const std::vector<std::string>& order, const std::string& name) {
  return static_cast<size_t>(std::find(order.begin(), order.end(), name) - order.begin());
}

// Sorts figures as Summarize says.
auto Order(const EvalFigure& figure) {
  return std::make_tuple(figure.length, figure.budget, figure.task == kMean, PlaceOf(RulerTasks(), figure.task),
                         figure.task, PlaceOf(EvalModes(), figure.mode));
}

using Groups = std::vector<std::vector<const EvalResult*>>;

// Each group: the results of one task.
EvalFigure MakeFigure(const Groups& groups, const std::string& task) {
  const EvalResult& first = *groups[0][0];
  EvalFigure figure{.task = task, .mode = first.mode, .length = first.length, .budget = first.budget};
  std::vector<std::vector<double>> scores, needles, all, recalled;
  for (const auto& group : groups) {
    for (auto* values : {&scores, &needles, &all, &recalled}) values->emplace_back();
    for (const EvalResult* result : group) {
      ++figure.samples;
      figure.context_tokens += result->context_tokens;
      figure.document_tokens += result->document_tokens;
      figure.looks += result->looks;
      if (result->score >= 0) scores.back().push_back(result->score);
      if (result->needles < 0) continue;
      needles.back().push_back(result->needles);
      all.back().push_back(result->all_needles() ? 1 : 0);
      recalled.back().push_back(result->recalled);
    }
  }
  for (double* sum : {&figure.context_tokens, &figure.document_tokens, &figure.looks}) {
    *sum /= static_cast<double>(figure.samples);
  }
  const auto any = [](const auto& values) {
    return std::any_of(values.begin(), values.end(), [](const auto& group) { return !group.empty(); });
  };
  figure.has_score = any(scores);
  figure.has_needles = any(needles);
  figure.score = MeanOfGroups(scores);
  figure.needles = MeanOfGroups(needles);
  figure.all = MeanOfGroups(all);
  figure.recalled = MeanOfGroups(recalled);
  return figure;
}

std::string Cell(const EvalFigure* figure) {
  if (figure == nullptr) return absl::StrFormat("%20s", "-");
  const std::string score = figure->has_score ? absl::StrFormat("%.2f", figure->score.mean) : "-";
  const std::string needles = figure->has_needles ? absl::StrFormat("%.2f", figure->needles.mean) : "-";
  return absl::StrFormat("%6s %6s %6.0f", score, needles, figure->context_tokens);
}

// Points of the means of all tasks of each mode.
template <typename Keep, typename X, typename Y>
std::vector<PlotSeries> SeriesOf(const std::vector<EvalFigure>& figures, const Keep& keep, const X& x, const Y& y) {
  std::vector<PlotSeries> all;
  for (const std::string& mode : EvalModes()) {
    PlotSeries series{.name = mode};
    for (const EvalFigure& figure : figures) {
      if (figure.task != kMean || figure.mode != mode || !keep(figure)) continue;
      const Interval interval = y(figure);
      series.points.push_back({static_cast<double>(x(figure)), interval.mean, interval.low, interval.high});
    }
    std::sort(series.points.begin(), series.points.end(), [](const auto& a, const auto& b) { return a.x < b.x; });
    if (!series.points.empty()) all.push_back(std::move(series));
  }
  return all;
}

Json IntervalJson(const Interval& interval) {
  return {{"mean", interval.mean}, {"low", interval.low}, {"high", interval.high}};
}

}  // namespace

std::vector<EvalFigure> Summarize(absl::Span<const EvalResult> results) {
  // length, budget, mode -> task -> results
  std::map<std::tuple<int, int, std::string>, std::map<std::string, std::vector<const EvalResult*>>> by_place;
  for (const EvalResult& result : results) {
    by_place[{result.length, result.budget, result.mode}][result.task].push_back(&result);
  }
  std::vector<EvalFigure> figures;
  for (const auto& [place, tasks] : by_place) {
    Groups all;
    for (const auto& [task, group] : tasks) {
      figures.push_back(MakeFigure({group}, task));
      all.push_back(group);
    }
    figures.push_back(MakeFigure(all, kMean));
  }
  std::sort(figures.begin(), figures.end(), [](const auto& a, const auto& b) { return Order(a) < Order(b); });
  return figures;
}

std::string FormatTable(const std::vector<EvalFigure>& figures) {
  std::vector<std::string> modes;
  for (const std::string& mode : EvalModes()) {
    if (std::any_of(figures.begin(), figures.end(), [&](const EvalFigure& f) { return f.mode == mode; })) {
      modes.push_back(mode);
    }
  }
  std::string table;
  int length = -1, budget = -1;
  for (size_t begin = 0, end = 0; begin < figures.size(); begin = end) {
    const EvalFigure& first = figures[begin];
    std::map<std::string, const EvalFigure*> of_mode;
    size_t samples = 0;
    while (end < figures.size() && figures[end].length == first.length && figures[end].budget == first.budget &&
           figures[end].task == first.task) {
      samples = std::max(samples, figures[end].samples);
      of_mode[figures[end].mode] = &figures[end];
      ++end;
    }
    if (first.length != length || first.budget != budget) {
      length = first.length;
      budget = first.budget;
      absl::StrAppend(&table, "\nLength ", length, ", budget ", budget,
                      " (answer score, share of needles in the prompt, tokens of context)\n",
                      absl::StrFormat("%-16s %4s", "", "n"));
      for (const std::string& mode : modes) absl::StrAppendFormat(&table, "  %20s", mode);
      table += "\n";
    }
    absl::StrAppendFormat(&table, "%-16s %4d", first.task, samples);
    for (const std::string& mode : modes) absl::StrAppend(&table, "  ", Cell(of_mode[mode]));
    table += "\n";
    if (first.task != kMean) continue;
    absl::StrAppendFormat(&table, "%-16s %4s", "95% interval", "");
    for (const std::string& mode : modes) {
      const EvalFigure* figure = of_mode[mode];
      const bool has = figure != nullptr && (figure->has_score || figure->has_needles);
      const Interval interval = !has ? Interval() : figure->has_score ? figure->score : figure->needles;
      absl::StrAppendFormat(&table, "  %20s", has ? absl::StrFormat("%.2f-%.2f", interval.low, interval.high) : "-");
    }
    table += "\n";
  }
  return table;
}

std::string FormatCsv(const std::vector<EvalFigure>& figures) {
  std::string csv =
      "length,budget,task,mode,samples,score,score_low,score_high,needles,needles_low,needles_high,all_needles,"
      "recalled,"
      "context_tokens,document_tokens,looks\n";
  for (const EvalFigure& f : figures) {
    absl::StrAppendFormat(&csv, "%d,%d,%s,%s,%d,", f.length, f.budget, f.task, f.mode, f.samples);
    if (f.has_score) {
      absl::StrAppendFormat(&csv, "%.4f,%.4f,%.4f,", f.score.mean, f.score.low, f.score.high);
    } else {
      csv += ",,,";
    }
    if (f.has_needles) {
      absl::StrAppendFormat(&csv, "%.4f,%.4f,%.4f,%.4f,%.4f,", f.needles.mean, f.needles.low, f.needles.high,
                            f.all.mean, f.recalled.mean);
    } else {
      csv += ",,,,,";
    }
    absl::StrAppendFormat(&csv, "%.1f,%.1f,%.2f\n", f.context_tokens, f.document_tokens, f.looks);
  }
  return csv;
}

std::string FormatJson(const std::vector<EvalFigure>& figures) {
  Json all = Json::array();
  for (const EvalFigure& f : figures) {
    Json json = {
        {"length", f.length}, {"budget", f.budget}, {"task", f.task}, {"mode", f.mode}, {"samples", f.samples}};
    if (f.has_score) json["score"] = IntervalJson(f.score);
    if (f.has_needles) {
      json["needles"] = IntervalJson(f.needles);
      json["all_needles"] = IntervalJson(f.all);
      json["recalled"] = IntervalJson(f.recalled);
    }
    json["context_tokens"] = f.context_tokens;
    json["document_tokens"] = f.document_tokens;
    json["looks"] = f.looks;
    all.push_back(std::move(json));
  }
  return all.dump(1) + "\n";
}

absl::Status WriteReport(const std::string& folder, const std::vector<EvalFigure>& figures) {
  ILRE_RETURN_IF_ERROR(WriteFileAtomically(folder + "/summary.csv", FormatCsv(figures)));
  ILRE_RETURN_IF_ERROR(WriteFileAtomically(folder + "/summary.json", FormatJson(figures)));
  int length = 0, budget = 0;
  for (const EvalFigure& figure : figures) {
    length = std::max(length, figure.length);
    budget = std::max(budget, figure.budget);
  }
  const auto by_length = [&](const EvalFigure& f) { return f.budget == budget && f.length > 0; };
  const auto by_budget = [&](const EvalFigure& f) { return f.length == length; };
  const auto score = [](const EvalFigure& f) { return f.score; };
  const auto needles = [](const EvalFigure& f) { return f.needles; };
  const Plot plots[] = {
      {"Answers", "tokens of the document and the answer", "score", true,
       SeriesOf(
           figures, by_length, [](const EvalFigure& f) { return f.length; }, score)},
      {"Needles in the prompt", "tokens of the document and the answer", "share", true,
       SeriesOf(
           figures, by_length, [](const EvalFigure& f) { return f.length; }, needles)},
      {absl::StrCat("Answers at length ", length), "budget in tokens", "score", true,
       SeriesOf(
           figures, by_budget, [](const EvalFigure& f) { return f.budget; }, score)},
      {absl::StrCat("Needles in the prompt at length ", length), "document tokens for each token of context", "share",
       true,
       SeriesOf(
           figures, by_budget, [](const EvalFigure& f) { return f.document_tokens / std::max(1.0, f.context_tokens); },
           needles)}};
  const char* const names[] = {"score_by_length", "needles_by_length", "score_by_budget", "needles_by_compression"};
  for (size_t i = 0; i < std::size(plots); ++i) {
    ILRE_RETURN_IF_ERROR(WriteFileAtomically(absl::StrCat(folder, "/", names[i], ".svg"), RenderSvg(plots[i])));
  }
  return absl::OkStatus();
}

}  // namespace ilre::cli
