// Pooling by sums: avg_pool, adaptive_avg_pool, lp_pool, and their derivatives [D section 3].
//
// Averages are linear: each backward operator is the transpose of its forward one, and the other
// way round. y = (sum |x|^p)^(1/p) has dL/dx = |x|^(p-1) sign(x) times the sum of g y^(1-p) over
// the windows that read x, and nothing where y is zero.
#include <algorithm>

#include "core/check.h"
#include "core/dispatch.h"
#include "fovea/executor.h"
#include "kernels/gather.h"
#include "kernels/pool.h"
#include "kernels/pool_lines.h"
#include "kernels/pool_window.h"
#include "ops/checks.h"
#include "ops/families.h"
#include "ops/pointwise.h"
#include "ops/pool_geometry.h"

namespace fovea::ops {
namespace {

constexpr std::int64_t kElementsPerTask = 1 << 17;  // of what is gathered

Divisor divisor_of(const Attributes& attributes) {
  return {.count_padding = attributes.flag("count_include_pad"),
          .fixed = attributes.integer("divisor")};
}

void check_divisor(std::string_view op, const Attributes& attributes) {
  const std::int64_t divisor = attributes.integer("divisor");
  FOVEA_CHECK(divisor >= 0, "{}: divisor {} must be positive, or 0 for none", op, divisor);
}

// Calls kernel(plane, first, last, x, y) for ranges of output cells.
template <class T, class Kernel>
void for_outputs(const kernels::PoolPlane& plane, const Tensor& x, Tensor& y,
                 const Kernel& kernel) {
  const T* in = x.data<T>();
  T* out = writable<T>(y);
  parallel_ranges(
      x.size(0) * plane.outputs(), pool_cells_per_task(plane),
      [&](std::int64_t first, std::int64_t last) { kernel(plane, first, last, in, out); });
}

void run_avg_pool(const kernels::PoolPlane& plane, const Tensor& x, Tensor& y) {
  dispatch_floating(x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    for_outputs<T>(plane, x, y, kernels::avg_pool<T>);
  });
}

// The windows, seen from the input cells.
kernels::GatherPlane readers_of(const kernels::PoolPlane& plane) {
  kernels::GatherPlane readers{.axes = {}, .channels = plane.channels};
  for (std::size_t i = 0; i < plane.axes.size(); ++i) {
    const kernels::PoolAxis& axis = plane.axes[i];
    readers.axes[i] = kernels::gather_axis(axis.inputs, axis.outputs, [&](const auto& add) {
      for (std::int64_t output = 0; output < axis.outputs; ++output) {
        const double weight = 1.0 / static_cast<double>(axis.counts[output]);
        for (std::int64_t tap = 0; tap < axis.taps; ++tap) {
          if (axis.at(tap, output) >= 0) add(axis.at(tap, output), output, weight);
        }
      }
    });
  }
  return readers;
}

template <class T>
void gather_means(const kernels::PoolPlane& plane, const T* g, Tensor& dx) {
  const kernels::GatherPlane readers = readers_of(plane);
  T* to = writable<T>(dx);
  const std::int64_t row = std::max<std::int64_t>(1, plane.axes[2].inputs * plane.channels);
  parallel_ranges(dx.size(0) * readers.input_rows(),
                  std::max<std::int64_t>(1, kElementsPerTask / row),
                  [&](std::int64_t first, std::int64_t last) {
                    kernels::gather_rows(readers, /*streamed=*/false, first, last, g, to);
                  });
}

void run_avg_pool_backward(const kernels::PoolPlane& plane, const Tensor& g, Tensor& dx) {
  dispatch_floating(g.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    const T* from = g.data<T>();
    // Cells that several windows read are better gathered than added to.
    if (!kernels::pools_by_lines<T>(plane) && !kernels::PoolCoverage(plane).disjoint)
      return gather_means(plane, from, dx);
    T* to = writable<T>(dx);
    for_channel_blocks(g.size(0), plane.channels, plane.inputs(),
                       [&](std::int64_t n, std::int64_t first, std::int64_t last) {
                         kernels::avg_pool_backward(plane, first, last,
                                                    from + n * plane.outputs() * plane.channels,
                                                    to + n * plane.inputs() * plane.channels);
                       });
  });
}

