// From attributes to a problem, from tensors to memory.
#include "ops/conv_problem.h"

#include <algorithm>

#include "core/check.h"
#include "core/dispatch.h"
#include "ops/checks.h"
#include "ops/epilogue.h"

namespace fovea::ops {

std::string conv_name(int dims) {
  return fmt::format("conv{}d", dims);
}

ConvProblem make_problem(const Shape& x, const Shape& w, DType dtype,
                         const Attributes& attributes) {
  ConvProblem problem;
  problem.dims = x.rank() - 2;
  problem.batch = x[0];
  problem.in_channels = x[1];
  problem.out_channels = w[0];
  problem.groups = attributes.integer("groups");
  problem.dtype = dtype;
  problem.padding_mode = static_cast<PaddingMode>(attributes.integer("padding_mode"));
  problem.padding_value = attributes.number("padding_value");
  const Shape& stride = attributes.integers("stride");
  const Shape& dilation = attributes.integers("dilation");
  const Shape& before = attributes.integers("before");
  const Shape& after = attributes.integers("after");
  for (int i = 0; i < problem.dims; ++i) {
    problem.axes[static_cast<std::size_t>(i)] = {.input = x[i + 2],
                                                 .kernel = w[i + 2],
                                                 .stride = stride[i],
                                                 .dilation = dilation[i],
                                                 .padding = {before[i], after[i]}};
  }
  return problem;
}

PlanOptions plan_options(const Attributes& attributes) {
  return {.algorithm = attributes.text("algorithm"),
          .precision = static_cast<Precision>(attributes.integer("precision")),
          .workspace_limit = attributes.integer("workspace_limit")};
}

std::string layout_hint(const Shape& x, std::int64_t channels) {
  if (x.back() != channels) return {};
  Shape order{0, x.rank() - 1};
  for (int axis = 1; axis < x.rank() - 1; ++axis) order.push_back(axis);
  constexpr std::string_view kNames[] = {"N,W,C", "N,H,W,C", "N,D,H,W,C"};
  return fmt::format(" The last axis has {}: is this {} data? Use input.permute({{{}}}).", channels,
                     kNames[x.rank() - 3], fmt::join(order, ", "));
}

ConvProblem with_a_sample(ConvProblem problem) {
  problem.batch = std::max<std::int64_t>(problem.batch, 1);
  return problem;
}

ConvProblem checked_problem(const std::string& op, const TensorSpec& x, const TensorSpec& w,
                            const Attributes& attributes) {
  require_floating(op, x, "input");
  require_same_dtype(op, x, w);
  const std::int64_t groups = attributes.integer("groups");
  FOVEA_CHECK(groups >= 1 && groups <= std::max<std::int64_t>(x.shape[1], 1),
              "{}: groups is {}, but must be at least 1 and at most the {} input channels", op,
              groups, x.shape[1]);
  const std::int64_t channels = w.shape[1] * groups;
  FOVEA_CHECK(x.shape[1] == channels,
              "{}: input has {} channels (shape {}) but weight {} with groups={} needs {}.{}", op,
              x.shape[1], x.shape, w.shape, groups, channels, layout_hint(x.shape, channels));
  ConvProblem problem = make_problem(x.shape, w.shape, x.dtype, attributes);
  with_a_sample(problem).validate(op);
  return problem;
}

Shape with_channels(const Shape& spatial, std::int64_t first, std::int64_t second) {
  Shape shape{first, second};
  for (const std::int64_t size : spatial) shape.push_back(size);
  return shape;
}

Shape all_but_channels(int rank) {
  Shape axes{0};
  for (int axis = 2; axis < rank; ++axis) axes.push_back(axis);
  return axes;
}

void run_conv_pass(Pass pass, const ConvProblem& problem, const Attributes& attributes,
                   Inputs inputs, Tensor& result) {
  if (problem.batch == 0) return result.fill(0);
  // Undefined where there is no such input.
  const auto in_layout = [&](std::size_t input, Layout layout) {
    const bool given = input < inputs.size() && inputs[input].defined();
    return given ? dense(inputs[input], layout) : Tensor();
  };
  const bool weights_second = pass != Pass::backward_weights;
  const Tensor first = in_layout(0, Layout::channels_last);
  const Tensor second = in_layout(1, weights_second ? Layout::row_major : Layout::channels_last);
  const Tensor bias = in_layout(2, Layout::row_major);
  const Tensor residual = in_layout(3, Layout::channels_last);
  dispatch_floating(problem.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    conv::ConvArgs args{.first = first.data<T>(),
                        .second = second.data<T>(),
                        .bias = bias.defined() ? bias.data<T>() : nullptr,
                        .result = writable<T>(result),
                        .weights = weights_second ? conv::weight_storage(second) : nullptr,
                        .residual = residual.defined() ? residual.data<T>() : nullptr};
    if (inputs.size() > 3) set_activation(args, attributes);
    conv::run(problem, pass, plan_options(attributes), args);
  });
}

OpField problem_field(const ConvProblem& problem) {
  OpField field;
  for (int i = 0; i < problem.dims; ++i) {
    const ConvAxis& axis = problem.axes[static_cast<std::size_t>(i)];
    field.window.push_back(axis.span());
    field.stride.push_back(axis.stride);
    field.before.push_back(axis.padding.before);
  }
  return field;
}

OpCost conv_cost(Specs inputs, Specs outputs, const ConvProblem& problem) {
  OpCost cost{.multiply_adds = problem.multiply_adds(), .bytes = 0};
  for (const TensorSpec& spec : inputs)
    cost.bytes += spec.defined ? static_cast<std::int64_t>(spec.bytes()) : 0;
  for (const TensorSpec& spec : outputs) cost.bytes += static_cast<std::int64_t>(spec.bytes());
  return cost;
}

}  // namespace fovea::ops
