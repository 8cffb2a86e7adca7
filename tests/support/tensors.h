// Tensors for tests: random ones, and comparison with a tolerance that the caller derives from the
// arithmetic.
#pragma once

#include <cstdint>

#include "fovea/tensor.h"

namespace fovea::testing {

// Uniform values in [low, high), a function of the seed.
Tensor random_tensor(const Shape& shape, std::uint64_t seed, DType dtype = DType::float64,
                     double low = -1, double high = 1);

// Evenly spaced values in (-1, 1), none of them zero, in random order: no two are closer than 2 /
// numel, so that small steps cross no kink of relu or max_pool.
Tensor spread_tensor(const Shape& shape, std::uint64_t seed, DType dtype = DType::float64);

// The same values, alone in a block of memory in which the axes lie in reverse order with holes
// between the elements.
Tensor scattered(const Tensor& tensor);

double max_abs(const Tensor& tensor);

// Same shape, and everywhere |actual - expected| <= tolerance * max(1, largest |expected|); NaN
// equals NaN.
void expect_close(const Tensor& actual, const Tensor& expected, double tolerance);
// Same shape, type and values, bit for bit.
void expect_identical(const Tensor& actual, const Tensor& expected);

// Unit roundoff of a type: 2^-24 or 2^-53.
double roundoff(DType dtype);

}  // namespace fovea::testing