// What a backward operator gives: `g` is the gradient of pooling [N, C, attribute "input"] to
// `pooled` spatial sizes.
std::vector<TensorSpec> infer_backward_of(std::string_view op, const TensorSpec& g,
                                          const Attributes& attributes, const Shape& pooled) {
  const Shape& spatial = attributes.integers("input");
  FOVEA_CHECK(spatial_of(g.shape) == pooled,
              "{}: the gradient {} has spatial sizes {}, but pooling an input of {} gives {}", op,
              g.shape, spatial_of(g.shape), spatial, pooled);
  return {make_spec(with_spatial(g.shape, spatial), g.dtype, Layout::channels_last)};
}

void check_input_sizes(std::string_view op, const TensorSpec& g, const Attributes& attributes) {
  const Shape& spatial = attributes.integers("input");
  FOVEA_CHECK(spatial.rank() == g.shape.rank() - 2, "{}: input sizes {} do not fit the gradient {}",
              op, spatial, g.shape);
}

// --- avg_pool

std::vector<TensorSpec> avg_pool_infer(Specs inputs, const Attributes& attributes) {
  const TensorSpec& x = inputs[0];
  check_pool_input("avg_pool", x, attributes);
  check_divisor("avg_pool", attributes);
  const Shape output = pool_geometry("avg_pool", spatial_of(x.shape), attributes).output();
  return {make_spec(with_spatial(x.shape, output), x.dtype, Layout::channels_last)};
}

void avg_pool_run(Inputs inputs, const Attributes& attributes, Outputs outputs) {
  const Tensor x = dense(inputs[0], Layout::channels_last);
  const PoolTables tables(pool_geometry("avg_pool", spatial_of(x.shape()), attributes), x.size(1),
                          divisor_of(attributes));
  run_avg_pool(tables.plane(), x, outputs[0]);
}

std::vector<Tensor> avg_pool_backward_of(const BackwardCall& call) {
  return {apply1(avg_pool_backward, {call.grads[0]},
                 call.attributes.with("input", spatial_of(call.input_specs[0].shape)))};
}

OpField windowed(Specs, const Attributes& attributes) {
  return window_field(attributes);
}

std::vector<TensorSpec> avg_pool_backward_infer(Specs inputs, const Attributes& attributes) {
  constexpr std::string_view kName = "avg_pool_backward";
  const TensorSpec& g = inputs[0];
  check_pool_input(kName, g, attributes);
  check_divisor(kName, attributes);
  check_input_sizes(kName, g, attributes);
  return infer_backward_of(kName, g, attributes,
                           pool_geometry(kName, attributes.integers("input"), attributes).output());
}

void avg_pool_backward_run(Inputs inputs, const Attributes& attributes, Outputs outputs) {
  const Tensor g = dense(inputs[0], Layout::channels_last);
  const PoolTables tables(
      pool_geometry("avg_pool_backward", attributes.integers("input"), attributes), g.size(1),
      divisor_of(attributes));
  run_avg_pool_backward(tables.plane(), g, outputs[0]);
}

std::vector<Tensor> avg_pool_backward_backward(const BackwardCall& call) {
  return {apply1(avg_pool, {call.grads[0]}, call.attributes)};
}

// --- adaptive_avg_pool

std::vector<TensorSpec> adaptive_avg_pool_infer(Specs inputs, const Attributes& attributes) {
  const TensorSpec& x = inputs[0];
  check_adaptive_output("adaptive_avg_pool", x, attributes);
  return {make_spec(with_spatial(x.shape, attributes.integers("output")), x.dtype,
                    Layout::channels_last)};
}

