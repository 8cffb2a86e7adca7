// The epilogue of the fused operators, conv_fused and linear_fused: activation(sum + residual).
//
// Attributes: "activation", a number of the enum Activation, and "slope", of leaky_relu. The
// residual is input 3, which may be undefined. To give an activation a gradient here, its slope
// must be a function of its output. A line in the table of epilogue.cpp names the operators.
#pragma once

#include "conv/algorithms.h"
#include "fovea/conv.h"
#include "ops/op.h"

namespace fovea::ops {

// Throws Error, naming `op`, unless the residual is like the output.
void check_epilogue(std::string_view op, Specs inputs, const TensorSpec& output,
                    const Attributes& attributes);
// The activation of a call, put into `args`.
void set_activation(conv::ConvArgs& args, const Attributes& attributes);
// f(s), by the operator of that name.
Tensor activated(const Tensor& sums, Activation activation, double slope);
// Whether the slope of the activation can be told from its output, so that fused operators have a
// gradient.
bool slope_shows_in_output(Activation activation, double slope);
// g f'(s), from y = f(s).
Tensor through_activation(const Tensor& g, const Tensor& y, const Attributes& attributes);

}  // namespace fovea::ops
