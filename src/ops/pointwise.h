// What element-wise operators share: shapes under broadcasting, and loops over operands of any
// memory order.
#pragma once

#include <string_view>
#include <vector>

#include "kernels/elementwise.h"
#include "ops/op.h"

namespace fovea::ops {

// A dense tensor of the shape and, as far as it has one, the memory order of `like`.
TensorSpec spec_like(const TensorSpec& like, DType dtype);

// One floating input; the output has its shape, type and memory order.
std::vector<TensorSpec> infer_unary(std::string_view op, Specs inputs);
// Two inputs of one floating type under NumPy's broadcasting; the output takes the memory order of
// the first dense input that has its shape.
std::vector<TensorSpec> infer_binary(std::string_view op, Specs inputs);
// As infer_binary, for inputs that must have one shape.
std::vector<TensorSpec> infer_backward(std::string_view op, Specs inputs);

// `out` is dense and of the broadcast shape; the operands may have any strides.
void run_unary(kernels::Unary op, const Tensor& a, Tensor& out);
void run_binary(kernels::Binary op, const Tensor& a, const Tensor& b, Tensor& out);

// The same as OpDef::run of one operator.
template <kernels::Unary kOp>
void run_one(Inputs inputs, const Attributes&, Outputs outputs) {
  run_unary(kOp, inputs[0], outputs[0]);
}
template <kernels::Binary kOp>
void run_two(Inputs inputs, const Attributes&, Outputs outputs) {
  run_binary(kOp, inputs[0], inputs[1], outputs[0]);
}

// factor * tensor, recorded.
Tensor scaled(const Tensor& tensor, double factor);

// Bits of OpDef::saves.
inline constexpr std::uint32_t kFirst = 1;
inline constexpr std::uint32_t kSecond = 2;

}  // namespace fovea::ops
