// Samples of many sizes made one size.
#pragma once

#include <cstdint>

#include "fovea/tensor.h"

namespace fovea::data {

enum class Fit : std::uint8_t {
  crop,     // scaled until it covers the size, then the middle of it
  stretch,  // scaled along each axis by itself
  pad,      // scaled until it lies within the size, with zeros around it
  none      // not scaled: the middle of it, with zeros around it where it is smaller
};

// `sample`, uint8 or float32 [C, spatial...], as [C, size...] of the same type, in channels-last
// memory. Scaling is linear interpolation which, where it shrinks, averages over all that a new
// cell covers.
Tensor fit(const Tensor& sample, const Shape& size, Fit how);

// The same for numbers that cannot be mixed: each new cell has the one that its middle lies in, and
// `outside` what is beyond. `mask`: uint8 [spatial...].
Tensor fit_mask(const Tensor& mask, const Shape& size, Fit how, std::uint8_t outside);

}  // namespace fovea::data
