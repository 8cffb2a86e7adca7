// The derivatives of normalisation written with operators, for when they are differentiated again;
// and what the normalising operators share.
#pragma once

#include <string_view>
#include <vector>

#include "ops/op.h"

namespace fovea::ops {

// x is seen in the shape `view`; mean and variance are taken over `axes` of it; weight and bias are
// seen in the shape `affine`, which broadcasts to `view`.
struct NormForm {
  Shape view;
  Shape axes;
  Shape affine;
};

// Inputs (x, weight?, bias?), outputs (y, mean, variance): the gradients of the inputs. The part
// that comes from y is given by `fused` where it need not be differentiated again.
std::vector<Tensor> norm_backward(const BackwardCall& call, const NormForm& form,
                                  const OpDef& fused);

// Inputs (x, weight?, bias?, mean, variance), where mean and variance are given.
std::vector<Tensor> fixed_norm_backward(const BackwardCall& call, const NormForm& form,
                                        const OpDef& fused);

// Throws Error unless eps is positive, and weight and bias, where they are there, have the type of
// x and `shape`.
void check_norm(std::string_view op, const TensorSpec& x, const TensorSpec& weight,
                const TensorSpec& bias, const Shape& shape, const Attributes& attributes);

// What a fused backward operator gives for (g, x, weight?, mean, variance): dx, and dw and db of
// `shape`.
std::vector<TensorSpec> infer_norm_backward(std::string_view op, Specs inputs, const Shape& shape,
                                            Layout layout);

}  // namespace fovea::ops
