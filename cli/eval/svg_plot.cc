#include "cli/eval/svg_plot.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"

namespace ilre::cli {
namespace {

constexpr double kWidth = 720, kHeight = 420, kLeft = 60, kRight = 160, kTop = 40, kBottom = 50;
constexpr const char* kColours[] = {"#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#888888"};

std::string Escaped(const std::string& text) {
  return absl::StrReplaceAll(text, {{"&", "&amp;"}, {"<", "&lt;"}, {">", "&gt;"}, {"\"", "&quot;"}});
}

// 4096 -> "4K", 1048576 -> "1M", 96 -> "96"
std::string Short(double x) {
  if (x >= 1 << 20) return absl::StrFormat("%gM", std::round(x / (1 << 20) * 10) / 10);
  if (x >= 1024) return absl::StrFormat("%gK", std::round(x / 1024 * 10) / 10);
  return absl::StrFormat("%g", std::round(x * 10) / 10);
}

class Canvas {
 public:
  explicit Canvas(const Plot& plot) : log_(plot.log_x) {
    for (const PlotSeries& series : plot.series) {
      for (const PlotPoint& point : series.points) xs_.insert(point.x);
    }
    low_ = xs_.empty() ? 0 : Scale(*xs_.begin());
    high_ = xs_.empty() ? 1 : Scale(*xs_.rbegin());
    if (high_ <= low_) low_ -= 0.5, high_ = low_ + 1;
  }
  double X(double x) const { return kLeft + (Scale(x) - low_) / (high_ - low_) * (kWidth - kLeft - kRight); }
  static double Y(double y) { return kTop + (1 - std::clamp(y, 0.0, 1.0)) * (kHeight - kTop - kBottom); }
  const std::set<double>& xs() const { return xs_; }

 private:
  double Scale(double x) const { return log_ ? std::log2(std::max(x, 1e-9)) : x; }

  bool log_;
  std::set<double> xs_;
  double low_, high_;
};

std::string Text(double x, double y, const char* anchor, const std::string& text, const char* more = "") {
  return absl::StrFormat("<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\" %s>%s</text>\n", x, y, anchor, more,
                         Escaped(text));
}

std::string Line(double x1, double y1, double x2, double y2, const char* style) {
  return absl::StrFormat("<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" %s/>\n", x1, y1, x2, y2, style);
}

std::string Axes(const Plot& plot, const Canvas& canvas) {
  std::string svg = Text(kLeft, 24, "start", plot.title, "font-weight=\"bold\"");
  for (int i = 0; i <= 5; ++i) {
    const double y = i / 5.0;
    svg += Line(kLeft, Canvas::Y(y), kWidth - kRight, Canvas::Y(y), "stroke=\"#88888855\"");
    svg += Text(kLeft - 8, Canvas::Y(y) + 4, "end", absl::StrFormat("%.1f", y));
  }
  double last = -100;
  for (const double x : canvas.xs()) {
    if (canvas.X(x) - last < 34) continue;  // no room for its label
    last = canvas.X(x);
    svg += Line(last, Canvas::Y(0), last, Canvas::Y(0) + 5, "stroke=\"#888888\"");
    svg += Text(last, Canvas::Y(0) + 20, "middle", Short(x));
  }
  svg += Text((kLeft + kWidth - kRight) / 2, kHeight - 10, "middle", plot.x_label);
  return svg + Text(16, kHeight / 2, "middle", plot.y_label, "transform=\"rotate(-90 16 210)\"");
}

}  // namespace

std::string RenderSvg(const Plot& plot) {
  const Canvas canvas(plot);
  std::string svg = absl::StrFormat(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %g %g\" width=\"%g\" height=\"%g\" "
      "font-family=\"sans-serif\" font-size=\"13\">\n<style>text{fill:#222}@media(prefers-color-scheme:dark){"
      "svg{background:#1b1b1b}text{fill:#ddd}}</style>\n",
      kWidth, kHeight, kWidth, kHeight);
  svg += Axes(plot, canvas);
  for (size_t s = 0; s < plot.series.size(); ++s) {
    const PlotSeries& series = plot.series[s];
    const std::string colour = kColours[s % std::size(kColours)];
    std::string path;
    for (const PlotPoint& point : series.points) {
      const double x = canvas.X(point.x) + 2.0 * static_cast<double>(s);  // intervals of several stay apart
      absl::StrAppend(&path, path.empty() ? "M" : "L", absl::StrFormat("%.1f %.1f ", x, Canvas::Y(point.y)));
      svg += Line(x, Canvas::Y(point.low), x, Canvas::Y(point.high), absl::StrCat("stroke=\"", colour, "88\"").c_str());
      svg +=
          absl::StrFormat("<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3.5\" fill=\"%s\"/>\n", x, Canvas::Y(point.y), colour);
    }
    absl::StrAppend(&svg, "<path d=\"", path, "\" fill=\"none\" stroke=\"", colour, "\" stroke-width=\"2\"/>\n");
    const double y = kTop + 18.0 * static_cast<double>(s) + 8;
    svg += Line(kWidth - kRight + 16, y - 4, kWidth - kRight + 34, y - 4,
                absl::StrCat("stroke=\"", colour, "\" stroke-width=\"3\"").c_str());
    svg += Text(kWidth - kRight + 40, y, "start", series.name);
  }
  return svg + "</svg>\n";
}

}  // namespace ilre::cli
