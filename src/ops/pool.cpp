// Pooling: max_pool with positions, avg_pool, and their adjoints [D section 3].
//
// max_pool is a choice of cells, so its derivative moves numbers along the recorded positions:
// pool_scatter adds them up, pool_gather reads them back, and each is the other's derivative.
// avg_pool is linear: avg_pool_backward is its transpose, and the other way round. Which cells a
// window reads comes from the patch table.
#include <algorithm>
#include <array>
#include <functional>
#include <limits>
#include <optional>

#include "conv/patch_table.h"
#include "core/check.h"
#include "core/dispatch.h"
#include "fovea/executor.h"
#include "kernels/pool.h"
#include "ops/checks.h"
#include "ops/families.h"

namespace fovea::ops {
namespace {

constexpr std::int64_t kLargest =
    std::numeric_limits<std::int32_t>::max();    // of what a patch table can name
constexpr std::int64_t kReadsPerTask = 1 << 14;  // elements read by one parallel task
constexpr std::int64_t kChannelsPerTask = 64;    // where tasks are cut over channels

Shape spatial_of(const Shape& shape) {
  return Shape(std::span<const std::int64_t>(shape.begin() + 2, shape.end()));
}

Shape with_spatial(const Shape& shape, const Shape& spatial) {
  Shape result = {shape[0], shape[1]};
  for (const std::int64_t size : spatial) result.push_back(size);
  return result;
}

struct Geometry {
  int dims = 0;
  std::array<ConvAxis, 3> axes;

