// Printing the matrices of a convolution: entries by name (w0, w1, ...) or, where weights are
// given, as numbers; zeros are dots.
#include "conv_matrix.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "commands.h"
#include "support.h"

namespace cli {
namespace {

using fovea::ConvProblem;
using fovea::Shape;
using fovea::Tensor;
using fovea::explain::MatrixPattern;

constexpr std::int64_t kMaxPrinted = 64;  // rows and columns

// A matrix whose entries are sums of named values with factors.
class Names {
 public:
  Names(const MatrixPattern& pattern, char letter)
      : rows_(pattern.rows),
        columns_(pattern.columns),
        letter_(letter),
        entries_(static_cast<std::size_t>(rows_ * columns_)) {
    for (const MatrixPattern::Term& term : pattern.terms) {
      add(term.row * columns_ + term.column, term.value, 1);
    }
  }

  // The mean over all shifts. It is linear in the weights, so one weight after the other is set to
  // one and averaged.
  void average(const MatrixPattern& pattern, const Shape& signal) {
    entries_.assign(entries_.size(), {});
    const std::int64_t count = pattern.source.numel();
    for (std::int64_t weight = 0; weight < count; ++weight) {
      std::vector<double> values(static_cast<std::size_t>(count), 0.0);
      values[static_cast<std::size_t>(weight)] = 1;
      const std::vector<double> mean =
          fovea::explain::average_over_shifts(pattern.numbers(Tensor::from(values, pattern.source)),
                                              signal)
              .to_vector<double>();
      for (std::size_t place = 0; place < mean.size(); ++place) {
        if (mean[place] != 0) add(static_cast<std::int64_t>(place), weight, mean[place]);
      }
    }
  }

  std::vector<std::vector<std::string>> text() const {
    std::vector<std::vector<std::string>> table;
    for (std::int64_t row = 0; row < rows_; ++row) {
      std::vector<std::string> line;
      for (std::int64_t column = 0; column < columns_; ++column) {
        std::string entry;
        for (const auto& [value, factor] :
             entries_[static_cast<std::size_t>(row * columns_ + column)]) {
          entry += fmt::format("{}{}{}{}", entry.empty() ? "" : "+",
                               factor == 1 ? "" : fmt::format("{:.4g}", factor), letter_, value);
        }
        line.push_back(entry.empty() ? "." : entry);
      }
      table.push_back(std::move(line));
    }
    return table;
  }

 private:
  struct Part {
    std::int64_t value;
    double factor;
  };

  void add(std::int64_t place, std::int64_t value, double factor) {
    std::vector<Part>& parts = entries_[static_cast<std::size_t>(place)];
    const auto known = std::find_if(parts.begin(), parts.end(),
                                    [&](const Part& part) { return part.value == value; });
    if (known == parts.end()) {
      parts.push_back({value, factor});
    } else {
      known->factor += factor;
    }
  }

