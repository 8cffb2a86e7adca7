// Pictures of a training as SVG: curves over the epochs, and who was taken for whom. See
// pictures.h.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>
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
  std::string name;
  const char* colour;
};

// A chart whose inner part starts at (left, top).
struct Chart {
  const char* title;
  double left;
  std::vector<Curve> curves;
  double factor = 1;                   // from the log's values to those of the axis
  const char* unit = "";               // of the axis
  double low = 0, high = 1, step = 1;  // of the axis; its ends are ticks

  static constexpr double kTop = 40;
  static constexpr double kWidth = 320;
  static constexpr double kHeight = 220;

  double y(double value) const {
    return kTop + kHeight * (1 - (std::clamp(value, low, high) - low) / (high - low));
  }
};

// On the axis; nothing where the epoch has none.
std::optional<double> value_of(const Chart& chart, const Curve& curve, const Json& epoch) {
  if (!epoch.contains(curve.key) || !epoch[curve.key].is_number()) return std::nullopt;
  return epoch[curve.key].get<double>() * chart.factor;
}

void draw(const Chart& chart, const std::vector<Json>& epochs, std::string& svg) {
  svg += fmt::format(
      "<text x=\"{:g}\" y=\"20\" font-weight=\"bold\">{}</text>\n<rect x=\"{:g}\" y=\"{:g}\" "
      "width=\"{:g}\" height=\"{:g}\" fill=\"none\" stroke=\"#888\"/>\n",
      chart.left, chart.title, chart.left, Chart::kTop, Chart::kWidth, Chart::kHeight);
  const auto ticks = std::lround((chart.high - chart.low) / chart.step);
  for (long i = 0; i <= ticks; ++i) {
    const double value = chart.low + chart.step * static_cast<double>(i);
    const double y = chart.y(value);
    svg += fmt::format(
        "<line x1=\"{:g}\" y1=\"{:g}\" x2=\"{:g}\" y2=\"{:g}\" stroke=\"#ddd\"/>\n<text "
        "x=\"{:g}\" y=\"{:g}\" text-anchor=\"end\">{:.4g}{}</text>\n",
        chart.left, y, chart.left + Chart::kWidth, y, chart.left - 4, y + 4,
        std::abs(value) < chart.step / 2 ? 0 : value, chart.unit);
  }
  const double steps = std::max<double>(1, static_cast<double>(epochs.size()) - 1);
  double legend = chart.left + 8;
  for (const Curve& curve : chart.curves) {
    std::string points;
    for (std::size_t i = 0; i < epochs.size(); ++i) {
      const std::optional<double> value = value_of(chart, curve, epochs[i]);
      if (!value) continue;
      points +=
          fmt::format("{:.1f},{:.1f} ", chart.left + Chart::kWidth * static_cast<double>(i) / steps,
                      chart.y(*value));
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
        curve.name);
    legend += 8 * static_cast<double>(curve.name.size()) + 12;
  }
  svg += fmt::format(
      "<text x=\"{:g}\" y=\"{:g}\">epoch 1</text>\n<text x=\"{:g}\" y=\"{:g}\" "
      "text-anchor=\"end\">{}</text>\n",
      chart.left, Chart::kTop + Chart::kHeight + 16, chart.left + Chart::kWidth,
      Chart::kTop + Chart::kHeight + 16, epochs.size());
}

// 1, 2 or 5 times a power of ten: the least that makes at most five steps of the range.
double round_step(double range) {
  const double power = std::pow(10, std::floor(std::log10(range / 5)));
  for (const double digit : {1, 2, 5}) {
    if (range <= 5 * digit * power * (1 + 1e-9)) return digit * power;
  }
  return 10 * power;
}

// The axis: the values of all curves, from one tick to another.
void fit(Chart& chart, const std::vector<Json>& epochs) {
  double low = INFINITY;
  double high = -INFINITY;
  for (const Json& epoch : epochs) {
    for (const Curve& curve : chart.curves) {
      const double value = value_of(chart, curve, epoch).value_or(NAN);
      low = std::fmin(low, value);
      high = std::fmax(high, value);
    }
  }
  if (!(low <= high)) return;
  chart.step = round_step(std::max({high - low, std::abs(high) * 0.01, 1e-6}));
  chart.low = std::floor(low / chart.step) * chart.step;
  chart.high = std::ceil(high / chart.step) * chart.step;
  if (chart.high - chart.low < chart.step / 2) chart.high = chart.low + chart.step;
}

}  // namespace

std::string curves_svg(const std::string& log) {
  std::vector<Json> epochs;
  std::istringstream lines(log);
  for (std::string line; std::getline(lines, line);) epochs.push_back(Json::parse(line));
  constexpr const char* kTrain = "#1f77b4";
  constexpr const char* kScored = "#d62728";
  constexpr const char* kIou = "#2ca02c";
  constexpr const char* kAuc = "#9467bd";
  Chart loss{.title = "loss",
             .left = 60,
             .curves = {{"loss", "train", kTrain},
                        {"test_loss", "test", kScored},
                        {"validation_loss", "validation", kScored}}};
  Chart accuracy{.title = "accuracy",
                 .left = 460,
                 .curves = {{"train_accuracy", "train", kTrain},
                            {"test_accuracy", "test", kScored},
                            {"validation_accuracy", "validation", kScored},
                            {"test_mean_iou", "mean IoU, test", kIou},
                            {"validation_mean_iou", "mean IoU, validation", kIou},
                            {"test_auc", "AUC, test", kAuc},
                            {"validation_auc", "AUC, validation", kAuc}},
                 .factor = 100,
                 .unit = " %"};
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
        svg += fmt::format(
            "<text x=\"{:g}\" y=\"{:g}\" text-anchor=\"middle\" fill=\"{}\">{}</text>\n",
            place(column) + cell / 2, text, part > 0.5 ? "white" : "black", hits);
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
