// `reference`: the definition as plain loops, added up in double. Never optimised: the oracle of
// every other algorithm.
//
// y[n,p,o] = sum over c,k of w[o,c,k] x[n, p*stride - before + k*dilation, g*C/G + c]; the other
// passes walk over the same products and add them into dx or dw instead.
#include <vector>

#include "conv/algorithms.h"
#include "conv/axes.h"
#include "core/dispatch.h"

namespace fovea::conv {
namespace {

// Where one product of the convolution takes its three factors.
struct Product {
  std::int64_t x;
  std::int64_t w;
  std::int64_t y;
};

// Calls f(Product) for every multiplication of the convolution, padding left out.
template <class F>
void for_each_product(const ConvProblem& problem, F&& f) {
  const std::array<ConvAxis, 3> axis = three_axes(problem);
  const std::int64_t in = problem.in_channels / problem.groups;
  const std::int64_t out = problem.out_channels / problem.groups;
  const std::int64_t o0 = axis[0].output();
  const std::int64_t o1 = axis[1].output();
  const std::int64_t o2 = axis[2].output();
  const std::int64_t taps = problem.taps();
  for (std::int64_t n = 0; n < problem.batch; ++n)
    for (std::int64_t p0 = 0; p0 < o0; ++p0)
      for (std::int64_t p1 = 0; p1 < o1; ++p1)
        for (std::int64_t p2 = 0; p2 < o2; ++p2)
          for (std::int64_t tap = 0; tap < taps; ++tap) {
            const std::int64_t k2 = tap % axis[2].kernel;
            const std::int64_t k1 = tap / axis[2].kernel % axis[1].kernel;
            const std::int64_t k0 = tap / axis[2].kernel / axis[1].kernel;
            const std::int64_t i0 =
                p0 * axis[0].stride - axis[0].padding.before + k0 * axis[0].dilation;
            const std::int64_t i1 =
                p1 * axis[1].stride - axis[1].padding.before + k1 * axis[1].dilation;
            const std::int64_t i2 =
                p2 * axis[2].stride - axis[2].padding.before + k2 * axis[2].dilation;
            if (i0 < 0 || i0 >= axis[0].input || i1 < 0 || i1 >= axis[1].input || i2 < 0 ||
                i2 >= axis[2].input)
              continue;
            const std::int64_t x =
                (((n * axis[0].input + i0) * axis[1].input + i1) * axis[2].input + i2) *
                problem.in_channels;
            const std::int64_t y = (((n * o0 + p0) * o1 + p1) * o2 + p2) * problem.out_channels;
            for (std::int64_t o = 0; o < problem.out_channels; ++o)
              for (std::int64_t c = 0; c < in; ++c)
                f(Product{x + o / out * in + c, (o * in + c) * taps + tap, y + o});
          }
}

template <class T>
void run_pass(const ConvProblem& problem, Pass pass, const ConvArgs& args) {
  const T* first = static_cast<const T*>(args.first);
  const T* second = static_cast<const T*>(args.second);
  const T* bias = static_cast<const T*>(args.bias);
  T* result = static_cast<T*>(args.result);
  std::vector<double> sum(static_cast<std::size_t>(result_shape(problem, pass).numel()), 0.0);
  const auto at = [&](std::int64_t place) -> double& {
    return sum[static_cast<std::size_t>(place)];
  };
  const auto product = [](T a, T b) { return static_cast<double>(a) * static_cast<double>(b); };
  switch (pass) {
    case Pass::forward:
      for_each_product(problem,
                       [&](const Product& p) { at(p.y) += product(first[p.x], second[p.w]); });
      break;
    case Pass::backward_data:
      for_each_product(problem,
                       [&](const Product& p) { at(p.x) += product(first[p.y], second[p.w]); });
      break;
    case Pass::backward_weights:
      for_each_product(problem,
                       [&](const Product& p) { at(p.w) += product(first[p.x], second[p.y]); });
      break;
  }
  for (std::size_t i = 0; i < sum.size(); ++i) {
    const double offset =
        bias == nullptr
            ? 0
            : static_cast<double>(bias[i % static_cast<std::size_t>(problem.out_channels)]);
    result[i] = static_cast<T>(sum[i] + offset);
  }
}

std::optional<std::string> refuses(const ConvProblem&, Pass) {
  return std::nullopt;
}

std::size_t workspace(const ConvProblem& problem, Pass pass) {
  return static_cast<std::size_t>(result_shape(problem, pass).numel()) * sizeof(double);
}

void run(const ConvProblem& problem, Pass pass, const ConvArgs& args) {
  dispatch_floating(problem.dtype,
                    [&](auto tag) { run_pass<typename decltype(tag)::type>(problem, pass, args); });
}

}  // namespace

const ConvAlgorithm reference = {
    .name = "reference",
    .summary =
        "plain loops in double precision, the definition itself; slow, and the oracle of every "
        "other algorithm",
    .refuses = refuses,
    .predict = least_cost,
    .workspace = workspace,
    .run = run,
};

}  // namespace fovea::conv
