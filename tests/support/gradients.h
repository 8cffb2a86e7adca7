// Numerical derivatives by central differences, in float64.
#pragma once

#include <functional>
#include <vector>

#include "fovea/tensor.h"

namespace fovea::testing {

using ScalarFunction = std::function<double(const std::vector<Tensor>&)>;

// d f / d inputs[which], element by element: (f(x + h) - f(x - h)) / 2h.
Tensor numeric_gradient(const ScalarFunction& f, const std::vector<Tensor>& inputs,
                        std::size_t which);

// How far such a gradient may be from the truth, for functions whose value and third derivative are
// of the order of `scale`: h^2 / 6 of truncation and roundoff / h of cancellation, with room for
// the sums inside f.
double numeric_tolerance(double scale);

// <a, b> over all elements.
double inner_product(const Tensor& a, const Tensor& b);

}  // namespace fovea::testing
