// Convolutions as matrices: Toeplitz, circulant, doubly blocked; and the way back, from any matrix
// to the circulant one nearest to it.
//
// The matrix of a problem is read from its patch table, like everything else; those of signal
// processing have entries that depend on the difference of two places alone.
#include <algorithm>
#include <vector>

#include "conv/entries.h"
#include "core/check.h"
#include "fovea/explain.h"

namespace fovea::explain {
namespace {

constexpr std::int64_t kMaxTerms = std::int64_t{1} << 22;
constexpr std::int64_t kMaxEntries = std::int64_t{1} << 24;

std::int64_t product(std::int64_t a, std::int64_t b) {
  return Shape{a, b}.numel();  // throws where it would overflow
}

void require_size(std::string_view what, std::int64_t rows, std::int64_t columns) {
  FOVEA_CHECK(product(rows, columns) <= kMaxEntries,
              "{}: the matrix would be {} x {}, more than {} entries; take a smaller problem", what,
              rows, columns, kMaxEntries);
}

// Sizes of one sample of a checked problem.
struct Sizes {
  Sizes(std::string_view what, const ConvProblem& problem) {
    problem.validate(what);
    positions = problem.output_positions() / problem.batch;
    cells = problem.input_shape().numel() / problem.batch / problem.in_channels;
    const std::int64_t pairs = product(problem.out_channels, problem.in_channels / problem.groups);
    FOVEA_CHECK(product(product(positions, problem.taps()), pairs) <= kMaxTerms,
                "{}: {} has {} products per sample, more than {}; take a smaller problem", what,
                problem.to_string(), product(product(positions, problem.taps()), pairs), kMaxTerms);
  }
  std::int64_t positions;
  std::int64_t cells;
};

// A row-major grid, and steps between its places.
class Grid {
 public:
  explicit Grid(const Shape& shape) : shape_(shape) {}

  Shape place(std::int64_t index) const {
    Shape result = shape_;
    for (int axis = shape_.rank() - 1; axis >= 0; --axis) {
      result[axis] = index % shape_[axis];
      index /= shape_[axis];
    }
    return result;
  }
  // The flat index of a place, or -1 where it lies outside.
  std::int64_t index(const Shape& place) const {
    std::int64_t result = 0;
    for (int axis = 0; axis < shape_.rank(); ++axis) {
      if (place[axis] < 0 || place[axis] >= shape_[axis]) return -1;
      result = result * shape_[axis] + place[axis];
    }
    return result;
  }
  Shape wrapped(Shape place) const {
    for (int axis = 0; axis < shape_.rank(); ++axis) {
      place[axis] = (place[axis] % shape_[axis] + shape_[axis]) % shape_[axis];
    }
    return place;
  }

