// Gradient clipping. A gradient may share its memory with another one (a + b hands the same tensor
// to both), so what is clipped is a copy that takes its place.
#include <algorithm>
#include <cmath>
#include <vector>

#include "core/dispatch.h"
#include "fovea/autograd.h"
#include "fovea/executor.h"
#include "fovea/functions.h"
#include "fovea/optim.h"
#include "optim/parameters.h"

namespace fovea::optim {
namespace {

// In double: no float32 gradient overflows it. One sum per task, added up in order.
double sum_of_squares(const Tensor& dense) {
  const std::int64_t count = dense.numel();
  std::vector<double> sums(
      static_cast<std::size_t>((count + kParametersPerTask - 1) / kParametersPerTask));
  dispatch_floating(dense.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    const T* data = dense.data<T>();
    parallel_ranges(count, kParametersPerTask, [&](std::int64_t first, std::int64_t last) {
      double sum = 0;
      for (std::int64_t i = first; i < last; ++i) {
        const auto value = static_cast<double>(data[i]);
        sum += value * value;
      }
      sums[static_cast<std::size_t>(first / kParametersPerTask)] = sum;
    });
  });
  double total = 0;
  for (const double sum : sums) total += sum;
  return total;
}

template <class Change>
void change_gradients(const std::vector<Tensor>& parameters, const Change& change) {
  const NoGrad no_grad;
  for (Tensor parameter : parameters) {
    const Tensor gradient = parameter.grad();
    if (gradient.defined()) parameter.set_grad(change(gradient));
  }
}

}  // namespace

double clip_norm(const std::vector<Tensor>& parameters, double most) {
  require_number("clip_norm", "most", most, most > 0, "above 0");
  double squares = 0;
  for (const Tensor& parameter : parameters) {
    const Tensor gradient = gradient_of(parameter);
    if (gradient.defined()) squares += sum_of_squares(gradient);
  }
  const double norm = std::sqrt(squares);
  if (norm > most && std::isfinite(norm)) {
    change_gradients(parameters, [&](const Tensor& gradient) { return gradient * (most / norm); });
  }
  return norm;
}

void clip_value(const std::vector<Tensor>& parameters, double most) {
  require_number("clip_value", "most", most, most > 0, "above 0");
  change_gradients(parameters,
                   [&](const Tensor& gradient) { return clamp(gradient, -most, most); });
}

}  // namespace fovea::optim
