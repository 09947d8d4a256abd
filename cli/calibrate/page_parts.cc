#include "cli/calibrate/page_parts.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace ilre::cli {

std::string SvgText(double x, double y, const char* anchor, const std::string& text) {
  return absl::StrFormat("<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">%s</text>\n", x, y, anchor, text);
}

std::string Svg(double width, double height, const std::string& label, const std::string& content) {
  return absl::StrFormat("<svg viewBox=\"0 0 %g %g\" role=\"img\" aria-label=\"%s\">\n%s</svg>\n", width, height, label,
                         content);
}

std::string RenderLineChart(const LineChart& chart) {
  constexpr double kHeight = 180, kRight = kChartWidth - 14;
  constexpr int kGridLines = 4;
  const double x_range = std::max(1e-9, chart.x_max - chart.x_min), y_range = std::max(1e-9, chart.y_max - chart.y_min);
  const auto x_of = [&](double x) { return kChartLeft + (x - chart.x_min) / x_range * (kRight - kChartLeft); };
  const auto y_of = [&](double y) {
    return kChartTop + (1 - std::clamp((y - chart.y_min) / y_range, 0.0, 1.0)) * kHeight;
  };
  std::string svg;
  for (int i = 0; i <= kGridLines; ++i) {
    const double value = chart.y_min + y_range * i / kGridLines, y = y_of(value);
    absl::StrAppendFormat(&svg, "<line class=\"grid-line\" x1=\"%g\" x2=\"%g\" y1=\"%.1f\" y2=\"%.1f\"/>\n", kChartLeft,
                          kChartWidth, y, y);
    svg += SvgText(kChartLeft - 4, y + 3, "end", absl::StrFormat("%.2f", value));
  }
  for (const double x : chart.marked) {
    absl::StrAppendFormat(&svg, "<line class=\"marked\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%g\" y2=\"%g\"/>\n", x_of(x),
                          x_of(x), kChartTop, kChartTop + kHeight);
  }
  for (const LineChart::Series& series : chart.series) {
    std::string points;
    for (const auto& [x, y] : series.points) absl::StrAppendFormat(&points, "%.1f,%.1f ", x_of(x), y_of(y));
    absl::StrAppend(&svg, "<polyline class=\"", series.style, "\" points=\"", points, "\"/>\n");
    if (!series.dots) continue;
    for (const auto& [x, y] : series.points) {
      absl::StrAppendFormat(&svg, "<circle class=\"%s\" cx=\"%.1f\" cy=\"%.1f\" r=\"3\"><title>%.3f</title></circle>\n",
                            series.style, x_of(x), y_of(y), y);
    }
  }
  for (const double x : chart.x_ticks) {
    svg += SvgText(x_of(x), kChartTop + kHeight + 16, "middle", absl::StrFormat("%.4g", x));
  }
  svg += SvgText(kChartLeft + (kChartWidth - kChartLeft) / 2, kChartTop + kHeight + 30, "middle", chart.x_title);
  return Svg(kChartWidth, kChartTop + kHeight + 36, chart.label, svg);
}

std::string Figure(const std::string& value, const std::string& label) {
  return absl::StrCat("<div class=\"figure\"><b>", value, "</b><span class=\"label\">", label, "</span></div>\n");
}

std::string Section(const std::string& id, const std::string& heading, const std::string& note,
                    const std::string& content) {
  return absl::StrCat("<section aria-labelledby=\"", id, "\">\n<div class=\"section-head\"><h2 id=\"", id, "\">",
                      heading, "</h2>", note.empty() ? "" : "\n<p class=\"small muted\">", note,
                      note.empty() ? "" : "</p>", "</div>\n", content, "</section>\n");
}

}  // namespace ilre::cli
