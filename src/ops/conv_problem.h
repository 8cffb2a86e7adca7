// What the operators of the convolution family share: from attributes to a ConvProblem, and running
// a pass of it on tensors.
//
// Their attributes: "stride", "dilation", "before", "after" (one number per spatial dimension),
// "padding_mode", "padding_value", "groups", "algorithm", "precision" and "workspace_limit".
#pragma once

#include <string>

#include "conv/algorithms.h"
#include "ops/checks.h"
#include "ops/op.h"

namespace fovea::ops {

// "conv2d" for `dims` 2.
std::string conv_name(int dims);

// The problem of a call, from the shapes of x and w.
ConvProblem make_problem(const Shape& x, const Shape& w, DType dtype, const Attributes& attributes);
// How its algorithm is to be chosen.
PlanOptions plan_options(const Attributes& attributes);
// The problem of at least one sample: an empty batch is checked and planned as a batch of one.
ConvProblem with_a_sample(ConvProblem problem);
// Checks x against w, and returns the problem, validated but for an empty batch; errors name the
// operator `op`.
ConvProblem checked_problem(const std::string& op, const TensorSpec& x, const TensorSpec& w,
                            const Attributes& attributes);

// [first, second, spatial...]
Shape with_channels(const Shape& spatial, std::int64_t first, std::int64_t second);
// All axes of an output but its channels: those that the gradient of a bias is summed over.
Shape all_but_channels(int rank);
// A hint for the commonest mistake, images stored as N,H,W,C: empty unless x ends in `channels`.
std::string layout_hint(const Shape& x, std::int64_t channels);

// Computes one pass of the problem from its two operands into `result`, zeros for an empty batch.
// Behind them, for a forward pass, may be given: a bias; a residual, and then the attributes have
// an activation.
void run_conv_pass(Pass pass, const ConvProblem& problem, const Attributes& attributes,
                   Inputs inputs, Tensor& result);
// What an output cell of its forward pass reads.
OpField problem_field(const ConvProblem& problem);
// The multiply-adds of the problem, each tensor moved once.
OpCost conv_cost(Specs inputs, Specs outputs, const ConvProblem& problem);

}  // namespace fovea::ops
