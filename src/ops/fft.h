// Fourier transforms of whole arrays, in parallel: what the operators fft and correlate share.
#pragma once

#include "fovea/shape.h"
#include "kernels/fft.h"

namespace fovea::ops {

// Transforms a row-major complex array along `axes`, in place and without a factor.
template <class T>
void transform(const kernels::Planes<T>& data, const Shape& shape, const Shape& axes, bool inverse);

}  // namespace fovea::ops
