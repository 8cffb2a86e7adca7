// `matrix`: a convolution as what it is, a matrix product y = W x with one row per output value and
// one column per input value of a sample (Toeplitz; doubly blocked in two dimensions) [A, B, C, D].
// Then dx = W^T g, and dw sums the cells of g x^T along the diagonals that share a weight.
//
// For teaching and for tests: the matrix is nearly all zeros.
#include <vector>

#include "conv/algorithms.h"
#include "conv/axes.h"
#include "conv/cost.h"
#include "conv/entries.h"
#include "conv/epilogue.h"
#include "core/dispatch.h"

namespace fovea::conv {
namespace {

constexpr std::int64_t kMaxEntries = std::int64_t{1} << 20;

std::int64_t values_per_sample(const Shape& shape) {
  return shape.numel() / shape[0];
}

struct MatrixSize {
  std::int64_t rows;
  std::int64_t columns;
};

MatrixSize size_of_matrix(const ConvProblem& problem) {
  return {values_per_sample(problem.output_shape()), values_per_sample(problem.input_shape())};
}

// Calls f(place in the matrix, weight) for each entry that is no zero; memory is channels-last.
template <class F>
void for_each_matrix_entry(const ConvProblem& problem, F&& f) {
  const std::int64_t columns = size_of_matrix(problem).columns;
  for_each_patch_entry(problem, [&](const PatchEntry& entry) {
    for_each_kernel(problem, [&](std::int64_t o, std::int64_t c, std::int64_t kernel) {
      const std::int64_t row = entry.position * problem.out_channels + o;
      const std::int64_t column = entry.cell * problem.in_channels + c;
      f(static_cast<std::size_t>(row * columns + column), kernel * problem.taps() + entry.tap);
    });
  });
}

template <class T>
std::vector<T> matrix_of(const ConvProblem& problem, const T* weights) {
  const MatrixSize size = size_of_matrix(problem);
  std::vector<T> matrix(static_cast<std::size_t>(size.rows * size.columns), T(0));
  for_each_matrix_entry(
      problem, [&](std::size_t place, std::int64_t weight) { matrix[place] += weights[weight]; });
  return matrix;
}

template <class T>
void forward(const ConvProblem& problem, const T* x, const T* w, const T* bias, T* y) {
  const MatrixSize size = size_of_matrix(problem);
  const std::vector<T> matrix = matrix_of(problem, w);
  for (std::int64_t n = 0; n < problem.batch; ++n, x += size.columns) {
    for (std::int64_t row = 0; row < size.rows; ++row) {
      const T* entries = matrix.data() + row * size.columns;
      T sum = bias == nullptr ? T(0) : bias[row % problem.out_channels];
      for (std::int64_t column = 0; column < size.columns; ++column) {
        sum += entries[column] * x[column];
      }
      *y++ = sum;
    }
  }
}

template <class T>
void backward_data(const ConvProblem& problem, const T* g, const T* w, T* dx) {
  const MatrixSize size = size_of_matrix(problem);
  const std::vector<T> matrix = matrix_of(problem, w);
  std::fill_n(dx, problem.batch * size.columns, T(0));
  for (std::int64_t n = 0; n < problem.batch; ++n, dx += size.columns) {
    for (std::int64_t row = 0; row < size.rows; ++row, ++g) {
      const T* entries = matrix.data() + row * size.columns;
      for (std::int64_t column = 0; column < size.columns; ++column) {
        dx[column] += entries[column] * *g;
      }
    }
  }
}

template <class T>
void backward_weights(const ConvProblem& problem, const T* x, const T* g, T* dw) {
  const MatrixSize size = size_of_matrix(problem);
  std::vector<T> matrix(static_cast<std::size_t>(size.rows * size.columns), T(0));
  for (std::int64_t n = 0; n < problem.batch; ++n, x += size.columns) {
    for (std::int64_t row = 0; row < size.rows; ++row, ++g) {
      T* entries = matrix.data() + row * size.columns;
      for (std::int64_t column = 0; column < size.columns; ++column) {
        entries[column] += x[column] * *g;
      }
    }
  }
  std::fill_n(dw, problem.weight_shape().numel(), T(0));
  for_each_matrix_entry(
      problem, [&](std::size_t place, std::int64_t weight) { dw[weight] += matrix[place]; });
}

template <class T>
void run_pass(const ConvProblem& problem, Pass pass, const ConvArgs& args) {
  const T* first = static_cast<const T*>(args.first);
  const T* second = static_cast<const T*>(args.second);
  T* result = static_cast<T*>(args.result);
  switch (pass) {
    case Pass::forward:
      forward(problem, first, second, static_cast<const T*>(args.bias), result);
      return finish_results<T>(problem, args);
    case Pass::backward_data:
      return backward_data(problem, first, second, result);
    case Pass::backward_weights:
      return backward_weights(problem, first, second, result);
  }
}

std::optional<std::string> refuses(const ConvProblem& problem, Pass) {
  const MatrixSize size = size_of_matrix(problem);
  if (static_cast<double>(size.rows) * static_cast<double>(size.columns) <=
      static_cast<double>(kMaxEntries)) {
    return std::nullopt;
  }
  return fmt::format("its matrix would be {} x {}, more than {} entries", size.rows, size.columns,
                     kMaxEntries);
}

ConvCost predict(const ConvProblem& problem, Pass pass) {
  const MatrixSize size = size_of_matrix(problem);
  ConvCost cost = least_cost(problem, pass);
  const double entries = static_cast<double>(size.rows) * static_cast<double>(size.columns);
  cost.multiply_adds = entries * static_cast<double>(problem.batch);
  cost.bytes += entries * static_cast<double>(size_of(problem.dtype));
  const CoreModel model = core_model(problem.dtype);
  cost.cycles = pass_cycles(model, cost.multiply_adds, cost.bytes);
  cost.one_thread = true;
  return cost;
}

std::optional<std::string> kept_back(const ConvProblem&, Pass) {
  return "it is there for teaching and for tests";
}

std::size_t workspace(const ConvProblem& problem, Pass) {
  const MatrixSize size = size_of_matrix(problem);
  return static_cast<std::size_t>(size.rows * size.columns) * size_of(problem.dtype);
}

// Where padding cells are copies of input cells, they are entries like others: circular padding
// makes a circulant matrix.
bool reads_padding(const ConvProblem& problem, Pass) {
  return copies_cells(problem.padding_mode);
}

void run(const ConvProblem& problem, Pass pass, const ConvArgs& args) {
  dispatch_floating(problem.dtype,
                    [&](auto tag) { run_pass<typename decltype(tag)::type>(problem, pass, args); });
}

}  // namespace

const ConvAlgorithm matrix = {
    .name = "matrix",
    .summary = "one explicit matrix, Toeplitz or doubly blocked, zeros and all; for teaching",
    .refuses = refuses,
    .predict = predict,
    .workspace = workspace,
    .run = run,
    .kept_back = kept_back,
    .reads_padding = reads_padding,
};

}  // namespace fovea::conv