  std::int64_t rows_;
  std::int64_t columns_;
  char letter_;
  std::vector<std::vector<Part>> entries_;
};

std::vector<std::vector<std::string>> numbers_text(const Tensor& matrix) {
  std::vector<std::vector<std::string>> table;
  for (std::int64_t row = 0; row < matrix.size(0); ++row) {
    std::vector<std::string> line;
    for (std::int64_t column = 0; column < matrix.size(1); ++column) {
      const double value = matrix.at({row, column});
      line.push_back(value == 0 ? "." : fmt::format("{:.6g}", value));
    }
    table.push_back(std::move(line));
  }
  return table;
}

void print(const std::string& title, const std::string& key,
           const std::vector<std::vector<std::string>>& table, bool json) {
  if (json) {
    Json rows = Json::array();
    for (const auto& line : table) {
      Json row = Json::array();
      for (const std::string& entry : line) row.push_back(entry == "." ? "0" : entry);
      rows.push_back(std::move(row));
    }
    print_json({{key, title},
                {"rows", table.size()},
                {"columns", table.front().size()},
                {"entries", std::move(rows)}});
    return;
  }
  fmt::print("{}\n", title);
  std::vector<std::size_t> widths(table.front().size(), 1);
  for (const auto& line : table) {
    for (std::size_t i = 0; i < line.size(); ++i) widths[i] = std::max(widths[i], line[i].size());
  }
  for (const auto& line : table) {
    std::string text = " ";
    for (std::size_t i = 0; i < line.size(); ++i)
      text += fmt::format(" {:>{}}", line[i], widths[i]);
    fmt::print("{}\n", text);
  }
}

void require_printable(const std::string& option, std::int64_t rows, std::int64_t columns) {
  if (rows > kMaxPrinted || columns > kMaxPrinted) {
    throw Misuse(
        fmt::format("{}: this one is {} x {}, and at most {} x {} are printed; take a "
                    "smaller input or fewer channels",
                    option, rows, columns, kMaxPrinted, kMaxPrinted));
  }
}

std::int64_t values_of(const Shape& shape) {
  return shape.numel() / shape[0];
}

// The one-channel signal on which a convolution with as many outputs as inputs acts.
Shape signal_of(const ConvProblem& problem) {
  const Shape x = problem.input_shape();
  const Shape y = problem.output_shape();
  if (x[1] != 1 || y[1] != 1 || x != y) {
    throw Misuse(
        fmt::format("--average-over-shifts: it needs one channel and as many outputs as inputs; "
                    "this is {} -> {}. Use a padding that keeps the size.",
                    join_sizes(x), join_sizes(y)));
  }
  Shape signal;
  for (int axis = 2; axis < x.rank(); ++axis) signal.push_back(x[axis]);
  return signal;
}

void show_matrix(const ConvProblem& problem, const MatrixOptions& options, bool json) {
  const MatrixPattern pattern = fovea::explain::matrix(problem);
  const std::string what =
      fmt::format("{} x {} matrix W of one sample, y = W x", pattern.rows, pattern.columns);
  const Shape signal = options.average ? signal_of(problem) : Shape();
  const std::string averaged =
      "its mean over all shifts, which is circulant: S^-1 W S = W for every shift S";
  if (!options.weights.empty()) {
    const Tensor numbers = pattern.numbers(Tensor::from(options.weights, pattern.source));
    print(what, "matrix", numbers_text(numbers), json);
    if (options.average) {
      print(averaged, "average_over_shifts",
            numbers_text(fovea::explain::average_over_shifts(numbers, signal)), json);
    }
    return;
  }
  Names names(pattern, 'w');
  const std::string order = fmt::format("; w0 to w{} in the order of {}",
                                        pattern.source.numel() - 1, join_sizes(pattern.source));
  print(what + order, "matrix", names.text(), json);
  if (options.average) {
    names.average(pattern, signal);
    print(averaged, "average_over_shifts", names.text(), json);
  }
}

void show_patches(const ConvProblem& problem, bool json) {
  const MatrixPattern pattern = fovea::explain::patches(problem);
  print(fmt::format("{} x {} matrix X of the patches of one sample, y = X w; x0 to x{} in the "
                    "order of {}",
                    pattern.rows, pattern.columns, pattern.source.numel() - 1,
                    join_sizes(pattern.source)),
        "patches", Names(pattern, 'x').text(), json);
}

}  // namespace

void check_matrices(const ConvProblem& problem, const MatrixOptions& options) {
  if (problem.padding_mode == fovea::PaddingMode::constant && problem.padding_value != 0) {
    throw Misuse(fmt::format(
        "--matrix, --patches: padding cells of {} add a constant, which no matrix shows; "
        "take a padding value of 0",
        problem.padding_value));
  }
  if (options.patches) {
    require_printable("--patches", problem.output_positions() / problem.batch,
                      values_of(problem.weight_shape()) * problem.groups);
  }
  if (!options.matrix) return;
  require_printable("--matrix", values_of(problem.output_shape()),
                    values_of(problem.input_shape()));
  if (options.average) signal_of(problem);
  const Shape weights = problem.weight_shape();
  if (!options.weights.empty() &&
      static_cast<std::int64_t>(options.weights.size()) != weights.numel()) {
    throw Misuse(fmt::format("--weights: {} numbers are given, but the weights {} are {}",
                             options.weights.size(), join_sizes(weights), weights.numel()));
  }
}

void show_matrices(const ConvProblem& problem, const MatrixOptions& options, bool json) {
  if (options.matrix) show_matrix(problem, options, json);
  if (options.patches) show_patches(problem, json);
}

}  // namespace cli
