// Samples of many sizes made one size.
#pragma once

#include <cstdint>

#include "fovea/readers.h"
#include "fovea/tensor.h"

namespace fovea::data {

// `sample`, uint8 or float32 [C, spatial...], as [C, size...] of the same type, in channels-last
// memory. Scaling is linear interpolation which, where it shrinks, averages over all that a new
// cell covers.
Tensor fit(const Tensor& sample, const Shape& size, Fit how);

// The same for numbers that cannot be mixed: each new cell has the one that its middle lies in, and
// `outside` what is beyond. `mask`: uint8 [spatial...].
Tensor fit_mask(const Tensor& mask, const Shape& size, Fit how, std::uint8_t outside);

}  // namespace fovea::data
