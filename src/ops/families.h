// The operators by family: one source file each.
#pragma once

#include "ops/op.h"

namespace fovea::ops {

// conv.cpp: (x, w, bias?) -> y, (g, w) -> dx, (x, g) -> dw; the last two take the missing shape as
// an attribute.
extern const OpDef conv, conv_backward_data, conv_backward_weights;
// linear.cpp
extern const OpDef linear, matmul;
// pool.cpp: max_pool gives values and positions; pool_scatter and pool_gather are adjoint to each
// other.
extern const OpDef max_pool, pool_scatter, pool_gather, avg_pool, avg_pool_backward;
// elementwise.cpp
extern const OpDef add, sub, mul, div, neg, exp, log, sqrt, add_scalar, mul_scalar, cast;
// activation.cpp: each backward operator takes (g, y).
extern const OpDef relu, relu_backward, sigmoid, sigmoid_backward, tanh, tanh_backward;
// reduce.cpp: sum over axes; broadcast repeats axes of size one without copying.
extern const OpDef sum, broadcast;
// view.cpp
extern const OpDef reshape, permute, slice, slice_backward, contiguous;
// softmax.cpp
extern const OpDef softmax, log_softmax, nll_loss, nll_loss_backward;
// dropout.cpp
extern const OpDef dropout;
// fft.cpp: (re, im) -> (re, im) without a factor.
extern const OpDef fft;
// correlate.cpp: a range of places of the linear or circular result.
extern const OpDef correlate, convolve;

// Adds up `gradient` over the axes along which an input of `shape` was broadcast.
Tensor sum_to(const Tensor& gradient, const Shape& shape);

}  // namespace fovea::ops