  Shape output() const {
    Shape result;
    for (int i = 0; i < dims; ++i) result.push_back(axes[static_cast<std::size_t>(i)].output());
    return result;
  }
};

// The first output whose window reads nothing but padding: dilated windows can step over a small
// input.
std::optional<std::int64_t> empty_window(const ConvAxis& axis) {
  if (axis.padding.before == 0 && axis.padding.after == 0) return std::nullopt;
  for (std::int64_t output = 0; output < axis.output(); ++output) {
    const std::int64_t start = output * axis.stride - axis.padding.before;
    const std::int64_t skipped = start < 0 ? (-start + axis.dilation - 1) / axis.dilation : 0;
    if (start + skipped * axis.dilation >= axis.input) return output;
  }
  return std::nullopt;
}

void check_axis(std::string_view op, const ConvAxis& axis, int dimension) {
  FOVEA_CHECK(
      axis.kernel >= 1 && axis.stride >= 1 && axis.dilation >= 1 && axis.kernel <= kLargest &&
          axis.stride <= kLargest && axis.dilation <= kLargest,
      "{}: window {}, stride {} and dilation {} of spatial dimension {} must be between 1 and {}",
      op, axis.kernel, axis.stride, axis.dilation, dimension, kLargest);
  FOVEA_CHECK(axis.padding.before >= 0 && axis.padding.before <= axis.kernel / 2,
              "{}: padding {} of spatial dimension {} must be between 0 and half the window: {} / "
              "2 = {}. A window "
              "further out would read padding only.",
              op, axis.padding.before, dimension, axis.kernel, axis.kernel / 2);
  const std::int64_t padded = axis.input + axis.padding.before + axis.padding.after;
  FOVEA_CHECK(axis.input >= 1 && axis.span() <= padded,
              "{}: the window is larger than the padded input in spatial dimension {}: it spans "
              "dilation * (window - "
              "1) + 1 = {} * ({} - 1) + 1 = {} cells, but there are {} + {} + {} = {}. Use a "
              "smaller window or pool "
              "less often before.",
              op, dimension, axis.dilation, axis.kernel, axis.span(), axis.input,
              axis.padding.before, axis.padding.after, padded);
  // The table, and the work, would hold window * output cells.
  FOVEA_CHECK(axis.input <= kLargest && axis.output() <= kLargest / 8 / axis.kernel,
              "{}: spatial dimension {} has {} windows of {} cells; more than {} reads are not "
              "supported. Use a larger "
              "stride.",
              op, dimension, axis.output(), axis.kernel, kLargest / 8);
  const std::optional<std::int64_t> empty = empty_window(axis);
  FOVEA_CHECK(!empty,
              "{}: window {} with dilation {} at output {} of spatial dimension {} reads padding "
              "only, because it "
              "steps over the input of {}. Use less dilation or no padding.",
              op, axis.kernel, axis.dilation, empty.value_or(0), dimension, axis.input);
}

// The windows over `spatial` cells; `dilation` is absent where an operator has none.
Geometry geometry_of(std::string_view op, const Shape& spatial, const Attributes& attributes,
                     const Shape* dilation) {
  const Shape& window = attributes.integers("window");
  const Shape& stride = attributes.integers("stride");
  const Shape& padding = attributes.integers("padding");
  Geometry geometry;
  geometry.dims = window.rank();
  std::int64_t cells = 1;
  for (int i = 0; i < geometry.dims; ++i) {
    ConvAxis& axis = geometry.axes[static_cast<std::size_t>(i)];
    axis = {.input = spatial[i],
            .kernel = window[i],
            .stride = stride[i],
            .dilation = dilation != nullptr ? (*dilation)[i] : 1,
            .padding = {padding[i], padding[i]}};
    check_axis(op, axis, i);
    FOVEA_CHECK(!__builtin_mul_overflow(cells, axis.input, &cells) && cells <= kLargest,
                "{}: the spatial sizes {} have more than {} cells", op, spatial, kLargest);
  }
  return geometry;
}

void check_input(std::string_view op, const TensorSpec& input, const Attributes& attributes) {
  require_floating(op, input);
  const int dims = attributes.integers("window").rank();
  FOVEA_CHECK(dims >= 1 && dims <= 3, "{}: window {} has {} dimensions, expected 1 to 3", op,
              attributes.integers("window"), dims);
  FOVEA_CHECK(
      attributes.integers("stride").rank() == dims && attributes.integers("padding").rank() == dims,
      "{}: window {}, stride {} and padding {} must have one number per spatial dimension each", op,
      attributes.integers("window"), attributes.integers("stride"), attributes.integers("padding"));
  constexpr std::string_view kAxes[] = {"[N, C, L]", "[N, C, H, W]", "[N, C, D, H, W]"};
  const std::string_view hint =
      input.shape.rank() == dims + 1
          ? " A single sample needs a batch axis of size one in front: reshape it."
      : input.shape.rank() == dims + 2
          ? ""
          : " Give a window of as many dimensions as the input has spatial axes.";
  FOVEA_CHECK(input.shape.rank() == dims + 2,
              "{}: window {} has {} dimension(s), so the input must be {}, but its shape is {}.{}",
              op, attributes.integers("window"), dims, kAxes[dims - 1], input.shape, hint);
}

// The tables behind a kernel's PoolPlane.
struct Tables {
  std::array<conv::AxisTable, 3> axes;
  kernels::PoolPlane plane;

