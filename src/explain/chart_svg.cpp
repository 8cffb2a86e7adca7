// chart_svg(): lines against logarithmic axes, in panels beside each other.
//
// On such axes what grows like a power is a straight line, and a factor is the same distance
// everywhere. Ticks of x stand at the points' own values, those of y at 1, 2 and 5 times powers of
// ten.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <iterator>
#include <limits>
#include <set>

#include "core/check.h"
#include "explain/svg.h"
#include "fovea/chart.h"

namespace fovea::explain {
namespace {

constexpr std::size_t kPanelsPerRow = 3;
constexpr double kPanelWidth = 340;
constexpr double kPanelHeight = 290;
// Of a panel's plot, from the panel's edges.
constexpr double kLeft = 62;
constexpr double kRight = 14;
constexpr double kTop = 34;
constexpr double kBottom = 46;
constexpr double kHead = 66;  // the title and the legend
constexpr std::array<const char*, 6> kColours = {"#1f6fb4", "#d2601a", "#1b8a5a",
                                                 "#8250c4", "#b0306a", "#6b6b6b"};

// A logarithmic axis from pixel `begin` to pixel `end`.
struct Axis {
  double least = std::numeric_limits<double>::infinity();
  double most = 0;
  double begin = 0;
  double end = 0;

  void include(double value) {
    least = std::min(least, value);
    most = std::max(most, value);
  }
  double at(double value) const {
    if (most <= least) return (begin + end) / 2;
    return begin + (end - begin) * std::log(value / least) / std::log(most / least);
  }
};

struct Frame {
  Axis x;
  Axis y;
};

Frame frame_of(const ChartPanel& panel, double left, double top) {
  Frame frame;
  for (const ChartLine& line : panel.lines) {
    for (const ChartPoint& point : line.points) {
      frame.x.include(point.x);
      frame.y.include(point.y);
    }
    for (const double value : line.expected) frame.y.include(value);
  }
  // A margin within the plot, so that no point lies on its border.
  constexpr double kInset = 12;
  frame.x.begin = left + kLeft + kInset;
  frame.x.end = left + kPanelWidth - kRight - kInset;
  frame.y.begin = top + kPanelHeight - kBottom - kInset;
  frame.y.end = top + kTop + kInset;
  return frame;
}

std::vector<double> ticks_between(double least, double most) {
  std::vector<double> ticks;
  for (double power = std::pow(10, std::floor(std::log10(least))); power <= most; power *= 10) {
    for (const double step : {1, 2, 5}) {
      if (step * power >= least * (1 - 1e-9) && step * power <= most) ticks.push_back(step * power);
    }
  }
  // Over several powers of ten the powers are enough.
  if (ticks.size() > 8) {
    std::erase_if(ticks, [](double tick) {
      const double power = std::log10(tick);
      return std::abs(power - std::round(power)) > 1e-6;
    });
  }
  return ticks;
}

void draw_axes(std::string& svg, const ChartPanel& panel, const Frame& frame, double left,
               double top) {
  const double right = left + kPanelWidth - kRight;
  const double bottom = top + kPanelHeight - kBottom;
  svg += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\">{}</text>\n", (left + kLeft + right) / 2,
                     top + kTop - 10, escaped(panel.title));
  std::set<double> values;
  for (const ChartLine& line : panel.lines) {
    for (const ChartPoint& point : line.points) values.insert(point.x);
  }
  for (const double value : values) {
    svg += fmt::format(
        "<path d=\"M{0:.1f} {1:.1f}V{2:.1f}\" stroke=\"#eee\"/><text class=\"small\" x=\"{0:.1f}\" "
        "y=\"{3:.1f}\">{4:g}</text>\n",
        frame.x.at(value), top + kTop, bottom, bottom + 15, value);
  }
  for (const double tick : ticks_between(frame.y.least, frame.y.most)) {
    svg += fmt::format(
        "<path d=\"M{0:.1f} {1:.1f}H{2:.1f}\" stroke=\"#eee\"/><text class=\"small right\" "
        "x=\"{3:.1f}\" y=\"{4:.1f}\">{5:g}</text>\n",
        left + kLeft, frame.y.at(tick), right, left + kLeft - 5, frame.y.at(tick) + 4, tick);
  }
  svg += fmt::format(
      "<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\" fill=\"none\" "
      "stroke=\"#999\"/>\n"
      "<text class=\"small\" x=\"{:.1f}\" y=\"{:.1f}\">{}</text>\n"
      "<text class=\"small\" transform=\"translate({:.1f} {:.1f}) rotate(-90)\">{}</text>\n",
      left + kLeft, top + kTop, right - left - kLeft, bottom - top - kTop,
      (left + kLeft + right) / 2, bottom + 33, escaped(panel.x), left + 16,
      (top + kTop + bottom) / 2, escaped(panel.y));
}

void draw_line(std::string& svg, const ChartLine& line, const Frame& frame, const char* colour) {
  const auto path = [&](const auto& y_of, const char* dashes) {
    svg += fmt::format("<path fill=\"none\" stroke=\"{}\" stroke-width=\"1.6\"{} d=\"", colour,
                       dashes);
    for (std::size_t i = 0; i < line.points.size(); ++i) {
      svg += fmt::format("{}{:.1f} {:.1f}", i == 0 ? 'M' : 'L', frame.x.at(line.points[i].x),
                         frame.y.at(y_of(i)));
    }
    svg += "\"/>\n";
  };
  if (!line.expected.empty()) {
    path([&](std::size_t i) { return line.expected[i]; },
         " stroke-dasharray=\"3 4\" stroke-opacity=\"0.7\"");
  }
  path([&](std::size_t i) { return line.points[i].y; }, "");
  for (const ChartPoint& point : line.points) {
    const double x = frame.x.at(point.x);
    const double y = frame.y.at(point.y);
    if (point.marked) {
      svg += fmt::format(
          "<circle class=\"ring\" cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"7.5\" fill=\"none\" "
          "stroke=\"#c00\" stroke-width=\"1.6\"/>\n",
          x, y);
    }
    svg += fmt::format(
        "<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"3.5\" fill=\"{}\"><title>{}</title></circle>\n", x,
        y, colour, escaped(point.note));
  }
}

// The names of all lines, each once; a name's place decides its colour.
std::vector<std::string> names_of(const std::vector<ChartPanel>& panels) {
  std::vector<std::string> names;
  for (const ChartPanel& panel : panels) {
    for (const ChartLine& line : panel.lines) {
      if (std::find(names.begin(), names.end(), line.name) == names.end())
        names.push_back(line.name);
    }
  }
  return names;
}

const char* colour_of(const std::vector<std::string>& names, const std::string& name) {
  const auto place = std::distance(names.begin(), std::find(names.begin(), names.end(), name));
  return kColours[static_cast<std::size_t>(place) % kColours.size()];
}

void draw_legend(std::string& svg, const std::vector<std::string>& names,
                 const std::vector<std::string>& legend) {
  constexpr double kPerLetter = 7;  // pixels, about
  double x = kLeft;
  const auto entry = [&](const char* colour, const std::string& text) {
    svg += fmt::format("<text class=\"left\" x=\"{:.1f}\" y=\"{:.1f}\" fill=\"{}\">{}</text>\n", x,
                       kHead - 12, colour, escaped(text));
    x += kPerLetter * static_cast<double>(text.size()) + 18;
  };
  for (const std::string& name : names) entry(colour_of(names, name), name);
  for (const std::string& text : legend) entry("#555", text);
}

void check(const ChartPanel& panel) {
  for (const ChartLine& line : panel.lines) {
    FOVEA_CHECK(line.expected.empty() || line.expected.size() == line.points.size(),
                "chart_svg: line '{}' has {} points, but {} expected values", line.name,
                line.points.size(), line.expected.size());
    const auto require = [&](double value) {
      FOVEA_CHECK(std::isfinite(value) && value > 0,
                  "chart_svg: line '{}' has a value of {}; on a logarithmic axis all must be "
                  "positive",
                  line.name, value);
    };
    for (const ChartPoint& point : line.points) {
      require(point.x);
      require(point.y);
    }
    for (const double value : line.expected) require(value);
  }
}

}  // namespace

