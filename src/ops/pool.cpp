// Max pooling with positions, adaptive max pooling, max_unpool, and what moves numbers along
// positions [D section 3].
//
// Max pooling is a choice of cells, so its derivative moves numbers along the recorded positions:
// pool_scatter adds them up, pool_gather reads them back, and each is the other's derivative; so
// are max_unpool, which writes them, and max_unpool_gradient. Which cells a window reads comes from
// pool_geometry.h; pool_scatter that is given the windows walks over them.
#include <algorithm>

#include "core/check.h"
#include "core/dispatch.h"
#include "fovea/executor.h"
#include "kernels/pool.h"
#include "ops/checks.h"
#include "ops/families.h"
#include "ops/pool_geometry.h"

namespace fovea::ops {
namespace {

// --- max_pool, adaptive_max_pool

// With "positions" false, values alone: positions would be two thirds of what is written.
std::vector<TensorSpec> values_and_positions(const TensorSpec& x, const Shape& spatial,
                                             const Attributes& attributes) {
  const Shape shape = with_spatial(x.shape, spatial);
  std::vector<TensorSpec> specs = {make_spec(shape, x.dtype, Layout::channels_last)};
  if (!attributes.has("positions") || attributes.flag("positions"))
    specs.push_back(make_spec(shape, DType::int64, Layout::channels_last));
  return specs;
}

void run_max_pool(const kernels::PoolPlane& plane, const Tensor& x, Outputs outputs) {
  std::int64_t* positions = outputs.size() > 1 ? writable<std::int64_t>(outputs[1]) : nullptr;
  dispatch_floating(x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    const T* in = x.data<T>();
    T* out = writable<T>(outputs[0]);
    parallel_ranges(x.size(0) * plane.outputs(), pool_cells_per_task(plane),
                    [&](std::int64_t first, std::int64_t last) {
                      kernels::max_pool(plane, first, last, in, out, positions);
                    });
  });
}

std::vector<TensorSpec> max_pool_infer(Specs inputs, const Attributes& attributes) {
  const TensorSpec& x = inputs[0];
  check_pool_input("max_pool", x, attributes);
  return values_and_positions(
      x, pool_geometry("max_pool", spatial_of(x.shape), attributes).output(), attributes);
}

void max_pool_run(Inputs inputs, const Attributes& attributes, Outputs outputs) {
  const Tensor x = dense(inputs[0], Layout::channels_last);
  const PoolTables tables(pool_geometry("max_pool", spatial_of(x.shape()), attributes), x.size(1));
  run_max_pool(tables.plane(), x, outputs);
}

std::vector<Tensor> max_pool_backward(const BackwardCall& call) {
  return {apply1(pool_scatter, {call.grads[0], call.outputs[1]},
                 call.attributes.with("input", spatial_of(call.input_specs[0].shape)))};
}

OpField max_pool_field(Specs, const Attributes& attributes) {
  return window_field(attributes);
}

std::vector<TensorSpec> adaptive_max_pool_infer(Specs inputs, const Attributes& attributes) {
  check_adaptive_output("adaptive_max_pool", inputs[0], attributes);
  return values_and_positions(inputs[0], attributes.integers("output"), attributes);
}

void adaptive_max_pool_run(Inputs inputs, const Attributes& attributes, Outputs outputs) {
  const Tensor x = dense(inputs[0], Layout::channels_last);
  const PoolTables tables(spatial_of(x.shape()), attributes.integers("output"), x.size(1));
  run_max_pool(tables.plane(), x, outputs);
}

// --- pool_scatter, pool_gather, max_unpool

void check_positions(std::string_view op, const TensorSpec& positions) {
  FOVEA_CHECK(positions.dtype == DType::int64 && positions.shape.rank() >= 3,
              "{}: positions must be int64 [N, C, spatial...] as max_pool gives them, got {} {}",
              op, name(positions.dtype), positions.shape);
}

// Positions come from tensors that could have been written to since: one outside the plane must not
// reach memory.
void check_position_values(std::string_view op, const std::int64_t* positions, std::int64_t count,
                           std::int64_t cells) {
  // The sign bit of p or of cells - 1 - p is set where p is outside; so written, it needs no
  // comparison per element.
  const auto last = static_cast<std::uint64_t>(cells - 1);
  std::uint64_t signs = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    const auto position = static_cast<std::uint64_t>(positions[i]);
    signs |= position | (last - position);
  }
  if (signs >> 63 == 0) return;
  const std::int64_t* outside = std::find_if(
      positions, positions + count, [cells](std::int64_t p) { return p < 0 || p >= cells; });
  FOVEA_CHECK(false, "{}: position {} is outside the input plane of {} cells", op, *outside, cells);
}