 private:
  Shape shape_;
};

Shape difference(Shape a, const Shape& b) {
  for (int axis = 0; axis < a.rank(); ++axis) a[axis] -= b[axis];
  return a;
}

void require_signal(std::string_view op, const Shape& shape) {
  FOVEA_CHECK(shape.rank() >= 1 && shape.rank() <= 3 && shape.numel() > 0,
              "{}: a signal has one to three axes and no empty one; this one is {}", op, shape);
}

void require_weights(std::string_view op, const Tensor& w) {
  FOVEA_CHECK(w.defined() && is_floating(w.dtype()), "{}: the weights are {}, but must be floating",
              op, w.defined() ? w.describe() : "undefined");
  require_signal(op, w.shape());
}

// The square matrix over `grid` whose entry (i, j) is values[(i - j) mod n].
Tensor circulant_of(const std::vector<double>& values, const Shape& shape, DType dtype) {
  const auto n = static_cast<std::int64_t>(values.size());
  require_size("circulant", n, n);
  const Grid grid(shape);
  std::vector<double> entries;
  entries.reserve(static_cast<std::size_t>(n * n));
  for (std::int64_t i = 0; i < n; ++i) {
    const Shape row = grid.place(i);
    for (std::int64_t j = 0; j < n; ++j) {
      const Shape step = grid.wrapped(difference(row, grid.place(j)));
      entries.push_back(values[static_cast<std::size_t>(grid.index(step))]);
    }
  }
  return Tensor::from(entries, {n, n}).to(dtype);
}

}  // namespace

Tensor MatrixPattern::numbers(const Tensor& values) const {
  FOVEA_CHECK(values.defined() && values.shape() == source && is_floating(values.dtype()),
              "matrix: it is made from a floating tensor {}, not from {}", source,
              values.defined() ? values.describe() : "an undefined one");
  const std::vector<double> from = values.to_vector<double>();
  std::vector<double> entries(static_cast<std::size_t>(rows * columns), 0.0);
  for (const Term& term : terms) {
    entries[static_cast<std::size_t>(term.row * columns + term.column)] +=
        from[static_cast<std::size_t>(term.value)];
  }
  return Tensor::from(entries, {rows, columns}).to(values.dtype());
}

MatrixPattern matrix(const ConvProblem& problem) {
  const Sizes sizes("matrix", problem);
  FOVEA_CHECK(problem.padding_mode != PaddingMode::mean,
              "matrix: with padding of means every entry is a weight plus shares of others; take "
              "another padding mode than that of {}",
              problem.to_string());
  MatrixPattern pattern{.rows = product(problem.out_channels, sizes.positions),
                        .columns = product(problem.in_channels, sizes.cells),
                        .source = problem.weight_shape(),
                        .terms = {}};
  require_size("matrix", pattern.rows, pattern.columns);
  conv::for_each_kernel(problem, [&](std::int64_t o, std::int64_t c, std::int64_t kernel) {
    conv::for_each_patch_entry(problem, [&](const conv::PatchEntry& entry) {
      pattern.terms.push_back({.row = o * sizes.positions + entry.position,
                               .column = c * sizes.cells + entry.cell,
                               .value = kernel * problem.taps() + entry.tap});
    });
  });
  std::stable_sort(pattern.terms.begin(), pattern.terms.end(),
                   [](const auto& a, const auto& b) { return a.row < b.row; });
  return pattern;
}

MatrixPattern patches(const ConvProblem& problem) {
  const Sizes sizes("patches", problem);
  FOVEA_CHECK(conv::copies_cells(problem.padding_mode),
              "patches: the padding of {} is no part of the input; take another padding mode",
              problem.to_string());
  MatrixPattern pattern{.rows = sizes.positions,
                        .columns = product(problem.in_channels, problem.taps()),
                        .source = problem.input_shape(),
                        .terms = {}};
  pattern.source[0] = 1;
  require_size("patches", pattern.rows, pattern.columns);
  conv::for_each_patch_entry(problem, [&](const conv::PatchEntry& entry) {
    for (std::int64_t c = 0; c < problem.in_channels; ++c) {
      pattern.terms.push_back({.row = entry.position,
                               .column = c * problem.taps() + entry.tap,
                               .value = c * sizes.cells + entry.cell});
    }
  });
  return pattern;
}

Tensor toeplitz(const Tensor& w, const Shape& signal) {
  require_weights("toeplitz", w);
  require_signal("toeplitz", signal);
  FOVEA_CHECK(signal.rank() == w.rank(), "toeplitz: the weights are {}, but the signal is {}",
              w.describe(), signal);
  Shape result = signal;
  for (int axis = 0; axis < result.rank(); ++axis) result[axis] += w.size(axis) - 1;
  const std::int64_t rows = result.numel();
  const std::int64_t columns = signal.numel();
  require_size("toeplitz", rows, columns);
  const Grid outputs(result);
  const Grid inputs(signal);
  const Grid taps(w.shape());
  const std::vector<double> values = w.to_vector<double>();
  std::vector<double> entries;
  entries.reserve(static_cast<std::size_t>(rows * columns));
  for (std::int64_t i = 0; i < rows; ++i) {
    const Shape row = outputs.place(i);
    for (std::int64_t j = 0; j < columns; ++j) {
      const std::int64_t tap = taps.index(difference(row, inputs.place(j)));
      entries.push_back(tap < 0 ? 0 : values[static_cast<std::size_t>(tap)]);
    }
  }
  return Tensor::from(entries, {rows, columns}).to(w.dtype());
}

Tensor circulant(const Tensor& w) {
  require_weights("circulant", w);
  return circulant_of(w.to_vector<double>(), w.shape(), w.dtype());
}

Tensor shift_matrix(const Shape& signal, const Shape& shift, DType dtype) {
  require_signal("shift_matrix", signal);
  FOVEA_CHECK(shift.rank() == signal.rank(),
              "shift_matrix: the shift {} must have {} numbers, as "
              "the signal {}",
              shift, signal.rank(), signal);
  FOVEA_CHECK(is_floating(dtype), "shift_matrix: the type is {}, but must be floating",
              name(dtype));
  require_size("shift_matrix", signal.numel(), signal.numel());
  std::vector<double> impulse(static_cast<std::size_t>(signal.numel()), 0.0);
  const Grid grid(signal);
  impulse[static_cast<std::size_t>(grid.index(grid.wrapped(shift)))] = 1;
  return circulant_of(impulse, signal, dtype);
}

Tensor average_over_shifts(const Tensor& matrix, const Shape& signal) {
  require_signal("average_over_shifts", signal);
  const std::int64_t n = signal.numel();
  FOVEA_CHECK(matrix.defined() && is_floating(matrix.dtype()) && matrix.shape() == Shape({n, n}),
              "average_over_shifts: the matrix is {}, but a signal {} needs a floating [{}, {}]",
              matrix.defined() ? matrix.describe() : "undefined", signal, n, n);
  // Shifting moves entries along the diagonals on which i - j is the same: each gets its mean.
  const std::vector<double> entries = matrix.to_vector<double>();
  const Grid grid(signal);
  std::vector<double> means(static_cast<std::size_t>(n), 0.0);
  for (std::int64_t i = 0; i < n; ++i) {
    const Shape row = grid.place(i);
    for (std::int64_t j = 0; j < n; ++j) {
      const Shape step = grid.wrapped(difference(row, grid.place(j)));
      means[static_cast<std::size_t>(grid.index(step))] +=
          entries[static_cast<std::size_t>(i * n + j)];
    }
  }
  for (double& mean : means) mean /= static_cast<double>(n);
  return circulant_of(means, signal, matrix.dtype());
}

}  // namespace fovea::explain
