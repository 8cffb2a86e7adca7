// The operators by family: one source file each.
#pragma once

#include "ops/op.h"

namespace fovea::ops {

// conv.cpp: (x, w, bias?) -> y, (g, w) -> dx, (x, g) -> dw; the last two take the missing shape as
// an attribute.
extern const OpDef conv, conv_backward_data, conv_backward_weights;
// conv.cpp: (x, w, bias?, residual?) -> activation(conv + residual).
extern const OpDef conv_fused;
// conv_transpose.cpp: (x, w, bias?) -> y, conv_backward_data with a shape rule of its own.
extern const OpDef conv_transpose;
// unfold.cpp: adjoint to each other, for zero padding.
extern const OpDef unfold, fold;
// locally_connected.cpp: a matrix per position on columns: (columns, w) -> y, (g, w) -> columns,
// (columns, g) -> w.
extern const OpDef local_product, local_product_columns, local_product_weights;
// pad.cpp: pad_backward is the adjoint of pad (with zeros for a constant).
extern const OpDef pad, pad_backward;
// linear.cpp; linear_fused: (x, w, bias?, residual?) -> activation(linear + residual).
extern const OpDef linear, linear_fused, matmul;
// pool.cpp: max_pool gives values and positions; pool_scatter and pool_gather are adjoint to each
// other.
extern const OpDef max_pool, adaptive_max_pool, pool_scatter, pool_gather, max_unpool,
    max_unpool_gradient;
// avg_pool.cpp
extern const OpDef avg_pool, avg_pool_backward, adaptive_avg_pool, adaptive_avg_pool_backward,
    lp_pool, lp_pool_backward;
// norm.cpp, layer_norm.cpp: (x, weight?, bias?) -> y, mean, variance; batch_norm takes mean and
// variance, and batch_norm_fused is batch_norm_training with a residual and an activation. Backward
// operators give dx, dw, db.
extern const OpDef batch_norm_fused, batch_norm_fused_backward;
extern const OpDef batch_norm, batch_norm_backward, batch_norm_training,
    batch_norm_training_backward, group_norm, group_norm_backward, layer_norm, layer_norm_backward;
// local_response_norm.cpp: the backward operator takes (g, x).
extern const OpDef local_response_norm, local_response_norm_backward;
// elementwise.cpp
extern const OpDef add, sub, mul, div, neg, exp, log, sqrt, add_scalar, mul_scalar, cast;
extern const OpDef maximum, minimum, above, equal;
// activation.cpp: each backward operator takes (g, y).
extern const OpDef relu, relu_backward, sigmoid, sigmoid_backward, tanh, tanh_backward;
// curve.cpp: each backward operator takes (g, x).
extern const OpDef abs, abs_backward, clamp, clamp_backward, pow, pow_backward, erf, erf_backward,
    leaky_relu, leaky_relu_backward, elu, elu_backward, gelu, gelu_backward, silu, silu_backward,
    hardswish, hardswish_backward, softplus, softplus_backward, relu6, relu6_backward;
// upsample.cpp, concat.cpp
extern const OpDef upsample, upsample_backward, concat;
// reduce.cpp: sum and largest element over axes; broadcast repeats axes of size one without
// copying.
extern const OpDef sum, max, broadcast;
// view.cpp
extern const OpDef reshape, permute, slice, slice_backward, contiguous;
// flip.cpp
extern const OpDef flip;
extern const OpDef mirror;
// softmax.cpp
extern const OpDef softmax, softmax_backward, log_softmax, log_softmax_backward, nll_loss,
    nll_loss_backward;
// dropout.cpp
extern const OpDef dropout;
// fft.cpp: (re, im) -> (re, im) without a factor.
extern const OpDef fft;
// correlate.cpp: a range of places of the linear or circular result.
extern const OpDef correlate, convolve;

// Adds up `gradient` over the axes along which an input of `shape` was broadcast.
Tensor sum_to(const Tensor& gradient, const Shape& shape);

// running <- (1 - momentum) running + momentum factor batch; neither recorded nor traced.
void update_running(Tensor& running, const Tensor& batch, double momentum, double factor);

}  // namespace fovea::ops
