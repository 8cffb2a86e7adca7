// graph_svg(): the graph of a network, drawn.
//
// A box stands one row below the lowest box that it reads from, and below the first of them where
// no other box does, so that branches go straight down. An arrow that passes rows swings out to the
// right of its boxes, between two columns, where those that lie beside each other have lanes.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <climits>
#include <cmath>
#include <map>
#include <utility>
#include <vector>

#include "core/check.h"
#include "explain/svg.h"
#include "fovea/explain.h"

namespace fovea::explain {
namespace {

constexpr double kBoxHeight = 40;
constexpr double kRow = kBoxHeight + 26;
constexpr double kMargin = 20;
constexpr double kBeside = 16;  // from a box to the first lane, and from the last to a box
constexpr double kLane = 10;
constexpr std::size_t kLongest = 60;  // characters in a box

struct Box {
  int row = 0;
  int column = 0;
};

struct Arrow {
  std::size_t from = 0;
  std::size_t to = 0;
  int column = 0;  // right of which it runs, where it passes rows
  int lane = -1;   // there; -1: it leads to the next row
};

std::string shortened(const std::string& text) {
  return text.size() <= kLongest ? text : text.substr(0, kLongest - 3) + "...";
}

const char* colour_of(const std::string& operation) {
  const auto is = [&](std::string_view part) { return operation.find(part) != std::string::npos; };
  if (is("conv")) return "#cfe3ff";
  if (is("linear") || is("matmul")) return "#e3d7fb";
  if (is("pool") || is("upsample")) return "#d3efd3";
  if (is("norm")) return "#fdeccb";
  return "#eeeeee";
}

// Box 0 is the input, box i + 1 layer i.
std::vector<Box> place(const NetworkReport& report) {
  std::vector<Box> boxes(1);
  std::vector<std::vector<std::size_t>> rows = {{0}};
  for (const LayerReport& layer : report.layers) {
    Box box;
    for (const int input : layer.inputs)
      box.row = std::max(box.row, boxes[static_cast<std::size_t>(input + 1)].row + 1);
    if (static_cast<std::size_t>(box.row) >= rows.size())
      rows.resize(static_cast<std::size_t>(box.row) + 1);
    rows[static_cast<std::size_t>(box.row)].push_back(boxes.size());
    boxes.push_back(box);
  }
  for (const std::vector<std::size_t>& row : rows) {
    std::multimap<int, std::size_t> order;  // by the first column read from
    for (const std::size_t box : row) {
      int column = box == 0 || report.layers[box - 1].inputs.empty() ? 0 : INT_MAX;
      if (box > 0) {
        for (const int input : report.layers[box - 1].inputs)
          column = std::min(column, boxes[static_cast<std::size_t>(input + 1)].column);
      }
      order.emplace(column, box);
    }
    int next = 0;
    for (const auto& [wanted, box] : order) {
      boxes[box].column = std::max(wanted, next);
      next = boxes[box].column + 1;
    }
  }
  return boxes;
}

// The shortest arrows run innermost.
std::vector<Arrow> arrows_between(const NetworkReport& report, const std::vector<Box>& boxes) {
  std::vector<Arrow> arrows;
  for (std::size_t i = 0; i < report.layers.size(); ++i) {
    for (const int input : report.layers[i].inputs)
      arrows.push_back({.from = static_cast<std::size_t>(input + 1), .to = i + 1});
  }
  const auto length = [&](const Arrow& arrow) {
    return boxes[arrow.to].row - boxes[arrow.from].row;
  };
  std::ranges::stable_sort(arrows, {}, length);
  using Rows = std::pair<int, int>;
  std::map<int, std::vector<std::vector<Rows>>> lanes;  // by column: the rows taken in each
  for (Arrow& arrow : arrows) {
    if (length(arrow) == 1) continue;
    const Rows rows = {boxes[arrow.from].row, boxes[arrow.to].row};
    arrow.column = std::max(boxes[arrow.from].column, boxes[arrow.to].column);
    std::vector<std::vector<Rows>>& here = lanes[arrow.column];
    const auto free = std::ranges::find_if(here, [&](const std::vector<Rows>& lane) {
      return std::ranges::none_of(lane, [&](const Rows& taken) {
        return taken.first < rows.second && rows.first < taken.second;
      });
    });
    arrow.lane = static_cast<int>(free - here.begin());
    if (free == here.end()) here.emplace_back();
    here[static_cast<std::size_t>(arrow.lane)].push_back(rows);
  }
  return arrows;
}

// Where columns stand, and how wide their boxes are.
class Drawing {
 public:
  Drawing(const std::vector<Box>& boxes, const std::vector<Arrow>& arrows, double box_width)
      : box_width_(box_width) {
    int last_row = 0;
    int last_column = 0;
    for (const Box& box : boxes) {
      last_row = std::max(last_row, box.row);
      last_column = std::max(last_column, box.column);
    }
    height_ = 2 * kMargin + kRow * last_row + kBoxHeight;
    std::vector<int> lanes(static_cast<std::size_t>(last_column) + 1);
    for (const Arrow& arrow : arrows) {
      int& most = lanes[static_cast<std::size_t>(arrow.column)];
      most = std::max(most, arrow.lane + 1);
    }
    double next = kMargin;
    for (const int count : lanes) {
      columns_.push_back(next);
      next += box_width + 2 * kBeside + kLane * std::max(count - 1, 0);
    }
    width_ = next - (lanes.back() > 0 ? 0 : 2 * kBeside) + kMargin;
  }

