// A plain line plot as SVG, readable on light and dark pages.
#pragma once

#include <string>
#include <vector>

namespace ilre::cli {

struct PlotPoint {
  double x = 0, y = 0, low = 0, high = 0;  // low to high: an interval around y
};
struct PlotSeries {
  std::string name;
  std::vector<PlotPoint> points;  // by x
};
struct Plot {
  std::string title, x_label, y_label;
  bool log_x = true;  // all x must be above 0
  std::vector<PlotSeries> series;
};

// y runs from 0 to 1. Without any point the axes alone.
std::string RenderSvg(const Plot& plot);

}  // namespace ilre::cli
