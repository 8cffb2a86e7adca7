// `reference`: the definition as plain loops, added up in double. Never optimised: the oracle of
// every other algorithm.
//
// y[n,p,o] = sum over c,k of w[o,c,k] x[n, p*stride - before + k*dilation, g*C/G + c]; the other
// passes walk over the same products and add them into dx or dw instead. Where a tap leaves the
// input, the patch table says which input cell it reads instead. A padding cell with a value of its
// own, one constant or a mean, is read from behind the input: one cell per sample and channel.
#include <vector>

#include "conv/algorithms.h"
#include "conv/axes.h"
#include "conv/cost.h"
#include "conv/epilogue.h"
#include "conv/patch_table.h"
#include "core/dispatch.h"

namespace fovea::conv {
namespace {

// Where one product of the convolution takes its three factors.
struct Product {
  std::int64_t x;
  std::int64_t w;
  std::int64_t y;
};

// Calls f(Product) for every multiplication of the convolution, padding with zeros left out.
template <class F>
void for_each_product(const ConvProblem& problem, F&& f) {
  const std::array<ConvAxis, 3> axis = three_axes(problem);
  std::array<AxisTable, 3> table;
  for (std::size_t a = 0; a < 3; ++a) table[a] = make_axis_table(axis[a], problem.padding_mode);
  const std::int64_t in = problem.in_channels / problem.groups;
  const std::int64_t out = problem.out_channels / problem.groups;
  const std::int64_t o0 = axis[0].output();
  const std::int64_t o1 = axis[1].output();
  const std::int64_t o2 = axis[2].output();
  const std::int64_t taps = problem.taps();
  const std::int64_t behind_input = problem.input_shape().numel();
  for (std::int64_t n = 0; n < problem.batch; ++n)
    for (std::int64_t p0 = 0; p0 < o0; ++p0)
      for (std::int64_t p1 = 0; p1 < o1; ++p1)
        for (std::int64_t p2 = 0; p2 < o2; ++p2)
          for (std::int64_t tap = 0; tap < taps; ++tap) {
            const std::int64_t k2 = tap % axis[2].kernel;
            const std::int64_t k1 = tap / axis[2].kernel % axis[1].kernel;
            const std::int64_t k0 = tap / axis[2].kernel / axis[1].kernel;
            const std::int64_t i0 = table[0].at(static_cast<int>(k0), p0);
            const std::int64_t i1 = table[1].at(static_cast<int>(k1), p1);
            const std::int64_t i2 = table[2].at(static_cast<int>(k2), p2);
            const bool padding = i0 == kPaddingCell || i1 == kPaddingCell || i2 == kPaddingCell;
            if (padding && problem.padding_mode == PaddingMode::zeros) continue;
            const std::int64_t x =
                padding ? behind_input + n * problem.in_channels
                        : (((n * axis[0].input + i0) * axis[1].input + i1) * axis[2].input + i2) *
                              problem.in_channels;
            const std::int64_t y = (((n * o0 + p0) * o1 + p1) * o2 + p2) * problem.out_channels;
            for (std::int64_t o = 0; o < problem.out_channels; ++o)
              for (std::int64_t c = 0; c < in; ++c)
                f(Product{x + o / out * in + c, (o * in + c) * taps + tap, y + o});
          }
}

class Doubles {
 public:
  explicit Doubles(std::int64_t size) : values_(static_cast<std::size_t>(size), 0.0) {}
  double& operator[](std::int64_t place) { return values_[static_cast<std::size_t>(place)]; }

