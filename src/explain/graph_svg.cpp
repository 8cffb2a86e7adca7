// graph_svg(): the graph of a network, drawn.
//
// A box stands one row below the lowest box that it reads from, and below the first of them where
// no other box does, so that branches go straight down. An arrow that passes rows swings out to the
// right of the boxes between.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <climits>
#include <map>

#include "core/check.h"
#include "explain/svg.h"
#include "fovea/explain.h"

namespace fovea::explain {
namespace {

constexpr double kBoxWidth = 270;
constexpr double kBoxHeight = 40;
constexpr double kColumn = kBoxWidth + 30;
constexpr double kRow = kBoxHeight + 26;
constexpr double kMargin = 20;

struct Box {
  int row = 0;
  int column = 0;
  double x() const { return kMargin + kColumn * column; }
  double y() const { return kMargin + kRow * row; }
};

// No more than a box is wide.
std::string shortened(const std::string& text) {
  constexpr std::size_t kMost = 36;
  return text.size() <= kMost ? text : text.substr(0, kMost - 3) + "...";
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

std::string arrow(const Box& from, const Box& to) {
  const double x0 = from.x() + kBoxWidth / 2;
  const double y0 = from.y() + kBoxHeight;
  const double x1 = to.x() + kBoxWidth / 2;
  const double y1 = to.y();
  if (to.row == from.row + 1) {
    const double half = (y1 - y0) / 2;
    return fmt::format("M{} {} C{} {} {} {} {} {}", x0, y0, x0, y0 + half, x1, y1 - half, x1, y1);
  }
  const double side = std::max(x0, x1) + kBoxWidth / 2 + 18;
  return fmt::format("M{} {} C{} {} {} {} {} {} L{} {} C{} {} {} {} {} {}", x0, y0, x0, y0 + 20,
                     side, y0, side, y0 + kRow - kBoxHeight / 2, side, y1 - kRow + kBoxHeight / 2,
                     side, y1, x1, y1 - 20, x1, y1);
}

void draw_box(std::string& svg, const Box& box, const char* colour, const std::string& first,
              const std::string& second, const std::string& all) {
  svg += fmt::format(
      "<g><title>{}</title><rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" rx=\"5\" "
      "fill=\"{}\" stroke=\"#777\"/>"
      "<text x=\"{}\" y=\"{}\">{}</text><text x=\"{}\" y=\"{}\" class=\"small\">{}</text></g>\n",
      escaped(all), box.x(), box.y(), kBoxWidth, kBoxHeight, colour, box.x() + kBoxWidth / 2,
      box.y() + 16, escaped(shortened(first)), box.x() + kBoxWidth / 2, box.y() + 32,
      escaped(shortened(second)));
}

std::string sizes(const Shape& shape) {
  return fmt::format("{}", fmt::join(shape, "x"));
}

}  // namespace

std::string graph_svg(const NetworkReport& report) {
  const std::vector<Box> boxes = place(report);
  double width = 0;
  double height = 0;
  for (const Box& box : boxes) {
    width = std::max(width, box.x() + kColumn + kMargin);
    height = std::max(height, box.y() + kBoxHeight + kMargin);
  }
  std::string svg = svg_start(width, height);
  svg +=
      "<defs><marker id=\"tip\" markerWidth=\"8\" markerHeight=\"8\" refX=\"7\" refY=\"3\" "
      "orient=\"auto\"><path d=\"M0 0 L7 3 L0 6 z\" fill=\"#777\"/></marker></defs>\n";
  for (std::size_t i = 0; i < report.layers.size(); ++i) {
    for (const int input : report.layers[i].inputs) {
      svg +=
          fmt::format("<path d=\"{}\" fill=\"none\" stroke=\"#777\" marker-end=\"url(#tip)\"/>\n",
                      arrow(boxes[static_cast<std::size_t>(input + 1)], boxes[i + 1]));
    }
  }
  draw_box(svg, boxes[0], "#ffffff", "input", sizes(report.input), "input " + sizes(report.input));
  for (std::size_t i = 0; i < report.layers.size(); ++i) {
    const LayerReport& layer = report.layers[i];
    const std::string what = layer.layer.empty() ? layer.operation : layer.layer;
    draw_box(svg, boxes[i + 1], colour_of(layer.operation), what,
             fmt::format("{}  {}", layer.path, sizes(layer.output)),
             fmt::format("{}: {}, {} parameters, {} multiply-adds", layer.path, what,
                         layer.parameters, layer.multiply_adds));
  }
  return svg + "</svg>\n";
}

}  // namespace fovea::explain
