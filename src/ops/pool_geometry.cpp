// The windows of pooling: every user error about them is raised here, and the patch table of each
// axis says which cells a window reads.
#include "ops/pool_geometry.h"

#include <algorithm>
#include <limits>
#include <optional>

#include "core/check.h"
#include "fovea/executor.h"
#include "ops/checks.h"

namespace fovea::ops {
namespace {

constexpr std::int64_t kLargest =
    std::numeric_limits<std::int32_t>::max();  // of what a patch table can name
constexpr std::int64_t kChannelsPerTask = 64;  // where tasks are cut over channels

// The first output whose window reads nothing but padding: dilated windows can step over a small
// input.
std::optional<std::int64_t> empty_window(const ConvAxis& axis) {
  if (axis.padding.before == 0 && axis.padding.after <= 0) return std::nullopt;
  for (std::int64_t output = 0; output < axis.output(); ++output) {
    const std::int64_t start = output * axis.stride - axis.padding.before;
    const std::int64_t skipped = start < 0 ? (-start + axis.dilation - 1) / axis.dilation : 0;
    if (start + skipped * axis.dilation >= axis.input) return output;
  }
  return std::nullopt;
}

void check_sizes(std::string_view op, const ConvAxis& axis, int dimension) {
  FOVEA_CHECK(
      axis.kernel >= 1 && axis.stride >= 1 && axis.dilation >= 1 && axis.kernel <= kLargest &&
          axis.stride <= kLargest && axis.dilation <= kLargest,
      "{}: window {}, stride {} and dilation {} of spatial dimension {} must be between 1 and {}",
      op, axis.kernel, axis.stride, axis.dilation, dimension, kLargest);
  for (const std::int64_t padding : {axis.padding.before, axis.padding.after}) {
    FOVEA_CHECK(padding >= 0 && padding <= axis.kernel / 2,
                "{}: padding {} of spatial dimension {} must be between 0 and half the window: {} "
                "/ 2 = {}. A window further out would read padding only.",
                op, padding, dimension, axis.kernel, axis.kernel / 2);
  }
  const std::int64_t padded = axis.input + axis.padding.before + axis.padding.after;
  FOVEA_CHECK(axis.input >= 1 && axis.span() <= padded,
              "{}: the window is larger than the padded input in spatial dimension {}: it spans "
              "dilation * (window - "
              "1) + 1 = {} * ({} - 1) + 1 = {} cells, but there are {} + {} + {} = {}. Use a "
              "smaller window or pool "
              "less often before.",
              op, dimension, axis.dilation, axis.kernel, axis.span(), axis.input,
              axis.padding.before, axis.padding.after, padded);
}

// Moves the end of the padding to that of the last window: floor becomes ceil.
void round_up(ConvAxis& axis) {
  const std::int64_t room =
      axis.input + axis.padding.before + axis.padding.after - axis.span() + axis.stride - 1;
  std::int64_t last = room / axis.stride;
  if (last * axis.stride >= axis.input + axis.padding.before) --last;
  axis.padding.after = last * axis.stride + axis.span() - axis.input - axis.padding.before;
}

void check_windows(std::string_view op, const ConvAxis& axis, int dimension) {
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

void check_cells(std::string_view op, const Shape& spatial) {
  std::int64_t cells = 1;
  for (const std::int64_t size : spatial) {
    FOVEA_CHECK(!__builtin_mul_overflow(cells, size, &cells) && cells <= kLargest,
                "{}: the spatial sizes {} have more than {} cells", op, spatial, kLargest);
  }
}

const Shape* dilation_of(const Attributes& attributes) {
  return attributes.has("dilation") ? &attributes.integers("dilation") : nullptr;
}

// Of one axis: how many cells each window divides by.
std::vector<std::int64_t> window_counts(const ConvAxis& axis, std::int64_t padded_end,
                                        bool count_padding) {
  std::vector<std::int64_t> counts(static_cast<std::size_t>(axis.output()));
  const std::int64_t end = count_padding ? padded_end : axis.input;
  for (std::size_t output = 0; output < counts.size(); ++output) {
    const std::int64_t start =
        static_cast<std::int64_t>(output) * axis.stride - axis.padding.before;
    const std::int64_t last = std::min(start + axis.kernel, end);
    counts[output] = last - (count_padding ? start : std::max<std::int64_t>(start, 0));
  }
  return counts;
}

std::int64_t adaptive_begin(std::int64_t cell, std::int64_t input, std::int64_t output) {
  return cell * input / output;
}
std::int64_t adaptive_end(std::int64_t cell, std::int64_t input, std::int64_t output) {
  return ((cell + 1) * input + output - 1) / output;
}

// The windows of adaptive pooling as a table with a row per output, as long as the longest window.
conv::AxisTable adaptive_table(std::int64_t input, std::int64_t output) {
  std::int64_t taps = 1;
  for (std::int64_t o = 0; o < output; ++o) {
    taps = std::max(taps, adaptive_end(o, input, output) - adaptive_begin(o, input, output));
  }
  conv::AxisTable table;
  table.taps = static_cast<int>(taps);
  table.outputs = static_cast<int>(output);
  table.tap_step = 1;
  table.output_step = taps;
  table.cells.assign(static_cast<std::size_t>(taps * output), conv::kPaddingCell);
  for (std::int64_t o = 0; o < output; ++o) {
    const std::int64_t begin = adaptive_begin(o, input, output);
    const std::int64_t end = adaptive_end(o, input, output);
    for (std::int64_t cell = begin; cell < end; ++cell) {
      table.cells[static_cast<std::size_t>(o * taps + cell - begin)] =
          static_cast<std::int32_t>(cell);
    }
  }
  return table;
}

kernels::PoolAxis kernel_axis(const conv::AxisTable& table, std::int64_t inputs,
                              const std::vector<std::int64_t>& counts) {
  return {.cells = table.row(0),
          .counts = counts.data(),
          .tap_step = table.tap_step,
          .output_step = table.output_step,
          .taps = table.taps,
          .outputs = table.outputs,
          .inputs = inputs};
}

}  // namespace

Shape with_spatial(const Shape& shape, const Shape& spatial) {
  Shape result = {shape[0], shape[1]};
  for (const std::int64_t size : spatial) result.push_back(size);
  return result;
}

Shape PoolGeometry::output() const {
  Shape result;
  for (int i = 0; i < dims; ++i) result.push_back(axes[static_cast<std::size_t>(i)].output());
  return result;
}

PoolGeometry pool_geometry(std::string_view op, const Shape& spatial,
                           const Attributes& attributes) {
  const Shape& window = attributes.integers("window");
  const Shape* dilation = dilation_of(attributes);
  PoolGeometry geometry;
  geometry.dims = window.rank();
  for (int i = 0; i < geometry.dims; ++i) {
    const auto at = static_cast<std::size_t>(i);
    ConvAxis& axis = geometry.axes[at];
    axis = {.input = spatial[i],
            .kernel = window[i],
            .stride = attributes.integers("stride")[i],
            .dilation = dilation != nullptr ? (*dilation)[i] : 1,
            .padding = {attributes.integers("before")[i], attributes.integers("after")[i]}};
    check_sizes(op, axis, i);
    geometry.padded_end[at] = axis.input + axis.padding.after;
    if (attributes.flag("ceil_mode")) round_up(axis);
    check_windows(op, axis, i);
  }
  check_cells(op, spatial);
  return geometry;
}

void check_pool_input(std::string_view op, const TensorSpec& input, const Attributes& attributes,
                      std::string_view sizes) {
  require_floating(op, input);
  const Shape& given = attributes.integers(sizes);
  const int dims = given.rank();
  FOVEA_CHECK(dims >= 1 && dims <= 3, "{}: {} {} has {} dimensions, expected 1 to 3", op, sizes,
              given, dims);
  for (const std::string_view option : {"stride", "before", "after", "dilation"}) {
    FOVEA_CHECK(!attributes.has(option) || attributes.integers(option).rank() == dims,
                "{}: {} {} and {} {} must have one number per spatial dimension each", op, sizes,
                given, option, attributes.integers(option));
  }
  constexpr std::string_view kAxes[] = {"[N, C, L]", "[N, C, H, W]", "[N, C, D, H, W]"};
  std::string hint;
  if (input.shape.rank() == dims + 1) {
    hint = " A single sample needs a batch axis of size one in front: reshape it.";
  } else if (input.shape.rank() != dims + 2) {
    hint =
        fmt::format(" Give {} sizes for as many dimensions as the input has spatial axes.", sizes);
  }
  FOVEA_CHECK(input.shape.rank() == dims + 2,
              "{}: {} {} has {} dimension(s), so the input must be {}, but its shape is {}.{}", op,
              sizes, given, dims, kAxes[dims - 1], input.shape, hint);
}

void check_adaptive_output(std::string_view op, const TensorSpec& input,
                           const Attributes& attributes) {
  check_pool_input(op, input, attributes, "output");
  const Shape& output = attributes.integers("output");
  const Shape spatial = spatial_of(input.shape);
  for (int i = 0; i < output.rank(); ++i) {
    FOVEA_CHECK(output[i] >= 1 && spatial[i] >= 1,
                "{}: spatial dimension {} has {} cells of input and {} of output; both must be at "
                "least 1",
                op, i, spatial[i], output[i]);
  }
  check_cells(op, spatial);
  check_cells(op, output);
}

PoolTables::PoolTables(const PoolGeometry& geometry, std::int64_t channels,
                       const Divisor& divisor) {
  const auto missing = static_cast<std::size_t>(3 - geometry.dims);
  for (std::size_t i = 0; i < 3; ++i) {
    const ConvAxis axis = i < missing ? ConvAxis{} : geometry.axes[i - missing];
    const std::int64_t padded_end = i < missing ? 1 : geometry.padded_end[i - missing];
    axes_[i] = conv::make_axis_table(axis, PaddingMode::zeros);
    if (divisor.fixed > 0) {
      counts_[i].assign(static_cast<std::size_t>(axis.output()), i == 2 ? divisor.fixed : 1);
    } else {
      counts_[i] = window_counts(axis, padded_end, divisor.count_padding);
    }
    plane_.axes[i] = kernel_axis(axes_[i], axis.input, counts_[i]);
  }
  plane_.channels = channels;
}

PoolTables::PoolTables(const Shape& input, const Shape& output, std::int64_t channels) {
  const int missing = 3 - input.rank();
  for (int i = 0; i < 3; ++i) {
    const auto at = static_cast<std::size_t>(i);
    const std::int64_t cells = i < missing ? 1 : input[i - missing];
    const std::int64_t outputs = i < missing ? 1 : output[i - missing];
    axes_[at] = adaptive_table(cells, outputs);
    for (std::int64_t o = 0; o < outputs; ++o) {
      counts_[at].push_back(adaptive_end(o, cells, outputs) - adaptive_begin(o, cells, outputs));
    }
    plane_.axes[at] = kernel_axis(axes_[at], cells, counts_[at]);
  }
  plane_.channels = channels;
}

OpField window_field(const Attributes& attributes) {
  OpField field;
  field.stride = attributes.integers("stride");
  field.before = attributes.integers("before");
  const Shape& window = attributes.integers("window");
  const Shape* dilation = dilation_of(attributes);
  for (int i = 0; i < window.rank(); ++i) {
    const ConvAxis axis = {
        .kernel = window[i], .dilation = dilation != nullptr ? (*dilation)[i] : 1, .padding = {}};
    field.window.push_back(axis.span());
  }
  return field;
}

// Windows of one size where the output divides the input; otherwise the field of a cell depends on
// its place, and the hull of all is said to be everything.
OpField adaptive_field(Specs inputs, const Attributes& attributes) {
  const Shape& output = attributes.integers("output");
  const Shape input = spatial_of(inputs[0].shape);
  OpField field;
  for (int i = 0; i < output.rank(); ++i) {
    if (output[i] == 1 || input[i] % output[i] != 0) field.global = true;
    field.window.push_back(input[i] / output[i]);
    field.stride.push_back(input[i] / output[i]);
    field.before.push_back(0);
  }
  return field;
}

std::int64_t pool_cells_per_task(const kernels::PoolPlane& plane) {
  return std::max<std::int64_t>(
      1, kReadsPerTask / (plane.taps() * std::max<std::int64_t>(plane.channels, 1)));
}

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

}  // namespace fovea::ops