std::vector<TensorSpec> pool_scatter_infer(Specs inputs, const Attributes& attributes) {
  const TensorSpec& g = inputs[0];
  require_floating("pool_scatter", g, "gradient");
  check_positions("pool_scatter", inputs[1]);
  require_same_shape("pool_scatter", g, "gradient", inputs[1], "positions");
  const Shape& spatial = attributes.integers("input");
  FOVEA_CHECK(spatial.rank() == g.shape.rank() - 2,
              "pool_scatter: input sizes {} do not fit the gradient {}", spatial, g.shape);
  if (attributes.has("window")) {
    const Shape output = pool_geometry("pool_scatter", spatial, attributes).output();
    FOVEA_CHECK(spatial_of(g.shape) == output,
                "pool_scatter: the gradient {} has spatial sizes {}, but pooling an input of {} "
                "gives {}",
                g.shape, spatial_of(g.shape), spatial, output);
  }
  return {make_spec(with_spatial(g.shape, spatial), g.dtype, Layout::channels_last)};
}

// Calls put(target, value) for each element of `values` and its place among `spatial` cells, in
// order, in planes that start as zeros.
template <class Put>
void scatter(std::string_view op, Inputs inputs, const Shape& spatial, Tensor& output,
             const Put& put) {
  const Tensor values = dense(inputs[0], Layout::channels_last);
  const Tensor positions = dense(inputs[1], Layout::channels_last);
  const std::int64_t channels = values.size(1);
  const std::int64_t cells = spatial_of(values.shape()).numel();
  const std::int64_t planes = spatial.numel();
  dispatch_floating(values.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    const T* from = values.data<T>();
    const std::int64_t* where = positions.data<std::int64_t>();
    T* to = writable<T>(output);
    for_channel_blocks(values.size(0), channels, planes,
                       [&](std::int64_t n, std::int64_t first, std::int64_t last) {
                         T* plane = to + n * planes * channels;
                         const bool all = last - first == channels;  // then in one run
                         const std::int64_t runs = all ? 1 : planes;
                         const std::int64_t run = all ? planes * channels : last - first;
                         for (std::int64_t i = 0; i < runs; ++i) {
                           std::fill_n(plane + i * channels + first, run, T{0});
                         }
                         for (std::int64_t cell = n * cells; cell < (n + 1) * cells; ++cell) {
                           const std::int64_t* row = where + cell * channels;
                           check_position_values(op, row + first, last - first, planes);
                           for (std::int64_t c = first; c < last; ++c) {
                             put(plane[row[c] * channels + c], from[cell * channels + c]);
                           }
                         }
                       });
  });
}

void scatter_by_windows(Inputs inputs, const Attributes& attributes, Tensor& output) {
  const Tensor g = dense(inputs[0], Layout::channels_last);
  const Tensor positions = dense(inputs[1], Layout::channels_last);
  const PoolTables tables(pool_geometry("pool_scatter", attributes.integers("input"), attributes),
                          g.size(1));
  const kernels::PoolPlane& plane = tables.plane();
  const std::int64_t* where = positions.data<std::int64_t>();
  dispatch_floating(g.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    const T* gradient = g.data<T>();
    T* to = writable<T>(output);
    for_channel_blocks(g.size(0), plane.channels, plane.inputs(),
                       [&](std::int64_t n, std::int64_t first, std::int64_t last) {
                         const std::int64_t from = n * plane.outputs() * plane.channels;
                         kernels::max_pool_backward(plane, first, last, gradient + from,
                                                    where + from,
                                                    to + n * plane.inputs() * plane.channels);
                       });
  });
}