  Tables(const Geometry& geometry, std::int64_t channels) {
    const std::size_t missing = static_cast<std::size_t>(3 - geometry.dims);
    for (std::size_t i = 0; i < 3; ++i) {
      const ConvAxis axis = i < missing ? ConvAxis{} : geometry.axes[i - missing];
      axes[i] = conv::make_axis_table(axis, PaddingMode::zeros);
      plane.axes[i] = {.cells = axes[i].row(0),
                       .tap_step = axes[i].tap_step,
                       .output_step = axes[i].output_step,
                       .taps = axis.kernel,
                       .outputs = axis.output(),
                       .inputs = axis.input};
    }
    plane.channels = channels;
  }
};

// Output cells per task, from the problem alone.
std::int64_t cells_per_task(const kernels::PoolPlane& plane) {
  return std::max<std::int64_t>(
      1, kReadsPerTask / (plane.taps() * std::max<std::int64_t>(plane.channels, 1)));
}

// Calls body(sample, first channel, last channel) in parallel, for pieces that share no cell of the
// input plane.
void for_channel_blocks(std::int64_t batch, std::int64_t channels, std::int64_t input_cells,
                        const std::function<void(std::int64_t, std::int64_t, std::int64_t)>& body) {
  const std::int64_t blocks = (channels + kChannelsPerTask - 1) / kChannelsPerTask;
  const std::int64_t work =
      std::max<std::int64_t>(1, std::min(channels, kChannelsPerTask) * input_cells);
  parallel_ranges(batch * blocks, std::max<std::int64_t>(1, kReadsPerTask / work),
                  [&](std::int64_t begin, std::int64_t end) {
                    for (std::int64_t piece = begin; piece < end; ++piece) {
                      const std::int64_t first = piece % blocks * kChannelsPerTask;
                      body(piece / blocks, first, std::min(first + kChannelsPerTask, channels));
                    }
                  });
}

// --- max_pool

Geometry max_pool_geometry(const Shape& shape, const Attributes& attributes) {
  return geometry_of("max_pool", spatial_of(shape), attributes, &attributes.integers("dilation"));
}

std::vector<TensorSpec> max_pool_infer(Specs inputs, const Attributes& attributes) {
  const TensorSpec& x = inputs[0];
  check_input("max_pool", x, attributes);
  FOVEA_CHECK(attributes.integers("dilation").rank() == x.shape.rank() - 2,
              "max_pool: dilation {} must have one number per spatial dimension of {}",
              attributes.integers("dilation"), x.shape);
  const Shape shape = with_spatial(x.shape, max_pool_geometry(x.shape, attributes).output());
  return {make_spec(shape, x.dtype, Layout::channels_last),
          make_spec(shape, DType::int64, Layout::channels_last)};
}

void max_pool_run(Inputs inputs, const Attributes& attributes, Outputs outputs) {
  const Tensor x = dense(inputs[0], Layout::channels_last);
  const Tables tables(max_pool_geometry(x.shape(), attributes), x.size(1));
  std::int64_t* positions = outputs[1].mutable_data<std::int64_t>();
  dispatch_floating(x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    const T* in = x.data<T>();
    T* out = outputs[0].mutable_data<T>();
    parallel_ranges(x.size(0) * tables.plane.outputs(), cells_per_task(tables.plane),
                    [&](std::int64_t first, std::int64_t last) {
                      kernels::max_pool(tables.plane, first, last, in, out, positions);
                    });
  });
}

std::vector<Tensor> max_pool_backward(const BackwardCall& call) {
  return {apply1(pool_scatter, {call.grads[0], call.outputs[1]},
                 {{"input", spatial_of(call.input_specs[0].shape)}})};
}

OpField window_field(const Attributes& attributes, const Shape* dilation) {
  OpField field;
  field.stride = attributes.integers("stride");
  field.before = attributes.integers("padding");
  const Shape& window = attributes.integers("window");
  for (int i = 0; i < window.rank(); ++i) {
    const ConvAxis axis = {
        .kernel = window[i], .dilation = dilation != nullptr ? (*dilation)[i] : 1, .padding = {}};
    field.window.push_back(axis.span());
  }
  return field;
}

OpField max_pool_field(Specs, const Attributes& attributes) {
  return window_field(attributes, &attributes.integers("dilation"));
}

// --- pool_scatter, pool_gather

void check_positions(std::string_view op, const TensorSpec& positions) {
  FOVEA_CHECK(positions.dtype == DType::int64 && positions.shape.rank() >= 3,
              "{}: positions must be int64 [N, C, spatial...] as max_pool gives them, got {} {}",
              op, name(positions.dtype), positions.shape);
}

// Positions come from tensors that could have been written to since: one outside the plane must not
// reach memory.
void check_position_values(std::string_view op, const Tensor& positions, std::int64_t cells) {
  const std::int64_t* values = positions.data<std::int64_t>();
  const std::int64_t count = positions.numel();
  std::uint64_t highest = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    highest = std::max(highest, static_cast<std::uint64_t>(values[i]));
  }
  FOVEA_CHECK(count == 0 || highest < static_cast<std::uint64_t>(cells),
              "{}: position {} is outside the input plane of {} cells", op,
              static_cast<std::int64_t>(highest), cells);
}