void adaptive_avg_pool_run(Inputs inputs, const Attributes& attributes, Outputs outputs) {
  const Tensor x = dense(inputs[0], Layout::channels_last);
  const PoolTables tables(spatial_of(x.shape()), attributes.integers("output"), x.size(1));
  run_avg_pool(tables.plane(), x, outputs[0]);
}

std::vector<Tensor> adaptive_avg_pool_backward_of(const BackwardCall& call) {
  return {apply1(adaptive_avg_pool_backward, {call.grads[0]},
                 call.attributes.with("input", spatial_of(call.input_specs[0].shape)))};
}

std::vector<TensorSpec> adaptive_avg_pool_backward_infer(Specs inputs,
                                                         const Attributes& attributes) {
  constexpr std::string_view kName = "adaptive_avg_pool_backward";
  const TensorSpec& g = inputs[0];
  check_adaptive_output(kName, g, attributes);
  check_input_sizes(kName, g, attributes);
  return infer_backward_of(kName, g, attributes, attributes.integers("output"));
}

void adaptive_avg_pool_backward_run(Inputs inputs, const Attributes& attributes, Outputs outputs) {
  const Tensor g = dense(inputs[0], Layout::channels_last);
  const PoolTables tables(attributes.integers("input"), attributes.integers("output"), g.size(1));
  run_avg_pool_backward(tables.plane(), g, outputs[0]);
}

std::vector<Tensor> adaptive_avg_pool_backward_backward(const BackwardCall& call) {
  return {apply1(adaptive_avg_pool, {call.grads[0]}, call.attributes)};
}

// --- lp_pool

void check_norm(std::string_view op, const Attributes& attributes) {
  const double p = attributes.number("p");
  FOVEA_CHECK(p >= 1 && p <= 1e3, "{}: the norm's p is {}, but must be between 1 and 1000", op, p);
}

std::vector<TensorSpec> lp_pool_infer(Specs inputs, const Attributes& attributes) {
  const TensorSpec& x = inputs[0];
  check_pool_input("lp_pool", x, attributes);
  check_norm("lp_pool", attributes);
  const Shape output = pool_geometry("lp_pool", spatial_of(x.shape), attributes).output();
  return {make_spec(with_spatial(x.shape, output), x.dtype, Layout::channels_last)};
}

void lp_pool_run(Inputs inputs, const Attributes& attributes, Outputs outputs) {
  const Tensor x = dense(inputs[0], Layout::channels_last);
  const PoolTables tables(pool_geometry("lp_pool", spatial_of(x.shape()), attributes), x.size(1));
  const double p = attributes.number("p");
  dispatch_floating(x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    for_outputs<T>(tables.plane(), x, outputs[0],
                   [p](const kernels::PoolPlane& plane, std::int64_t first, std::int64_t last,
                       const T* in, T* out) { kernels::lp_pool(plane, p, first, last, in, out); });
  });
}

// The same derivative from operators that can be differentiated again.
Tensor lp_pool_slope(const BackwardCall& call) {
  const Tensor& x = call.inputs[0];
  const Tensor& y = call.outputs[0];
  const double p = call.attributes.number("p");
  const auto power = [](const Tensor& base, double exponent) {
    return apply1(pow, {base}, {{"exponent", exponent}});
  };
  // Where y is zero, so is x in all of the window: any finite number will do for y^(1-p).
  const Tensor is_zero = apply1(equal, {y, Tensor::scalar(0, y.dtype())});
  const Tensor share = apply1(mul, {call.grads[0], power(apply1(add, {y, is_zero}), 1 - p)});
  const Attributes sums = call.attributes.with("count_include_pad", true)
                              .with("divisor", std::int64_t{1})
                              .with("input", spatial_of(x.shape()));
  const Tensor spread = apply1(avg_pool_backward, {share}, sums);
  const Tensor magnitude = power(apply1(abs, {x}), p - 1);
  return apply1(abs_backward, {apply1(mul, {spread, magnitude}), x});
}