  double width() const { return width_; }
  double height() const { return height_; }

  std::string box(const Box& box, const char* colour, const std::string& first,
                  const std::string& second, const std::string& all) const {
    return fmt::format(
        "<g><title>{}</title><rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" rx=\"5\" "
        "fill=\"{}\" stroke=\"#777\"/>"
        "<text x=\"{}\" y=\"{}\">{}</text><text x=\"{}\" y=\"{}\" "
        "class=\"small\">{}</text></g>\n",
        escaped(all), left(box.column), top(box), box_width_, kBoxHeight, colour, middle(box),
        top(box) + 16, escaped(shortened(first)), middle(box), top(box) + 32,
        escaped(shortened(second)));
  }

  std::string arrow(const Arrow& arrow, const Box& from, const Box& to) const {
    const double x0 = middle(from);
    const double y0 = top(from) + kBoxHeight;
    const double x1 = middle(to);
    const double y1 = top(to);
    if (arrow.lane < 0) {
      const double half = (y1 - y0) / 2;
      return path(
          fmt::format("M{} {} C{} {} {} {} {} {}", x0, y0, x0, y0 + half, x1, y1 - half, x1, y1));
    }
    constexpr double kTurn = 32;  // it leaves between two rows, without touching the next box
    const double side = left(arrow.column) + box_width_ + kBeside + kLane * arrow.lane;
    return path(fmt::format("M{} {} C{} {} {} {} {} {} L{} {} C{} {} {} {} {} {}", x0, y0, x0,
                            y0 + 20, side, y0, side, y0 + kTurn, side, y1 - kTurn, side, y1, x1,
                            y1 - 20, x1, y1));
  }

 private:
  static std::string path(const std::string& line) {
    return fmt::format("<path d=\"{}\" fill=\"none\" stroke=\"#777\" marker-end=\"url(#tip)\"/>\n",
                       line);
  }
  static double top(const Box& box) { return kMargin + kRow * box.row; }
  double left(int column) const { return columns_[static_cast<std::size_t>(column)]; }
  double middle(const Box& box) const { return left(box.column) + box_width_ / 2; }

  double box_width_;
  std::vector<double> columns_;
  double width_ = 0;
  double height_ = 0;
};

std::string sizes(const Shape& shape) {
  return fmt::format("{}", fmt::join(shape, "x"));
}

// The two lines in a layer's box.
std::string first_line(const LayerReport& layer) {
  return layer.layer.empty() ? layer.operation : layer.layer;
}
std::string second_line(const LayerReport& layer) {
  return fmt::format("{}  {}", layer.path, sizes(layer.output));
}

// Wide enough for the longest line, in most fonts.
double box_width(const NetworkReport& report) {
  double width = 150;
  const auto fit = [&](const std::string& line, double per_character) {
    const auto characters = static_cast<double>(std::min(line.size(), kLongest));
    width = std::max(width, 16 + per_character * characters);
  };
  for (const LayerReport& layer : report.layers) {
    fit(first_line(layer), 7.2);
    fit(second_line(layer), 6.2);
  }
  return std::ceil(width);
}

}  // namespace

std::string graph_svg(const NetworkReport& report) {
  const std::vector<Box> boxes = place(report);
  const std::vector<Arrow> arrows = arrows_between(report, boxes);
  const Drawing drawing(boxes, arrows, box_width(report));
  std::string svg = svg_start(drawing.width(), drawing.height());
  svg +=
      "<defs><marker id=\"tip\" markerWidth=\"8\" markerHeight=\"8\" refX=\"7\" refY=\"3\" "
      "orient=\"auto\"><path d=\"M0 0 L7 3 L0 6 z\" fill=\"#777\"/></marker></defs>\n";
  for (const Arrow& arrow : arrows) svg += drawing.arrow(arrow, boxes[arrow.from], boxes[arrow.to]);
  svg += drawing.box(boxes[0], "#ffffff", "input", sizes(report.input),
                     "input " + sizes(report.input));
  for (std::size_t i = 0; i < report.layers.size(); ++i) {
    const LayerReport& layer = report.layers[i];
    svg +=
        drawing.box(boxes[i + 1], colour_of(layer.operation), first_line(layer), second_line(layer),
                    fmt::format("{}: {}, {} parameters, {} multiply-adds", layer.path,
                                first_line(layer), layer.parameters, layer.multiply_adds));
  }
  return svg + "</svg>\n";
}

}  // namespace fovea::explain
