// The input of a problem with its padding really there: for layers with few channels, where one
// contiguous run is worth more than the copy costs.
#pragma once

#include <array>
#include <cstdint>

#include "fovea/conv.h"

namespace fovea::conv {

// Input and padding cells along each axis.
std::array<std::int64_t, 3> padded_sizes(const std::array<ConvAxis, 3>& axes);
// Values of the padded input in all.
std::int64_t padded_values(const ConvProblem& problem);
// Whether the copy stays in proportion to the tensors, as it does but for very wide padding.
bool may_copy_padded(const ConvProblem& problem);
// The same axes over an input that holds its own padding.
std::array<ConvAxis, 3> with_padding_inside(std::array<ConvAxis, 3> axes);
// Writes all padded_values(problem) values of `padded`, channels-last.
template <class T>
void copy_padded(const ConvProblem& problem, const T* input, T* padded);

}  // namespace fovea::conv