// With the attributes of max_pool, the windows that the positions are in; without, anywhere.
void pool_scatter_run(Inputs inputs, const Attributes& attributes, Outputs outputs) {
  if (attributes.has("window")) return scatter_by_windows(inputs, attributes, outputs[0]);
  scatter("pool_scatter", inputs, attributes.integers("input"), outputs[0],
          [](auto& target, auto value) { target += value; });
}

std::vector<Tensor> pool_scatter_backward(const BackwardCall& call) {
  return {apply1(pool_gather, {call.grads[0], call.inputs[1]}), Tensor()};
}

// What a gradient is read back into: a number for each position.
std::vector<TensorSpec> gathered(std::string_view op, Specs inputs) {
  const TensorSpec& x = inputs[0];
  require_floating(op, x);
  check_positions(op, inputs[1]);
  const Shape& shape = inputs[1].shape;
  FOVEA_CHECK(x.shape.rank() == shape.rank() && x.shape[0] == shape[0] && x.shape[1] == shape[1],
              "{}: input {} and positions {} must agree in batch and channels", op, x.shape, shape);
  return {make_spec(shape, x.dtype, Layout::channels_last)};
}

std::vector<TensorSpec> pool_gather_infer(Specs inputs, const Attributes&) {
  return gathered("pool_gather", inputs);
}

void pool_gather_run(Inputs inputs, const Attributes&, Outputs outputs) {
  const Tensor x = dense(inputs[0], Layout::channels_last);
  const Tensor positions = dense(inputs[1], Layout::channels_last);
  const std::int64_t channels = x.size(1);
  const std::int64_t cells = spatial_of(positions.shape()).numel();
  const std::int64_t input_cells = spatial_of(x.shape()).numel();
  dispatch_floating(x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    const T* from = x.data<T>();
    const std::int64_t* where = positions.data<std::int64_t>();
    T* to = writable<T>(outputs[0]);
    const std::int64_t grain =
        std::max<std::int64_t>(1, kReadsPerTask / std::max<std::int64_t>(channels, 1));
    parallel_ranges(x.size(0) * cells, grain, [&](std::int64_t first, std::int64_t last) {
      for (std::int64_t cell = first; cell < last; ++cell) {
        const T* plane = from + cell / cells * input_cells * channels;
        check_position_values("pool_gather", where + cell * channels, channels, input_cells);
        for (std::int64_t c = 0; c < channels; ++c) {
          to[cell * channels + c] = plane[where[cell * channels + c] * channels + c];
        }
      }
    });
  });
}

std::vector<Tensor> pool_gather_backward(const BackwardCall& call) {
  return {apply1(pool_scatter, {call.grads[0], call.inputs[1]},
                 {{"input", spatial_of(call.input_specs[0].shape)}}),
          Tensor()};
}

std::vector<TensorSpec> max_unpool_infer(Specs inputs, const Attributes& attributes) {
  const TensorSpec& x = inputs[0];
  require_floating("max_unpool", x);
  check_positions("max_unpool", inputs[1]);
  require_same_shape("max_unpool", x, "input", inputs[1], "positions");
  const Shape& output = attributes.integers("output");
  FOVEA_CHECK(output.rank() == x.shape.rank() - 2,
              "max_unpool: output sizes {} must have one number per spatial dimension of the input "
              "{}",
              output, x.shape);
  return {make_spec(with_spatial(x.shape, output), x.dtype, Layout::channels_last)};
}

void max_unpool_run(Inputs inputs, const Attributes& attributes, Outputs outputs) {
  scatter("max_unpool", inputs, attributes.integers("output"), outputs[0],
          [](auto& target, auto value) { target = value; });
}