 private:
  std::vector<double> values_;
};

std::int64_t padding_cells(const ConvProblem& problem) {
  return problem.batch * problem.in_channels;
}

// Calls f(input value, the padding cell of its sample and channel) for each value of the input.
template <class F>
void for_each_input(const ConvProblem& problem, F&& f) {
  const std::int64_t values = problem.input_shape().numel();
  const std::int64_t per_sample = values / problem.batch;
  for (std::int64_t i = 0; i < values; ++i)
    f(i, values + i / per_sample * problem.in_channels + i % problem.in_channels);
}

double cells_per_channel(const ConvProblem& problem) {
  const std::int64_t cells = problem.input_shape().numel() / padding_cells(problem);
  return static_cast<double>(cells);
}

// The input and, behind it, what its padding cells hold.
template <class T>
Doubles extended_input(const ConvProblem& problem, const T* input) {
  const std::int64_t values = problem.input_shape().numel();
  Doubles x(values + padding_cells(problem));
  for (std::int64_t i = 0; i < values; ++i) x[i] = static_cast<double>(input[i]);
  for (std::int64_t i = 0; i < padding_cells(problem); ++i)
    x[values + i] = static_cast<double>(static_cast<T>(problem.padding_value));
  if (problem.padding_mode == PaddingMode::mean) {
    for_each_input(problem, [&](std::int64_t i, std::int64_t padding) {
      x[padding] += x[i] / cells_per_channel(problem);
    });
  }
  return x;
}

template <class T>
void run_pass(const ConvProblem& problem, Pass pass, const ConvArgs& args) {
  const T* first = static_cast<const T*>(args.first);
  const T* second = static_cast<const T*>(args.second);
  const T* bias = static_cast<const T*>(args.bias);
  const T* residual = static_cast<const T*>(args.residual);
  T* result = static_cast<T*>(args.result);
  const std::int64_t results = result_shape(problem, pass).numel();
  Doubles sum(results + padding_cells(problem));
  switch (pass) {
    case Pass::forward: {
      Doubles x = extended_input(problem, first);
      for_each_product(problem, [&](const Product& p) {
        sum[p.y] += x[p.x] * static_cast<double>(second[p.w]);
      });
      break;
    }
    case Pass::backward_data:
      for_each_product(problem, [&](const Product& p) {
        sum[p.x] += static_cast<double>(first[p.y]) * static_cast<double>(second[p.w]);
      });
      if (problem.padding_mode == PaddingMode::mean) {
        for_each_input(problem, [&](std::int64_t i, std::int64_t padding) {
          sum[i] += sum[padding] / cells_per_channel(problem);
        });
      }
      break;
    case Pass::backward_weights: {
      Doubles x = extended_input(problem, first);
      for_each_product(problem, [&](const Product& p) {
        sum[p.w] += x[p.x] * static_cast<double>(second[p.y]);
      });
      break;
    }
  }
  for (std::int64_t i = 0; i < results; ++i) {
    if (bias != nullptr) sum[i] += static_cast<double>(bias[i % problem.out_channels]);
    if (residual != nullptr) sum[i] += static_cast<double>(residual[i]);
    result[i] = static_cast<T>(activate(args.activation, args.activation_slope, sum[i]));
  }
}

std::optional<std::string> refuses(const ConvProblem&, Pass) {
  return std::nullopt;
}

ConvCost predict(const ConvProblem& problem, Pass pass) {
  const CoreModel model = core_model(problem.dtype);
  ConvCost cost = least_cost(problem, pass);
  const double runs = cost.multiply_adds / inputs_of_group(problem);
  cost.cycles = pass_cycles(model, 1.8 * cost.multiply_adds + 8 * runs, cost.bytes);
  cost.one_thread = true;
  return cost;
}

std::optional<std::string> kept_back(const ConvProblem&, Pass) {
  return "it is there for the others to be compared with";
}

std::size_t workspace(const ConvProblem& problem, Pass pass) {
  std::int64_t values = result_shape(problem, pass).numel() + padding_cells(problem);
  if (pass != Pass::backward_data) values += problem.input_shape().numel() + padding_cells(problem);
  return static_cast<std::size_t>(values) * sizeof(double);
}

void run(const ConvProblem& problem, Pass pass, const ConvArgs& args) {
  dispatch_floating(problem.dtype,
                    [&](auto tag) { run_pass<typename decltype(tag)::type>(problem, pass, args); });
}

bool reads_padding(const ConvProblem&, Pass) {
  return true;
}

}  // namespace

const ConvAlgorithm reference = {
    .name = "reference",
    .summary =
        "plain loops in double precision, the definition itself; slow, and the oracle of every "
        "other algorithm",
    .refuses = refuses,
    .predict = predict,
    .workspace = workspace,
    .run = run,
    .kept_back = kept_back,
    .reads_padding = reads_padding,
};

}  // namespace fovea::conv
