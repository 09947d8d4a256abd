#include "cli/calibrate/heads_page.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "cli/calibrate/page_parts.h"
#include "cli/progress.h"
#include "cli/report/report_page.h"

namespace ilre::cli {
namespace {

// A cell for each layer (columns) and query head (rows), then for each key head with all of its group.
std::string HeatMap(const std::vector<HeadRecall::Layer>& layers, const HeadChoice& chosen, const std::string& label) {
  const size_t heads = layers[0].query_heads.size(), rows = heads + layers[0].key_heads.size();
  const double step = (kChartWidth - kChartLeft) / static_cast<double>(layers.size()), row_height = 14, gap = 6;
  const auto y_of = [&](size_t row) {
    return kChartTop + static_cast<double>(row) * row_height + (row >= heads ? gap : 0);
  };
  std::string svg;
  for (size_t layer = 0; layer < layers.size(); ++layer) {
    const double x = kChartLeft + static_cast<double>(layer) * step;
    for (size_t row = 0; row < rows; ++row) {
      const double recall = row < heads ? layers[layer].query_heads[row] : layers[layer].key_heads[row - heads];
      const std::string place = absl::StrFormat("x=\"%.2f\" y=\"%.1f\" width=\"%.2f\" height=\"%.1f\"", x + 0.5,
                                                y_of(row) + 0.5, std::max(0.5, step - 1), row_height - 1);
      absl::StrAppend(&svg, "<rect class=\"cell-low\" ", place, "/>");
      absl::StrAppendFormat(
          &svg, "<rect class=\"cell-high\" %s fill-opacity=\"%.3f\"><title>layer %d, %s: %.3f</title></rect>\n", place,
          std::clamp(recall, 0.0, 1.0), layer,
          row < heads ? absl::StrCat("query head ", row) : absl::StrCat("key head ", row - heads), recall);
    }
    if (layer % 5 == 0) svg += SvgText(x + step / 2, y_of(rows) + 12, "middle", absl::StrCat(layer));
  }
  for (size_t row = 0; row < rows; ++row) {
    if (rows > 24 && row % 4 != 0 && row != heads) continue;
    svg += SvgText(kChartLeft - 4, y_of(row) + 11, "end",
                   row < heads ? absl::StrCat(row) : absl::StrCat("k", row - heads));
  }
  const size_t row = chosen.query_heads.size() == 1 ? static_cast<size_t>(chosen.query_heads[0])
                                                    : heads + static_cast<size_t>(chosen.key_head);
  absl::StrAppendFormat(&svg, "<rect class=\"chosen\" x=\"%.2f\" y=\"%.1f\" width=\"%.2f\" height=\"%.1f\"/>\n",
                        kChartLeft + chosen.layer * step, y_of(row), step, row_height);
  svg += SvgText(kChartLeft + (kChartWidth - kChartLeft) / 2, y_of(rows) + 26, "middle", "layer");
  return Svg(kChartWidth, y_of(rows) + 32, label, svg);
}

// Recall of each layer, which is also how many layers must be computed for every token.
std::string LayerCurves(const std::vector<HeadRecall::Layer>& layers) {
  LineChart chart{.label = "Recall of each layer", .x_title = "layers computed for each token"};
  chart.x_max = std::max<double>(1, static_cast<double>(layers.size()) - 1);
  chart.series = {{"line-all", {}, false}, {"line-published", {}, false}, {"line-best", {}, false}};
  for (size_t i = 0; i < layers.size(); ++i) {
    const auto x = static_cast<double>(i);
    chart.series[0].points.emplace_back(x, layers[i].all_heads);
    chart.series[1].points.emplace_back(x, layers[i].published);
    chart.series[2].points.emplace_back(x, BestHead({layers[i]}).recall);
    if (i % 5 == 0) chart.x_ticks.push_back(x);
  }
  return RenderLineChart(chart);
}

std::string HeadNames(const HeadChoice& choice) {
  return absl::StrCat(choice.query_heads.size() > 1 ? "query heads " : "query head ",
                      absl::StrJoin(choice.query_heads, ", "));
}

std::string HeldOutTable(const HeadsReport& report) {
  std::string rows;
  for (const RecallAtBudget& at : report.held_out) {
    absl::StrAppendFormat(&rows, "<tr><td>%d</td><td>%.3f</td></tr>\n", at.budget, at.fused);
  }
  return absl::StrCat(
      "<div class=\"card panel\"><table><thead><tr><th>Tokens recalled</th><th>Segments with the answer, "
      "found</th></tr></thead><tbody>\n",
      rows, "</tbody></table></div>\n");
}

}  // namespace

std::string RenderHeadsPage(const HeadsReport& report) {
  std::string html = absl::StrCat(PageBeginning("Heads that recall", {"common.css", "calibrate.css"}, {}),
                                  "<header class=\"question\">\n<p class=\"eyebrow\">Calibration of the model ",
                                  EscapeHtml(report.model), "</p>\n<h1>Layer ", report.chosen.layer, ", ",
                                  HeadNames(report.chosen), "</h1>\n</header>\n");
  absl::StrAppend(
      &html, "<div class=\"card figures\">\n",
      Figure(absl::StrFormat("%.3f", report.chosen.recall),
             absl::StrCat("recalled within ", report.budget, " tokens by the chosen head, ", report.bytes_per_token,
                          " bytes a token")),
      Figure(absl::StrFormat("%.3f", report.best.recall),
             absl::StrCat("by the best of all: layer ", report.best.layer, ", ", HeadNames(report.best))),
      Figure(absl::StrFormat("%.3f", report.overall[static_cast<size_t>(report.published_layer)].published),
             absl::StrCat("by the published scoring at the layer that its selection finds: ", report.published_layer)),
      "</div>\n");
  html +=
      Section("cost", "Recall against layers", "",
              absl::StrCat("<div class=\"card panel\">", LayerCurves(report.overall),
                           "<p class=\"small muted\">Means over all texts. Orange: the layer's best head. Blue: all "
                           "its heads. Dashed: the published scoring, with positions, summed and pooled.</p></div>\n"));
  std::string maps = "<div class=\"panels\">\n";
  for (const HeadsReport::Group& group : report.groups) {
    const std::string title = absl::StrCat(group.kind == "needles" ? "Needles" : "Questions", ", ",
                                           WithCommas(static_cast<uint64_t>(group.length)), " tokens");
    absl::StrAppend(&maps, "<div class=\"card panel\"><h3>", title, "</h3><p class=\"small muted\">", group.questions,
                    " questions</p>", HeatMap(group.layers, report.chosen, title), "</div>\n");
  }
  html += Section("heads", "Every head",
                  "Rows: query heads, then key heads (k) with all query heads that share them. Dark in the light, "
                  "bright in the dark: recalled. Framed: chosen.",
                  absl::StrCat(maps, "</div>\n"));
  html += Section("held-out", "Questions on articles kept apart", "", HeldOutTable(report));
  return absl::StrCat(html, "</main>\n</body>\n</html>\n");
}

}  // namespace ilre::cli