std::vector<Tensor> max_unpool_backward(const BackwardCall& call) {
  return {apply1(max_unpool_gradient, {call.grads[0], call.inputs[1]}), Tensor()};
}

std::vector<TensorSpec> max_unpool_gradient_infer(Specs inputs, const Attributes&) {
  return gathered("max_unpool_gradient", inputs);
}

// Of a place that several values were written to, the last one has the gradient.
void max_unpool_gradient_run(Inputs inputs, const Attributes&, Outputs outputs) {
  const Tensor g = dense(inputs[0], Layout::channels_last);
  const Tensor positions = dense(inputs[1], Layout::channels_last);
  const std::int64_t channels = g.size(1);
  const std::int64_t cells = spatial_of(positions.shape()).numel();
  const std::int64_t places = spatial_of(g.shape()).numel();
  dispatch_floating(g.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    const T* const from = g.data<T>();
    const std::int64_t* const where = positions.data<std::int64_t>();
    T* const to = writable<T>(outputs[0]);
    const auto block = [&](std::int64_t n, std::int64_t first, std::int64_t last) {
      const std::int64_t begin = n * cells * channels;
      std::vector<std::int64_t> writer(static_cast<std::size_t>(places));
      for (std::int64_t cell = 0; cell < cells; ++cell) {
        check_position_values("max_unpool", where + begin + cell * channels + first, last - first,
                              places);
      }
      for (std::int64_t c = first; c < last; ++c) {
        const std::int64_t end = begin + cells * channels;
        for (std::int64_t at = begin + c; at < end; at += channels)
          writer[static_cast<std::size_t>(where[at])] = at;
        for (std::int64_t at = begin + c; at < end; at += channels) {
          const bool stayed = writer[static_cast<std::size_t>(where[at])] == at;
          to[at] = stayed ? from[(n * places + where[at]) * channels + c] : T{0};
        }
      }
    };
    for_channel_blocks(g.size(0), channels, places, block);
  });
}

std::vector<Tensor> max_unpool_gradient_backward(const BackwardCall& call) {
  return {apply1(max_unpool, {call.grads[0], call.inputs[1]},
                 {{"output", spatial_of(call.input_specs[0].shape)}}),
          Tensor()};
}

}  // namespace

const OpDef max_pool = {.name = "max_pool",
                        .infer = max_pool_infer,
                        .run = max_pool_run,
                        .backward = max_pool_backward,
                        .saves = {.outputs = 0b10},
                        .field = max_pool_field};
const OpDef adaptive_max_pool = {.name = "adaptive_max_pool",
                                 .infer = adaptive_max_pool_infer,
                                 .run = adaptive_max_pool_run,
                                 .backward = max_pool_backward,
                                 .saves = {.outputs = 0b10},
                                 .field = adaptive_field};
const OpDef pool_scatter = {.name = "pool_scatter",
                            .infer = pool_scatter_infer,
                            .run = pool_scatter_run,
                            .backward = pool_scatter_backward,
                            .saves = {.inputs = 0b10},
                            .field = global_field};
const OpDef pool_gather = {.name = "pool_gather",
                           .infer = pool_gather_infer,
                           .run = pool_gather_run,
                           .backward = pool_gather_backward,
                           .saves = {.inputs = 0b10},
                           .field = global_field};
const OpDef max_unpool = {.name = "max_unpool",
                          .infer = max_unpool_infer,
                          .run = max_unpool_run,
                          .backward = max_unpool_backward,
                          .saves = {.inputs = 0b10},
                          .field = global_field};
const OpDef max_unpool_gradient = {.name = "max_unpool_gradient",
                                   .infer = max_unpool_gradient_infer,
                                   .run = max_unpool_gradient_run,
                                   .backward = max_unpool_gradient_backward,
                                   .saves = {.inputs = 0b10},
                                   .field = global_field};

}  // namespace fovea::ops
