// Numerical derivatives.
#include "support/gradients.h"

#include "core/tensor_impl.h"
#include "support/tensors.h"

namespace fovea::testing {
namespace {

constexpr double kStep = 1e-5;
constexpr double kMargin = 100;

}  // namespace

Tensor numeric_gradient(const ScalarFunction& f, const std::vector<Tensor>& inputs,
                        std::size_t which) {
  // The element is changed in place, in a copy that keeps the strides: an operator may treat memory
  // orders apart.
  const Tensor& input = inputs[which];
  std::vector<double> values = input.to_vector<double>();
  std::vector<Tensor> arguments = inputs;
  const auto evaluate = [&] {
    Tensor changed = allocate_tensor(spec_of(input));
    copy_elements(Tensor::from(values, input.shape()), changed);
    arguments[which] = changed;
    return f(arguments);
  };
  std::vector<double> gradient;
  for (double& value : values) {
    const double at = value;
    value = at + kStep;
    const double above = evaluate();
    value = at - kStep;
    const double below = evaluate();
    value = at;
    gradient.push_back((above - below) / (2 * kStep));
  }
  return Tensor::from(gradient, input.shape());
}

double numeric_tolerance(double scale) {
  return kMargin * (kStep * kStep / 6 + roundoff(DType::float64) / kStep) * (1 + scale);
}

double inner_product(const Tensor& a, const Tensor& b) {
  const std::vector<double> x = a.to_vector<double>();
  const std::vector<double> y = b.to_vector<double>();
  double sum = 0;
  for (std::size_t i = 0; i < x.size(); ++i) sum += x[i] * y[i];
  return sum;
}

}  // namespace fovea::testing
