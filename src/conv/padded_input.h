// The input of a problem with its padding really there: for the `pad` operator, for layers with few
// channels, where one contiguous run is worth more than the copy costs, and for algorithms that
// know of no padding.
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
// The same axes, and the same problem, over an input that holds its own padding.
std::array<ConvAxis, 3> with_padding_inside(std::array<ConvAxis, 3> axes);
ConvProblem with_padding_inside(ConvProblem problem);
// Writes all padded_values(problem) values of `padded`, channels-last, in every padding mode.
template <class T>
void copy_padded(const ConvProblem& problem, const T* input, T* padded);
// The adjoint of copy_padded (whose constant counts as zero): adds to each input cell's gradient
// those of the padding cells that were made from it. Writes all of `input`.
template <class T>
void fold_padding(const ConvProblem& problem, const T* padded, T* input);

}  // namespace fovea::conv
