#include "cli/calibrate/train_page.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <iterator>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "cli/calibrate/page_parts.h"
#include "cli/report/report_page.h"

namespace ilre::cli {
namespace {

const char* const kBudgetStyles[] = {"line-all", "line-left", "line-best"};  // of 128, 256 and 512 tokens
constexpr char kBudgetKey[] = "Blue: within 128 tokens. Pale: 256. Orange: 512.";

// Where a chart of these recalls begins: a little below the least.
double LowestRecall(double least) { return std::floor(std::max(0.0, least - 0.02) * 20) / 20; }

// Recall of the candidates against a cost.
std::string CostChart(const TrainReport& report, const std::string& title,
                      const std::function<double(const ProfileFigures&)>& cost) {
  std::vector<ProfileFigures> by_cost = report.candidates;
  std::stable_sort(by_cost.begin(), by_cost.end(), [&](const auto& a, const auto& b) { return cost(a) < cost(b); });
  LineChart chart{.label = absl::StrCat("Recall against ", title), .x_title = title};
  const double margin = 0.05 * cost(by_cost.back());
  chart.x_min = cost(by_cost.front()) - margin;
  chart.x_max = cost(by_cost.back()) + margin;
  chart.y_min = 1;
  for (const ProfileFigures& figures : by_cost) {
    const double x = cost(figures);
    if (chart.x_ticks.empty() || x - chart.x_ticks.back() > (chart.x_max - chart.x_min) / 12)
      chart.x_ticks.push_back(x);
    for (const RecallAtBudget& at : figures.held_out) chart.y_min = std::min(chart.y_min, at.fused);
  }
  chart.y_min = LowestRecall(chart.y_min);
  for (size_t budget = 0; budget < by_cost[0].held_out.size(); ++budget) {
    LineChart::Series series{.style = kBudgetStyles[budget % std::size(kBudgetStyles)], .points = {}, .dots = true};
    for (const ProfileFigures& figures : by_cost) {
      series.points.emplace_back(cost(figures), figures.held_out[budget].fused);
    }
    chart.series.push_back(std::move(series));
  }
  chart.marked = {cost(report.candidates[report.chosen])};
  return absl::StrCat("<div class=\"card panel\"><h3>", title, "</h3>", RenderLineChart(chart), "</div>\n");
}

std::string CandidateTable(const TrainReport& report) {
  std::string html =
      "<div class=\"card panel\"><table><thead><tr><th>Profile</th><th>Layers</th><th>Bytes a token</th><th>Validation"
      "</th>";
  for (const RecallAtBudget& at : report.candidates[0].held_out) absl::StrAppend(&html, "<th>", at.budget, "</th>");
  html += "<th>Heads alone</th><th>BM25 alone</th></tr></thead><tbody>\n";
  for (size_t i = 0; i < report.candidates.size(); ++i) {
    const ProfileFigures& figures = report.candidates[i];
    absl::StrAppendFormat(&html, "<tr%s><td>%s</td><td>%d</td><td>%.0f</td><td>%.3f</td>",
                          i == report.chosen ? " class=\"chosen-row\"" : "", figures.Name(), figures.layers_computed,
                          figures.bytes_per_token, figures.validation_recall);
    const auto recall = [&](double RecallAtBudget::*member, const char* separator) {
      return absl::StrJoin(figures.held_out, separator, [&](std::string* out, const RecallAtBudget& at) {
        absl::StrAppendFormat(out, "%.3f", at.*member);
      });
    };
    absl::StrAppend(&html, "<td>", recall(&RecallAtBudget::fused, "</td><td>"), "</td><td>",
                    recall(&RecallAtBudget::heads, " / "), "</td><td>", recall(&RecallAtBudget::bm25, " / "),
                    "</td></tr>\n");
  }
  return absl::StrCat(html, "</tbody></table></div>\n");
}

LineChart CurveChart(const LearningCurve& curve, const std::string& label, int marked) {
  LineChart chart{.label = label, .x_title = "steps"};
  chart.x_max = std::max(1, curve.back().step);
  chart.marked = {static_cast<double>(marked)};
  for (size_t i = 0; i < curve.size(); i += (curve.size() + 8) / 9) chart.x_ticks.push_back(curve[i].step);
  return chart;
}

std::string LossChart(const LearningCurve& curve, int marked) {
  LineChart chart = CurveChart(curve, "Loss by step", marked);
  LineChart::Series learned{.style = "line-published", .points = {}}, kept_apart{.style = "line-best", .points = {}};
  chart.y_max = 0;
  for (const CurvePoint& point : curve) {
    if (point.step > 0) learned.points.emplace_back(point.step, point.loss);  // before the first step there is none
    kept_apart.points.emplace_back(point.step, point.held_out_loss);
    chart.y_max = std::max({chart.y_max, point.step > 0 ? point.loss : 0, point.held_out_loss});
  }
  chart.series = {std::move(learned), std::move(kept_apart)};
  return RenderLineChart(chart);
}

std::string RecallChart(const LearningCurve& curve, int marked) {
  LineChart chart = CurveChart(curve, "Recall by step", marked);
  chart.y_min = 1;
  for (const CurvePoint& point : curve) {
    chart.y_min = std::min(chart.y_min, *std::min_element(point.recall.begin(), point.recall.end()));
  }
  chart.y_min = LowestRecall(chart.y_min);
  for (size_t budget = 0; budget < std::size(kCurveBudgets); ++budget) {
    LineChart::Series series{.style = kBudgetStyles[budget], .points = {}};
    for (const CurvePoint& point : curve) series.points.emplace_back(point.step, point.recall[budget]);
    chart.series.push_back(std::move(series));
  }
  return RenderLineChart(chart);
}

std::string CurvePanels(const TrainedHead& head) {
  std::string html;
  const auto panel = [&](const LearningCurve& curve, const char* what) {
    if (curve.empty()) return;
    absl::StrAppend(&html, "<div class=\"card panel\"><h3>", head.name, "</h3><p class=\"small muted\">", what, "</p>",
                    LossChart(curve, head.steps), RecallChart(curve, head.steps), "</div>\n");
  };
  panel(head.validation, "Without the validation articles, asked about them: how many steps are best?");
  panel(head.held_out, "With all training articles, for so many steps, asked about the held-out articles");
  return html;
}

}  // namespace

std::string ProfileFigures::Name() const {
  if (pooled_layers.empty()) return "probe and BM25";
  return absl::StrCat("pooled head of layer", pooled_layers.size() > 1 ? "s " : " ", absl::StrJoin(pooled_layers, "+"),
                      ", ", pooled_dim, " dimensions");
}

double BytesPerToken(const std::vector<HeadFormat>& heads, const std::vector<int64_t>& segment_begins) {
  const int64_t tokens = segment_begins.back(), segments = static_cast<int64_t>(segment_begins.size()) - 1;
  int64_t parts = segments;  // a segment has one more in each block that it runs on into
  for (int64_t block = kBlockTokens; block < tokens; block += kBlockTokens) {
    if (!std::binary_search(segment_begins.begin(), segment_begins.end(), block)) ++parts;
  }
  double bytes = 0;
  for (const HeadFormat& head : heads) {
    const int64_t vector = head.type == VectorType::kInt8 ? head.dim + int64_t{sizeof(float)} : head.dim * int64_t{2};
    bytes += static_cast<double>(vector * (head.pooled ? parts : tokens));
  }
  return tokens == 0 ? 0 : bytes / static_cast<double>(tokens);
}

std::string RenderTrainPage(const TrainReport& report) {
  const ProfileFigures& chosen = report.candidates[report.chosen];
  std::string html = absl::StrCat(PageBeginning("A trained profile", {"common.css", "calibrate.css"}, {}),
                                  "<header class=\"question\">\n<p class=\"eyebrow\">Calibration of the model ",
                                  EscapeHtml(report.model), "</p>\n<h1>", EscapeHtml(report.name),
                                  "</h1>\n</header>\n<div class=\"card figures\">\n");
  for (const RecallAtBudget& at : chosen.held_out) {
    html += Figure(absl::StrFormat("%.3f", at.fused), absl::StrCat("recalled within ", at.budget, " tokens"));
  }
  absl::StrAppend(
      &html,
      Figure(absl::StrCat(chosen.layers_computed),
             absl::StrFormat("layers computed and %.0f bytes of vectors kept for each token", chosen.bytes_per_token)),
      "</div>\n");
  const std::string asked = absl::StrCat("Segments that hold the answers of ", report.questions,
                                         " questions on held-out articles. Line: the profile that was written, ",
                                         chosen.Name(), ". ", kBudgetKey);
  html +=
      Section("cost", "Recall against cost", asked,
              absl::StrCat(
                  "<div class=\"panels\">\n",
                  CostChart(report, "bytes of vectors a token",
                            [](const ProfileFigures& figures) { return figures.bytes_per_token; }),
                  CostChart(report, "layers computed",
                            [](const ProfileFigures& figures) { return static_cast<double>(figures.layers_computed); }),
                  "</div>\n", CandidateTable(report)));
  std::string panels = "<div class=\"panels\">\n";
  for (const TrainedHead& head : report.trained) panels += CurvePanels(head);
  html +=
      Section("curves", "Learning curves",
              absl::StrCat("Above: loss of the batches (dashed) and of the articles kept apart. Below: their recall "
                           "by this head alone. Line: where training stopped. ",
                           kBudgetKey),
              absl::StrCat(panels, "</div>\n"));
  return absl::StrCat(html, "</main>\n</body>\n</html>\n");
}

}  // namespace ilre::cli