std::vector<TensorSpec> pool_scatter_infer(Specs inputs, const Attributes& attributes) {
  const TensorSpec& g = inputs[0];
  require_floating("pool_scatter", g, "gradient");
  check_positions("pool_scatter", inputs[1]);
  require_same_shape("pool_scatter", g, "gradient", inputs[1], "positions");
  const Shape& spatial = attributes.integers("input");
  FOVEA_CHECK(spatial.rank() == g.shape.rank() - 2,
              "pool_scatter: input sizes {} do not fit the gradient {}", spatial, g.shape);
  return {make_spec(with_spatial(g.shape, spatial), g.dtype, Layout::channels_last)};
}

void pool_scatter_run(Inputs inputs, const Attributes& attributes, Outputs outputs) {
  const Tensor g = dense(inputs[0], Layout::channels_last);
  const Tensor positions = dense(inputs[1], Layout::channels_last);
  const std::int64_t channels = g.size(1);
  const std::int64_t cells = spatial_of(g.shape()).numel();
  const std::int64_t input_cells = attributes.integers("input").numel();
  check_position_values("pool_scatter", positions, input_cells);
  dispatch_floating(g.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    const T* from = g.data<T>();
    const std::int64_t* where = positions.data<std::int64_t>();
    T* to = outputs[0].mutable_data<T>();
    for_channel_blocks(
        g.size(0), channels, input_cells,
        [&](std::int64_t n, std::int64_t first, std::int64_t last) {
          T* plane = to + n * input_cells * channels;
          for (std::int64_t cell = 0; cell < input_cells; ++cell) {
            std::fill(plane + cell * channels + first, plane + cell * channels + last, T{0});
          }
          for (std::int64_t cell = n * cells; cell < (n + 1) * cells; ++cell) {
            for (std::int64_t c = first; c < last; ++c) {
              plane[where[cell * channels + c] * channels + c] += from[cell * channels + c];
            }
          }
        });
  });
}

std::vector<Tensor> pool_scatter_backward(const BackwardCall& call) {
  return {apply1(pool_gather, {call.grads[0], call.inputs[1]}), Tensor()};
}

std::vector<TensorSpec> pool_gather_infer(Specs inputs, const Attributes&) {
  const TensorSpec& x = inputs[0];
  require_floating("pool_gather", x);
  check_positions("pool_gather", inputs[1]);
  const Shape& shape = inputs[1].shape;
  FOVEA_CHECK(x.shape.rank() == shape.rank() && x.shape[0] == shape[0] && x.shape[1] == shape[1],
              "pool_gather: input {} and positions {} must agree in batch and channels", x.shape,
              shape);
  return {make_spec(shape, x.dtype, Layout::channels_last)};
}

