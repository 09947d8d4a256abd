// What the pages of `ilre calibrate` are drawn from. Styles: cli/report/calibrate.css.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace ilre::cli {

inline constexpr double kChartLeft = 34, kChartTop = 8,
                        kChartWidth = 420;  // of every chart: room for labels, its width

// anchor: "start", "middle" or "end". text is not escaped.
std::string SvgText(double x, double y, const char* anchor, const std::string& text);
std::string Svg(double width, double height, const std::string& label, const std::string& content);

struct LineChart {
  struct Series {
    std::string style;  // a class: "line-best"
    std::vector<std::pair<double, double>> points;
    bool dots = false;  // a dot at each point, which says its value when pointed at
  };
  std::string label;  // for those who do not see it
  std::string x_title;
  double x_min = 0, x_max = 1, y_min = 0, y_max = 1;
  std::vector<double> x_ticks;
  std::vector<Series> series;
  std::vector<double> marked;  // places of x that have a line
};
std::string RenderLineChart(const LineChart& chart);

// A large number and what it is. label is escaped already.
std::string Figure(const std::string& value, const std::string& label);

// A section with a heading; content is HTML.
std::string Section(const std::string& id, const std::string& heading, const std::string& note,
                    const std::string& content);

}  // namespace ilre::cli