std::string chart_svg(const std::string& title, const std::vector<ChartPanel>& panels,
                      const std::vector<std::string>& legend) {
  for (const ChartPanel& panel : panels) check(panel);
  const std::vector<std::string> names = names_of(panels);
  const std::size_t rows = (panels.size() + kPanelsPerRow - 1) / kPanelsPerRow;
  const double width =
      kPanelWidth * static_cast<double>(std::clamp<std::size_t>(panels.size(), 1, kPanelsPerRow));
  std::string svg = svg_start(width, kHead + kPanelHeight * static_cast<double>(rows));
  svg +=
      fmt::format("<text class=\"left\" x=\"{:.1f}\" y=\"24\">{}</text>\n", kLeft, escaped(title));
  draw_legend(svg, names, legend);
  for (std::size_t i = 0; i < panels.size(); ++i) {
    const std::size_t row = i / kPanelsPerRow;
    const double left = kPanelWidth * static_cast<double>(i % kPanelsPerRow);
    const double top = kHead + kPanelHeight * static_cast<double>(row);
    const Frame frame = frame_of(panels[i], left, top);
    draw_axes(svg, panels[i], frame, left, top);
    for (const ChartLine& line : panels[i].lines)
      draw_line(svg, line, frame, colour_of(names, line.name));
  }
  return svg + "</svg>\n";
}

}  // namespace fovea::explain