void pool_gather_run(Inputs inputs, const Attributes&, Outputs outputs) {
  const Tensor x = dense(inputs[0], Layout::channels_last);
  const Tensor positions = dense(inputs[1], Layout::channels_last);
  const std::int64_t channels = x.size(1);
  const std::int64_t cells = spatial_of(positions.shape()).numel();
  const std::int64_t input_cells = spatial_of(x.shape()).numel();
  check_position_values("pool_gather", positions, input_cells);
  dispatch_floating(x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    const T* from = x.data<T>();
    const std::int64_t* where = positions.data<std::int64_t>();
    T* to = outputs[0].mutable_data<T>();
    const std::int64_t grain =
        std::max<std::int64_t>(1, kReadsPerTask / std::max<std::int64_t>(channels, 1));
    parallel_ranges(x.size(0) * cells, grain, [&](std::int64_t first, std::int64_t last) {
      for (std::int64_t cell = first; cell < last; ++cell) {
        const T* plane = from + cell / cells * input_cells * channels;
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

// --- avg_pool

std::vector<TensorSpec> avg_pool_infer(Specs inputs, const Attributes& attributes) {
  const TensorSpec& x = inputs[0];
  check_input("avg_pool", x, attributes);
  const Geometry geometry = geometry_of("avg_pool", spatial_of(x.shape), attributes, nullptr);
  return {make_spec(with_spatial(x.shape, geometry.output()), x.dtype, Layout::channels_last)};
}

void avg_pool_run(Inputs inputs, const Attributes& attributes, Outputs outputs) {
  const Tensor x = dense(inputs[0], Layout::channels_last);
  const bool count_padding = attributes.flag("count_include_pad");
  const Tables tables(geometry_of("avg_pool", spatial_of(x.shape()), attributes, nullptr),
                      x.size(1));
  dispatch_floating(x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    const T* in = x.data<T>();
    T* out = outputs[0].mutable_data<T>();
    parallel_ranges(x.size(0) * tables.plane.outputs(), cells_per_task(tables.plane),
                    [&](std::int64_t first, std::int64_t last) {
                      kernels::avg_pool(tables.plane, count_padding, first, last, in, out);
                    });
  });
}

std::vector<Tensor> avg_pool_backward_of(const BackwardCall& call) {
  return {apply1(avg_pool_backward, {call.grads[0]},
                 call.attributes.with("input", spatial_of(call.input_specs[0].shape)))};
}

OpField avg_pool_field(Specs, const Attributes& attributes) {
  return window_field(attributes, nullptr);
}

std::vector<TensorSpec> avg_pool_backward_infer(Specs inputs, const Attributes& attributes) {
  const TensorSpec& g = inputs[0];
  check_input("avg_pool_backward", g, attributes);
  const Shape& spatial = attributes.integers("input");
  FOVEA_CHECK(spatial.rank() == g.shape.rank() - 2,
              "avg_pool_backward: input sizes {} do not fit the gradient {}", spatial, g.shape);
  const Shape expected = geometry_of("avg_pool_backward", spatial, attributes, nullptr).output();
  FOVEA_CHECK(spatial_of(g.shape) == expected,
              "avg_pool_backward: the gradient {} has spatial sizes {}, but pooling an input of {} "
              "gives {}",
              g.shape, spatial_of(g.shape), spatial, expected);
  return {make_spec(with_spatial(g.shape, spatial), g.dtype, Layout::channels_last)};
}

void avg_pool_backward_run(Inputs inputs, const Attributes& attributes, Outputs outputs) {
  const Tensor g = dense(inputs[0], Layout::channels_last);
  const bool count_padding = attributes.flag("count_include_pad");
  const Tables tables(
      geometry_of("avg_pool_backward", attributes.integers("input"), attributes, nullptr),
      g.size(1));
  const kernels::PoolPlane& plane = tables.plane;
  dispatch_floating(g.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    const T* from = g.data<T>();
    T* to = outputs[0].mutable_data<T>();
    for_channel_blocks(g.size(0), plane.channels, plane.inputs(),
                       [&](std::int64_t n, std::int64_t first, std::int64_t last) {
                         kernels::avg_pool_backward(plane, count_padding, first, last,
                                                    from + n * plane.outputs() * plane.channels,
                                                    to + n * plane.inputs() * plane.channels);
                       });
  });
}

std::vector<Tensor> avg_pool_backward_backward(const BackwardCall& call) {
  return {apply1(avg_pool, {call.grads[0]}, call.attributes)};
}

}  // namespace

const OpDef max_pool = {.name = "max_pool",
                        .infer = max_pool_infer,
                        .run = max_pool_run,
                        .backward = max_pool_backward,
                        .saves = {.outputs = 0b10},
                        .field = max_pool_field};
const OpDef pool_scatter = {.name = "pool_scatter",
                            .infer = pool_scatter_infer,
                            .run = pool_scatter_run,
                            .backward = pool_scatter_backward,
                            .saves = {.inputs = 0b10}};
const OpDef pool_gather = {.name = "pool_gather",
                           .infer = pool_gather_infer,
                           .run = pool_gather_run,
                           .backward = pool_gather_backward,
                           .saves = {.inputs = 0b10}};
const OpDef avg_pool = {.name = "avg_pool",
                        .infer = avg_pool_infer,
                        .run = avg_pool_run,
                        .backward = avg_pool_backward_of,
                        .field = avg_pool_field};
const OpDef avg_pool_backward = {.name = "avg_pool_backward",
                                 .infer = avg_pool_backward_infer,
                                 .run = avg_pool_backward_run,
                                 .backward = avg_pool_backward_backward};

}  // namespace fovea::ops
