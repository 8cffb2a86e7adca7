// Locally connected layers [C]: a weight matrix of its own for each position, times the column that
// unfold makes of the patch there.
//
// y[n, o, p] = sum over j of w[p, o, j] columns[n, g*J + j, p], where g is the group of output o
// and J = C_in/groups * taps. The product is linear in both, so the family {product, its gradient
// to the columns, to the weights} is closed under differentiation as that of conv is. Attribute:
// "groups".
#include <algorithm>

#include "core/check.h"
#include "core/dispatch.h"
#include "fovea/executor.h"
#include "kernels/local_product.h"
#include "ops/checks.h"
#include "ops/families.h"

namespace fovea::ops {
namespace {

using kernels::RowsOf;

// [N, groups * J, L], [L, O, J], [N, O, L]
struct LocalShapes {
  Shape columns;
  Shape weights;
  Shape outputs;
};

struct LocalProblem {
  kernels::LocalSizes sizes;  // of one group at one position
  std::int64_t groups;
  std::int64_t positions;

  std::int64_t column() const { return groups * sizes.values; }
  std::int64_t outputs() const { return groups * sizes.outputs; }
  std::int64_t matrix() const { return sizes.outputs * sizes.values; }
};

LocalProblem problem_of(const Shape& columns, std::int64_t outputs, std::int64_t groups) {
  return {
      .sizes = {.samples = columns[0], .outputs = outputs / groups, .values = columns[1] / groups},
      .groups = groups,
      .positions = columns[2]};
}

void require(const LocalShapes& shapes, std::int64_t groups) {
  constexpr std::string_view kOp = "locally_connected";
  const Shape& c = shapes.columns;
  const Shape& w = shapes.weights;
  FOVEA_CHECK(c.rank() == 3 && w.rank() == 3 && shapes.outputs.rank() == 3,
              "{}: columns {}, weight {} and outputs {} must have three axes each", kOp, c, w,
              shapes.outputs);
  FOVEA_CHECK(groups >= 1 && c[1] % groups == 0 && w[1] % groups == 0,
              "{}: {} values per patch and {} output channels do not divide into {} groups", kOp,
              c[1], w[1], groups);
  FOVEA_CHECK(
      w[0] == c[2] && w[2] == c[1] / groups,
      "{}: weight is {}, but {} output positions and patches of {} values in {} groups need "
      "[{}, C_out, {}]: [positions, C_out, C_in/groups * taps]",
      kOp, w, c[2], c[1], groups, c[2], c[1] / groups);
  const Shape expected{c[0], w[1], c[2]};
  FOVEA_CHECK(shapes.outputs == expected,
              "{}: the outputs are {}, but columns {} and weight {} "
              "give {}",
              kOp, shapes.outputs, c, w, expected);
}

// Calls f(place of the group's columns, of its weights, of its outputs) for every position and
// group, and spreads them over tasks.
template <class F>
void for_each_matrix(const LocalProblem& problem, const F& f) {
  const std::int64_t work = problem.matrix() * std::max<std::int64_t>(problem.sizes.samples, 1);
  const std::int64_t grain = std::max<std::int64_t>(1, (1 << 15) / std::max<std::int64_t>(work, 1));
  parallel_ranges(problem.positions * problem.groups, grain,
                  [&](std::int64_t begin, std::int64_t end) {
                    for (std::int64_t i = begin; i < end; ++i) {
                      f(i * problem.sizes.values, i * problem.matrix(), i * problem.sizes.outputs);
                    }
                  });
}

OpCost local_cost(Specs inputs, Specs outputs, std::int64_t weights, std::int64_t samples) {
  OpCost cost{.multiply_adds = weights * samples, .bytes = 0};
  for (const TensorSpec& spec : inputs) cost.bytes += static_cast<std::int64_t>(spec.bytes());
  for (const TensorSpec& spec : outputs) cost.bytes += static_cast<std::int64_t>(spec.bytes());
  return cost;
}

// ---- (columns, w) -> y

std::vector<TensorSpec> infer_product(Specs inputs, const Attributes& attributes) {
  require_floating("locally_connected", inputs[0]);
  require_same_dtype("locally_connected", inputs[0], inputs[1]);
  const Shape& c = inputs[0].shape;
  const Shape& w = inputs[1].shape;
  const Shape y = c.rank() == 3 && w.rank() == 3 ? Shape{c[0], w[1], c[2]} : Shape{};
  require({c, w, y}, attributes.integer("groups"));
  return {make_spec(y, inputs[0].dtype, Layout::channels_last)};
}

void run_product(Inputs inputs, const Attributes& attributes, Outputs outputs) {
  const LocalProblem problem =
      problem_of(inputs[0].shape(), inputs[1].shape()[1], attributes.integer("groups"));
  const Tensor columns = dense(inputs[0], Layout::channels_last);
  const Tensor weights = dense(inputs[1], Layout::row_major);
  dispatch_floating(columns.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    const T* x = columns.data<T>();
    const T* w = weights.data<T>();
    T* y = writable<T>(outputs[0]);
    for_each_matrix(problem, [&](std::int64_t at_x, std::int64_t at_w, std::int64_t at_y) {
      kernels::local_product<T>(
          problem.sizes, RowsOf<const T>{x + at_x, problem.positions * problem.column()}, w + at_w,
          RowsOf<T>{y + at_y, problem.positions * problem.outputs()});
    });
  });
}

std::vector<Tensor> gradient_of_product(const BackwardCall& call) {
  const Tensor& g = call.grads[0];
  std::vector<Tensor> grads(2);
  if (call.needs_grad[0])
    grads[0] = apply1(local_product_columns, {g, call.inputs[1]}, call.attributes);
  if (call.needs_grad[1])
    grads[1] = apply1(local_product_weights, {call.inputs[0], g}, call.attributes);
  return grads;
}

OpCost cost_of_product(Specs inputs, Specs outputs, const Attributes&) {
  return local_cost(inputs, outputs, inputs[1].numel(), inputs[0].shape[0]);
}

// ---- (g, w) -> columns

std::vector<TensorSpec> infer_columns(Specs inputs, const Attributes& attributes) {
  require_floating("locally_connected", inputs[0]);
  require_same_dtype("locally_connected", inputs[0], inputs[1]);
  const std::int64_t groups = attributes.integer("groups");
  const Shape& y = inputs[0].shape;
  const Shape& w = inputs[1].shape;
  const Shape c = y.rank() == 3 && w.rank() == 3 ? Shape{y[0], w[2] * groups, w[0]} : Shape{};
  require({c, w, y}, groups);
  return {make_spec(c, inputs[0].dtype, Layout::channels_last)};
}

void run_columns(Inputs inputs, const Attributes& attributes, Outputs outputs) {
  const LocalProblem problem =
      problem_of(outputs[0].shape(), inputs[1].shape()[1], attributes.integer("groups"));
  const Tensor gradient = dense(inputs[0], Layout::channels_last);
  const Tensor weights = dense(inputs[1], Layout::row_major);
  dispatch_floating(gradient.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    const T* g = gradient.data<T>();
    const T* w = weights.data<T>();
    T* x = writable<T>(outputs[0]);
    for_each_matrix(problem, [&](std::int64_t at_x, std::int64_t at_w, std::int64_t at_y) {
      kernels::local_product_values<T>(
          problem.sizes, RowsOf<const T>{g + at_y, problem.positions * problem.outputs()}, w + at_w,
          RowsOf<T>{x + at_x, problem.positions * problem.column()});
    });
  });
}