std::vector<Tensor> lp_pool_backward_of(const BackwardCall& call) {
  if (recording_enabled()) return {lp_pool_slope(call)};
  return {
      apply1(lp_pool_backward, {call.grads[0], call.inputs[0], call.outputs[0]}, call.attributes)};
}

std::vector<TensorSpec> lp_pool_backward_infer(Specs inputs, const Attributes& attributes) {
  constexpr std::string_view kName = "lp_pool_backward";
  const TensorSpec& x = inputs[1];
  check_pool_input(kName, x, attributes);
  check_norm(kName, attributes);
  require_same_dtype(kName, inputs[0], x);
  require_same_shape(kName, inputs[0], "the gradient", inputs[2], "the output");
  const Attributes with_input = attributes.with("input", spatial_of(x.shape));
  return infer_backward_of(kName, inputs[0], with_input,
                           pool_geometry(kName, spatial_of(x.shape), attributes).output());
}

void lp_pool_backward_run(Inputs inputs, const Attributes& attributes, Outputs outputs) {
  const Tensor g = dense(inputs[0], Layout::channels_last);
  const Tensor x = dense(inputs[1], Layout::channels_last);
  const Tensor y = dense(inputs[2], Layout::channels_last);
  const PoolTables tables(pool_geometry("lp_pool_backward", spatial_of(x.shape()), attributes),
                          x.size(1));
  const kernels::PoolPlane& plane = tables.plane();
  const double p = attributes.number("p");
  dispatch_floating(x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    const T* gradient = g.data<T>();
    const T* in = x.data<T>();
    const T* out = y.data<T>();
    T* to = writable<T>(outputs[0]);
    for_channel_blocks(g.size(0), plane.channels, plane.inputs(),
                       [&](std::int64_t n, std::int64_t first, std::int64_t last) {
                         const std::int64_t from = n * plane.outputs() * plane.channels;
                         const std::int64_t at = n * plane.inputs() * plane.channels;
                         kernels::lp_pool_backward(plane, p, first, last, gradient + from, in + at,
                                                   out + from, to + at);
                       });
  });
}

}  // namespace

const OpDef avg_pool = {.name = "avg_pool",
                        .infer = avg_pool_infer,
                        .run = avg_pool_run,
                        .backward = avg_pool_backward_of,
                        .field = windowed};
const OpDef avg_pool_backward = {.name = "avg_pool_backward",
                                 .infer = avg_pool_backward_infer,
                                 .run = avg_pool_backward_run,
                                 .backward = avg_pool_backward_backward,
                                 .field = global_field};
const OpDef adaptive_avg_pool = {.name = "adaptive_avg_pool",
                                 .infer = adaptive_avg_pool_infer,
                                 .run = adaptive_avg_pool_run,
                                 .backward = adaptive_avg_pool_backward_of,
                                 .field = adaptive_field};
const OpDef adaptive_avg_pool_backward = {.name = "adaptive_avg_pool_backward",
                                          .infer = adaptive_avg_pool_backward_infer,
                                          .run = adaptive_avg_pool_backward_run,
                                          .backward = adaptive_avg_pool_backward_backward,
                                          .field = global_field};
const OpDef lp_pool = {.name = "lp_pool",
                       .infer = lp_pool_infer,
                       .run = lp_pool_run,
                       .backward = lp_pool_backward_of,
                       .saves = {.inputs = kFirst, .outputs = kFirst},
                       .field = windowed};
const OpDef lp_pool_backward = {.name = "lp_pool_backward",
                                .infer = lp_pool_backward_infer,
                                .run = lp_pool_backward_run,
                                .field = global_field};

}  // namespace fovea::ops
