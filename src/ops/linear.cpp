// Fully connected layers and matrix products, which are pointwise convolutions of signals of length
// one.
//
// With batch M, K input and N output channels the three passes of such a convolution are the three
// products a b^T, a b and a^T b, each of row-major matrices: so a transposed operand of matmul
// costs no copy.
#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <string>
#include <vector>

#include "conv/algorithms.h"
#include "core/check.h"
#include "core/dispatch.h"
#include "fovea/executor.h"
#include "ops/checks.h"
#include "ops/epilogue.h"
#include "ops/families.h"

namespace fovea::ops {
namespace {

ConvProblem pointwise(std::int64_t batch, std::int64_t in_channels, std::int64_t out_channels,
                      DType dtype) {
  ConvProblem problem;
  problem.batch = batch;
  problem.in_channels = in_channels;
  problem.out_channels = out_channels;
  problem.dims = 1;
  problem.dtype = dtype;
  return problem;
}

const void* data_of(const Tensor& tensor) {
  if (!tensor.defined()) return nullptr;
  return dispatch_floating(tensor.dtype(), [&](auto tag) -> const void* {
    return tensor.data<typename decltype(tag)::type>();
  });
}

void* mutable_data_of(Tensor& tensor) {
  return dispatch_floating(tensor.dtype(), [&](auto tag) -> void* {
    return writable<typename decltype(tag)::type>(tensor);
  });
}

Tensor transposed(const Tensor& matrix) {
  return view::permute(matrix, {1, 0});
}

// --- linear

std::vector<TensorSpec> linear_infer(Specs inputs, const Attributes&) {
  const TensorSpec& x = inputs[0];
  const TensorSpec& w = inputs[1];
  require_floating("linear", x);
  require_same_dtype("linear", x, w);
  require_rank("linear", w, "weight", 2);
  FOVEA_CHECK(x.shape.rank() == 2, "linear: input must be [..., in], but its shape is {}", x.shape);
  require_features("linear", x.shape, w.shape);
  FOVEA_CHECK(x.shape[1] >= 1 && w.shape[0] >= 1,
              "linear: input {} and weight {} must have at least one feature each", x.shape,
              w.shape);
  if (const TensorSpec& bias = inputs[2]; bias.defined) {
    require_same_dtype("linear", x, bias);
    FOVEA_CHECK(bias.shape == Shape{w.shape[0]},
                "linear: bias is {} but weight {} needs [{}], one number per output", bias.shape,
                w.shape, w.shape[0]);
  }
  return {make_spec({x.shape[0], w.shape[0]}, x.dtype)};
}

// Of linear and, with a residual behind the bias, of linear_fused.
void linear_run(Inputs inputs, const Attributes& attributes, Outputs outputs) {
  const auto row_major = [&](std::size_t input) {
    const bool given = input < inputs.size() && inputs[input].defined();
    return given ? dense(inputs[input], Layout::row_major) : Tensor();
  };
  const Tensor x = row_major(0);
  const Tensor w = row_major(1);
  const Tensor bias = row_major(2);
  const Tensor residual = row_major(3);
  const ConvProblem problem = pointwise(x.size(0), x.size(1), w.size(0), x.dtype());
  conv::ConvArgs args{.first = data_of(x),
                      .second = data_of(w),
                      .bias = data_of(bias),
                      .result = mutable_data_of(outputs[0]),
                      .weights = conv::weight_storage(w),
                      .residual = data_of(residual)};
  if (inputs.size() > 3) set_activation(args, attributes);
  conv::run(problem, Pass::forward, {}, args);
}

// Of x, w and bias, given the gradient of the sums.
std::vector<Tensor> linear_gradients(const BackwardCall& call, const Tensor& g) {
  std::vector<Tensor> grads(3);
  if (call.needs_grad[0]) grads[0] = apply1(matmul, {g, call.inputs[1]});
  if (call.needs_grad[1])
    grads[1] = apply1(matmul, {apply1(permute, {g}, {{"axes", Shape{1, 0}}}), call.inputs[0]});
  if (call.needs_grad[2]) grads[2] = apply1(sum, {g}, {{"axes", Shape{0}}, {"keep", false}});
  return grads;
}

std::vector<Tensor> linear_backward(const BackwardCall& call) {
  return linear_gradients(call, call.grads[0]);
}

OpCost linear_cost(Specs inputs, Specs outputs, const Attributes&) {
  const Shape& w = inputs[1].shape;
  std::size_t bytes = outputs[0].bytes();
  for (const TensorSpec& input : inputs) bytes += input.defined ? input.bytes() : 0;
  return {.multiply_adds = inputs[0].shape[0] * w[0] * w[1],
          .bytes = static_cast<std::int64_t>(bytes)};
}

// --- linear_fused

std::vector<TensorSpec> linear_fused_infer(Specs inputs, const Attributes& attributes) {
  std::vector<TensorSpec> outputs = linear_infer(inputs, attributes);
  check_epilogue("linear", inputs, outputs[0], attributes);
  return outputs;
}

std::vector<Tensor> linear_fused_backward(const BackwardCall& call) {
  const Tensor g = through_activation(call.grads[0], call.outputs[0], call.attributes);
  std::vector<Tensor> grads = linear_gradients(call, g);
  grads.push_back(call.needs_grad[3] ? g : Tensor());
  return grads;
}

// --- matmul

// The call that transposes each matrix of a batch.
std::string transposition(int rank) {
  std::vector<int> axes(static_cast<std::size_t>(rank));
  std::iota(axes.begin(), axes.end(), 0);
  std::iter_swap(axes.end() - 1, axes.end() - 2);
  return fmt::format("permute({{{}}})", fmt::join(axes, ", "));
}

std::vector<TensorSpec> matmul_infer(Specs inputs, const Attributes&) {
  const TensorSpec& a = inputs[0];
  const TensorSpec& b = inputs[1];
  require_floating("matmul", a);
  require_same_dtype("matmul", a, b);
  const int rank = a.shape.rank();
  FOVEA_CHECK(rank >= 2 && b.shape.rank() == rank,
              "matmul: both inputs must be matrices, [M, K] and [K, N], or batches of them with "
              "equal axes in front, but their shapes are {} and {}",
              a.shape, b.shape);
  for (int axis = 0; axis < rank - 2; ++axis) {
    FOVEA_CHECK(a.shape[axis] == b.shape[axis],
                "matmul: the batches differ: axis {} is {} in {} and {} in {}", axis, a.shape[axis],
                a.shape, b.shape[axis], b.shape);
  }
  const std::int64_t columns = a.shape[rank - 1];
  const std::int64_t rows = b.shape[rank - 2];
  FOVEA_CHECK(columns == rows, "matmul: {} has {} columns but {} has {} rows; they must be equal{}",
              a.shape, columns, b.shape, rows,
              columns == b.shape[rank - 1]
                  ? ". Is the second one transposed? Use b." + transposition(rank) + "."
                  : "");
  Shape shape = a.shape;
  shape[rank - 1] = b.shape[rank - 1];
  return {make_spec(shape, a.dtype)};
}

// result = a b, row-major.
void multiply(const Tensor& a, const Tensor& b, void* result) {
  const std::int64_t m = a.size(0);
  const std::int64_t k = a.size(1);
  const std::int64_t n = b.size(1);
  const auto product = [&](const ConvProblem& problem, Pass pass, const Tensor& first,
                           const Tensor& second) {
    conv::run(problem, pass, {},
              {.first = data_of(first),
               .second = data_of(second),
               .result = result,
               .weights = pass == Pass::backward_weights ? nullptr : conv::weight_storage(second)});
  };
  if (transposed(b).is_contiguous()) {
    product(pointwise(m, k, n, a.dtype()), Pass::forward, dense(a, Layout::row_major),
            transposed(b));
  } else if (transposed(a).is_contiguous() && !a.is_contiguous()) {
    product(pointwise(k, n, m, a.dtype()), Pass::backward_weights, dense(b, Layout::row_major),
            transposed(a));
  } else {
    product(pointwise(m, n, k, a.dtype()), Pass::backward_data, dense(a, Layout::row_major),
            dense(b, Layout::row_major));
  }
}

// Matrix `index` of a batch, counted in row-major order.
Tensor matrix_of(const Tensor& batch, std::int64_t index) {
  const int rank = batch.rank();
  std::int64_t offset = 0;
  for (int axis = rank - 3; axis >= 0; --axis) {
    offset += index % batch.shape()[axis] * batch.strides()[axis];
    index /= batch.shape()[axis];
  }
  return view::strided(batch, offset, {batch.shape()[rank - 2], batch.shape()[rank - 1]},
                       {batch.strides()[rank - 2], batch.strides()[rank - 1]});
}

// Each matrix is a task of its own; one alone is cut further by the product itself.
void matmul_run(Inputs inputs, const Attributes&, Outputs outputs) {
  if (inputs[0].numel() == 0) return outputs[0].fill(0);  // sums of no products
  const Shape& shape = outputs[0].shape();
  const std::int64_t size = shape[shape.rank() - 1] * shape[shape.rank() - 2];
  char* result = static_cast<char*>(mutable_data_of(outputs[0]));
  const std::int64_t bytes = size * static_cast<std::int64_t>(size_of(outputs[0].dtype()));
  parallel_for(shape.numel() / size, [&](std::int64_t index) {
    multiply(matrix_of(inputs[0], index), matrix_of(inputs[1], index), result + index * bytes);
  });
}

std::vector<Tensor> matmul_backward(const BackwardCall& call) {
  const Tensor& g = call.grads[0];
  const auto flip = [](const Tensor& x) {
    Shape axes;
    for (int axis = 0; axis < x.rank() - 2; ++axis) axes.push_back(axis);
    axes.push_back(x.rank() - 1);
    axes.push_back(x.rank() - 2);
    return apply1(permute, {x}, {{"axes", axes}});
  };
  std::vector<Tensor> grads(2);
  if (call.needs_grad[0]) grads[0] = apply1(matmul, {g, flip(call.inputs[1])});
  if (call.needs_grad[1]) grads[1] = apply1(matmul, {flip(call.inputs[0]), g});
  return grads;
}

OpCost matmul_cost(Specs inputs, Specs outputs, const Attributes&) {
  const std::size_t bytes = inputs[0].bytes() + inputs[1].bytes() + outputs[0].bytes();
  return {.multiply_adds = inputs[0].numel() * inputs[1].shape.back(),
          .bytes = static_cast<std::int64_t>(bytes)};
}

}  // namespace

const OpDef linear = {.name = "linear",
                      .infer = linear_infer,
                      .run = linear_run,
                      .backward = linear_backward,
                      .saves = {.inputs = 0b11},
                      .cost = linear_cost,
                      .field = global_field};
const OpDef linear_fused = {.name = "linear_fused",
                            .infer = linear_fused_infer,
                            .run = linear_run,
                            .backward = linear_fused_backward,
                            .saves = {.inputs = 0b11, .outputs = 0b1},
                            .cost = linear_cost,
                            .field = global_field};
const OpDef matmul = {.name = "matmul",
                      .infer = matmul_infer,
                      .run = matmul_run,
                      .backward = matmul_backward,
                      .saves = {.inputs = 0b11},
                      .cost = matmul_cost,
                      .field = global_field};

}  // namespace fovea::ops