std::vector<Tensor> gradient_of_columns(const BackwardCall& call) {
  const Tensor& v = call.grads[0];
  std::vector<Tensor> grads(2);
  if (call.needs_grad[0]) grads[0] = apply1(local_product, {v, call.inputs[1]}, call.attributes);
  if (call.needs_grad[1])
    grads[1] = apply1(local_product_weights, {v, call.inputs[0]}, call.attributes);
  return grads;
}

// ---- (columns, g) -> w

std::vector<TensorSpec> infer_weights(Specs inputs, const Attributes& attributes) {
  require_floating("locally_connected", inputs[0]);
  require_same_dtype("locally_connected", inputs[0], inputs[1]);
  const std::int64_t groups = std::max<std::int64_t>(attributes.integer("groups"), 1);
  const Shape& c = inputs[0].shape;
  const Shape& y = inputs[1].shape;
  const Shape w = c.rank() == 3 && y.rank() == 3 ? Shape{c[2], y[1], c[1] / groups} : Shape{};
  require({c, w, y}, groups);
  return {make_spec(w, inputs[0].dtype)};
}

void run_weights(Inputs inputs, const Attributes& attributes, Outputs outputs) {
  if (inputs[0].shape()[0] == 0) return outputs[0].fill(0);
  const LocalProblem problem =
      problem_of(inputs[0].shape(), inputs[1].shape()[1], attributes.integer("groups"));
  const Tensor columns = dense(inputs[0], Layout::channels_last);
  const Tensor gradient = dense(inputs[1], Layout::channels_last);
  dispatch_floating(columns.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    const T* x = columns.data<T>();
    const T* g = gradient.data<T>();
    T* w = writable<T>(outputs[0]);
    for_each_matrix(problem, [&](std::int64_t at_x, std::int64_t at_w, std::int64_t at_y) {
      kernels::local_product_weights<T>(
          problem.sizes, RowsOf<const T>{x + at_x, problem.positions * problem.column()},
          RowsOf<const T>{g + at_y, problem.positions * problem.outputs()}, w + at_w);
    });
  });
}

std::vector<Tensor> gradient_of_weights(const BackwardCall& call) {
  const Tensor& u = call.grads[0];
  std::vector<Tensor> grads(2);
  if (call.needs_grad[0])
    grads[0] = apply1(local_product_columns, {call.inputs[1], u}, call.attributes);
  if (call.needs_grad[1]) grads[1] = apply1(local_product, {call.inputs[0], u}, call.attributes);
  return grads;
}

OpCost cost_of_weights(Specs inputs, Specs outputs, const Attributes&) {
  return local_cost(inputs, outputs, outputs[0].numel(), inputs[0].shape[0]);
}

}  // namespace

const OpDef local_product = {.name = "local_product",
                             .infer = infer_product,
                             .run = run_product,
                             .backward = gradient_of_product,
                             .saves = {.inputs = 0b11, .outputs = 0},
                             .cost = cost_of_product};

const OpDef local_product_columns = {.name = "local_product_columns",
                                     .infer = infer_columns,
                                     .run = run_columns,
                                     .backward = gradient_of_columns,
                                     .saves = {.inputs = 0b11, .outputs = 0},
                                     .cost = cost_of_product};

const OpDef local_product_weights = {.name = "local_product_weights",
                                     .infer = infer_weights,
                                     .run = run_weights,
                                     .backward = gradient_of_weights,
                                     .saves = {.inputs = 0b11, .outputs = 0},
                                     .cost = cost_of_weights,
                                     .field = global_field};

}  // namespace fovea::ops
