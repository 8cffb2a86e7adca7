// Pictures of a training as SVG: curves over the epochs, and who was taken for whom. See
// pictures.h.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <sstream>

#include "pictures.h"

namespace cli {
namespace {

constexpr const char* kHead =
    "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0}\" height=\"{1}\" viewBox=\"0 0 {0} "
    "{1}\" "
    "font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"{0}\" height=\"{1}\" "
    "fill=\"white\"/>\n";

std::string escaped(const std::string& text) {
  std::string result;
  for (const char c : text) {
    if (c == '&')
      result += "&amp;";
    else if (c == '<')
      result += "&lt;";
    else if (static_cast<unsigned char>(c) < 0x20)
      result += ' ';
    else
      result += c;
  }
  return result;
}

struct Curve {
  std::string key;  // of the log's objects
  const char* colour;
};

// A chart whose inner part starts at (left, top).
struct Chart {
  const char* title;
  double left;
  double low, high;  // of the values
  std::vector<Curve> curves;

  static constexpr double kTop = 40;
  static constexpr double kWidth = 320;
  static constexpr double kHeight = 220;

  double y(double value) const {
    return kTop + kHeight * (1 - (std::clamp(value, low, high) - low) / (high - low));
  }
};

void draw(const Chart& chart, const std::vector<Json>& epochs, std::string& svg) {
  svg += fmt::format(
      "<text x=\"{:g}\" y=\"20\" font-weight=\"bold\">{}</text>\n<rect x=\"{:g}\" y=\"{:g}\" "
      "width=\"{:g}\" height=\"{:g}\" fill=\"none\" stroke=\"#888\"/>\n",
      chart.left, chart.title, chart.left, Chart::kTop, Chart::kWidth, Chart::kHeight);
  constexpr int kTicks = 4;
  for (int i = 0; i <= kTicks; ++i) {
    const double value = chart.low + (chart.high - chart.low) * i / kTicks;
    const double y = chart.y(value);
    svg += fmt::format(
        "<line x1=\"{:g}\" y1=\"{:g}\" x2=\"{:g}\" y2=\"{:g}\" stroke=\"#ddd\"/>\n<text "
        "x=\"{:g}\" y=\"{:g}\" text-anchor=\"end\">{:.3g}</text>\n",
        chart.left, y, chart.left + Chart::kWidth, y, chart.left - 4, y + 4, value);
  }
  const double steps = std::max<double>(1, static_cast<double>(epochs.size()) - 1);
  double legend = chart.left + 8;
  for (const Curve& curve : chart.curves) {
    std::string points;
    for (std::size_t i = 0; i < epochs.size(); ++i) {
      if (!epochs[i].contains(curve.key) || !epochs[i][curve.key].is_number()) continue;
      points +=
          fmt::format("{:.1f},{:.1f} ", chart.left + Chart::kWidth * static_cast<double>(i) / steps,
                      chart.y(epochs[i][curve.key].get<double>()));
    }
    if (points.empty()) continue;
    points.pop_back();
    // One epoch is a point, which a line without length does not show.
    const char* marker = epochs.size() == 1 ? " stroke-linecap=\"round\"" : "";
    if (epochs.size() == 1) points += " " + points;
    svg += fmt::format(
        "<polyline points=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"2\"{}/>\n<text "
        "x=\"{:g}\" y=\"{:g}\" fill=\"{}\">{}</text>\n",
        points, curve.colour, marker, legend, Chart::kTop + Chart::kHeight + 34, curve.colour,
        curve.key);
    legend += 8 * static_cast<double>(curve.key.size()) + 12;
  }
  svg += fmt::format(
      "<text x=\"{:g}\" y=\"{:g}\">epoch 1</text>\n<text x=\"{:g}\" y=\"{:g}\" "
      "text-anchor=\"end\">{}</text>\n",
      chart.left, Chart::kTop + Chart::kHeight + 16, chart.left + Chart::kWidth,
      Chart::kTop + Chart::kHeight + 16, epochs.size());
}

// The range of some keys, a little wider than their values.
void fit(Chart& chart, const std::vector<Json>& epochs) {
  chart.low = INFINITY;
  chart.high = -INFINITY;
  for (const Json& epoch : epochs) {
    for (const Curve& curve : chart.curves) {
      if (!epoch.contains(curve.key) || !epoch[curve.key].is_number()) continue;
      chart.low = std::min(chart.low, epoch[curve.key].get<double>());
      chart.high = std::max(chart.high, epoch[curve.key].get<double>());
    }
  }
  if (!(chart.low <= chart.high)) chart.low = chart.high = 0;
  if (chart.high - chart.low < 1e-9) chart.high = chart.low + 1e-9 + std::abs(chart.low) * 0.01;
}

}  // namespace

std::string curves_svg(const std::string& log) {
  std::vector<Json> epochs;
  std::istringstream lines(log);
  for (std::string line; std::getline(lines, line);) epochs.push_back(Json::parse(line));
  Chart loss{
      .title = "loss",
      .left = 60,
      .low = 0,
      .high = 1,
      .curves = {{"loss", "#1f77b4"}, {"test_loss", "#d62728"}, {"validation_loss", "#d62728"}}};
  Chart accuracy{.title = "accuracy",
                 .left = 460,
                 .low = 0,
                 .high = 1,
                 .curves = {{"train_accuracy", "#1f77b4"},
                            {"test_accuracy", "#d62728"},
                            {"validation_accuracy", "#d62728"}}};
  fit(loss, epochs);
  fit(accuracy, epochs);
  std::string svg = fmt::format(fmt::runtime(kHead), 800, 310);
  draw(loss, epochs, svg);
  draw(accuracy, epochs, svg);
  return svg + "</svg>\n";
}

std::string confusion_svg(const Confusion& confusion, const std::vector<std::string>& classes) {
  const std::size_t count = confusion.classes();
  const double cell = count <= 20 ? 40 : std::max(4.0, 800.0 / static_cast<double>(count));
  const bool numbers = count <= 20;
  std::size_t longest = 0;
  for (const std::string& name : classes) longest = std::max(longest, name.size());
  const double margin = 30 + 7 * static_cast<double>(std::min<std::size_t>(longest, 60));
  const double side = margin + cell * static_cast<double>(count) + 20;
  std::string svg = fmt::format(fmt::runtime(kHead), side, side);
  svg += "<text x=\"8\" y=\"18\">label \xe2\x86\x93 prediction \xe2\x86\x92</text>\n";
  const auto place = [&](std::size_t i) { return margin + cell * static_cast<double>(i); };
  for (std::size_t row = 0; row < count; ++row) {
    const double text = place(row) + cell / 2 + 4;
    if (cell >= 12) {
      const std::string name = escaped(classes[row]);
      svg += fmt::format(
          "<text x=\"{:g}\" y=\"{:g}\" text-anchor=\"end\">{}</text>\n<text "
          "transform=\"translate({:g} {:g}) rotate(-90)\">{}</text>\n",
          margin - 6, text, name, text, margin - 6, name);
    }
    const auto all = static_cast<double>(std::max<std::int64_t>(1, confusion.labelled(row)));
    for (std::size_t column = 0; column < count; ++column) {
      const std::int64_t hits = confusion.at(row, column);
      if (hits == 0) continue;
      const double part = static_cast<double>(hits) / all;
      svg += fmt::format(
          "<rect x=\"{:g}\" y=\"{:g}\" width=\"{:g}\" height=\"{:g}\" fill=\"{}\" "
          "fill-opacity=\"{:.3f}\"/>\n",
          place(column), place(row), cell, cell, row == column ? "#1f77b4" : "#d62728",
          std::sqrt(part));
      if (numbers) {
        svg += fmt::format("<text x=\"{:g}\" y=\"{:g}\" text-anchor=\"middle\">{}</text>\n",
                           place(column) + cell / 2, text, hits);
      }
    }
  }
  svg += fmt::format(
      "<rect x=\"{0:g}\" y=\"{0:g}\" width=\"{1:g}\" height=\"{1:g}\" fill=\"none\" "
      "stroke=\"#888\"/>\n",
      margin, cell * static_cast<double>(count));
  return svg + "</svg>\n";
}

}  // namespace cli
