// An operator and what follows it: activation(op(x, w, bias) + residual), as one operator wherever
// that is as good.
#pragma once

#include "fovea/functions.h"
#include "ops/op.h"

namespace fovea::autograd {

// `plain` takes (x, w, bias?), `fused` also a residual and the attributes of ops/epilogue.h.
Tensor apply_with_epilogue(const OpDef& plain, const OpDef& fused, std::vector<Tensor> inputs,
                           Attributes attributes, const Epilogue& epilogue);

// batch_norm() in training, and behind it activation(y + residual).
Tensor batch_norm_in_training(const Tensor& input, Tensor running_mean, Tensor running_variance,
                              const Tensor& weight, const Tensor& bias,
                              const BatchNormOptions& options, const Epilogue& epilogue);

}  // namespace fovea::autograd
