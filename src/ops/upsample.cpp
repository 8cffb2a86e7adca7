// Up-sampling [N, C, spatial...] by nearest neighbours or (bi-, tri-) linear interpolation, and the
// adjoint.
//
// Output o of an axis with I cells and O outputs lies at (o + 1/2) I / O - 1/2, or with
// align_corners, where the outermost cells' centres coincide, at o (I - 1) / (O - 1). Nearest takes
// cell floor(o I / O).
#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "core/check.h"
#include "core/dispatch.h"
#include "fovea/executor.h"
#include "kernels/gather.h"
#include "kernels/resample.h"
#include "kernels/stream.h"
#include "ops/checks.h"
#include "ops/families.h"
#include "ops/pool_geometry.h"

namespace fovea::ops {
namespace {

constexpr std::int64_t kElementsPerTask = 1 << 18;  // neighbouring tasks read a few rows twice
constexpr std::int64_t kMostCells = std::numeric_limits<std::int32_t>::max();

bool is_linear(const Attributes& attributes) {
  return attributes.text("mode") == "linear";
}

class Tables {
 public:
  Tables(const Shape& input, const Shape& output, std::int64_t channels,
         const Attributes& attributes) {
    const int missing = 3 - input.rank();
    for (int i = 0; i < 3; ++i) {
      const auto at = static_cast<std::size_t>(i);
      const std::int64_t inputs = i < missing ? 1 : input[i - missing];
      const std::int64_t outputs = i < missing ? 1 : output[i - missing];
      if (i >= missing && is_linear(attributes)) {
        fill_linear(at, inputs, outputs, attributes.flag("align_corners"));
      } else {
        fill_nearest(at, inputs, outputs);
      }
      plane_.axes[at] = {.cells = cells_[at].data(),
                         .weights = weights_[at].data(),
                         .taps = static_cast<std::int64_t>(cells_[at].size()) / outputs,
                         .outputs = outputs,
                         .inputs = inputs};
    }
    plane_.channels = channels;
  }
  Tables(const Tables&) = delete;
  Tables& operator=(const Tables&) = delete;

  const kernels::ResamplePlane& plane() const { return plane_; }

 private:
  void fill_nearest(std::size_t axis, std::int64_t inputs, std::int64_t outputs) {
    for (std::int64_t o = 0; o < outputs; ++o) {
      cells_[axis].push_back(static_cast<std::int32_t>(o * inputs / outputs));
      weights_[axis].push_back(1);
    }
  }

  void fill_linear(std::size_t axis, std::int64_t inputs, std::int64_t outputs, bool corners) {
    for (std::int64_t o = 0; o < outputs; ++o) {
      const double place = source(o, inputs, outputs, corners);
      const auto cell = std::min(static_cast<std::int64_t>(place), inputs - 1);
      const double beyond = place - static_cast<double>(cell);
      cells_[axis].push_back(static_cast<std::int32_t>(cell));
      cells_[axis].push_back(static_cast<std::int32_t>(std::min(cell + 1, inputs - 1)));
      weights_[axis].push_back(1 - beyond);
      weights_[axis].push_back(beyond);
    }
  }

  static double source(std::int64_t o, std::int64_t inputs, std::int64_t outputs, bool corners) {
    const auto at = static_cast<double>(o);
    if (corners) {
      return outputs == 1 ? 0.0
                          : at * static_cast<double>(inputs - 1) / static_cast<double>(outputs - 1);
    }
    const double scale = static_cast<double>(inputs) / static_cast<double>(outputs);
    return std::max(0.0, (at + 0.5) * scale - 0.5);
  }

  std::array<std::vector<std::int32_t>, 3> cells_;
  std::array<std::vector<double>, 3> weights_;
  kernels::ResamplePlane plane_;
};

// The same, seen from the input.
kernels::GatherPlane readers_of(const kernels::ResamplePlane& plane) {
  kernels::GatherPlane readers{.axes = {}, .channels = plane.channels};
  for (std::size_t i = 0; i < plane.axes.size(); ++i) {
    const kernels::ResampleAxis& axis = plane.axes[i];
    readers.axes[i] = kernels::gather_axis(axis.inputs, axis.outputs, [&](const auto& add) {
      for (std::int64_t output = 0; output < axis.outputs; ++output) {
        const std::int64_t first = output * axis.taps;
        const std::int64_t last = first + axis.taps - 1;
        if (axis.cells[first] == axis.cells[last]) {  // at the edge, or with one tap
          add(axis.cells[first], output, 1.0);
          continue;
        }
        if (axis.weights[first] != 0) add(axis.cells[first], output, axis.weights[first]);
        if (axis.weights[last] != 0) add(axis.cells[last], output, axis.weights[last]);
      }
    });
  }
  return readers;
}

void check(std::string_view op, const TensorSpec& x, const Attributes& attributes,
           std::string_view sizes) {
  check_pool_input(op, x, attributes, sizes);
  const std::string& mode = attributes.text("mode");
  FOVEA_CHECK(mode == "nearest" || mode == "linear",
              "{}: mode is '{}', but must be 'nearest' or 'linear'", op, mode);
  const auto cells = [&](const Shape& spatial) {
    std::int64_t count = 1;
    for (const std::int64_t size : spatial) {
      FOVEA_CHECK(size >= 1 && !__builtin_mul_overflow(count, size, &count) && count <= kMostCells,
                  "{}: sizes {} must be at least 1 and have at most {} cells together", op, spatial,
                  kMostCells);
    }
  };
  cells(spatial_of(x.shape));
  cells(attributes.integers(sizes));
}

// Whole rows of cells, for each is put together once.
std::int64_t rows_per_task(std::int64_t cells, std::int64_t channels) {
  return std::max<std::int64_t>(1, kElementsPerTask / (std::max<std::int64_t>(1, cells) *
                                                       std::max<std::int64_t>(1, channels)));
}

std::vector<TensorSpec> upsample_infer(Specs inputs, const Attributes& attributes) {
  const TensorSpec& x = inputs[0];
  check("upsample", x, attributes, "output");
  return {make_spec(with_spatial(x.shape, attributes.integers("output")), x.dtype,
                    Layout::channels_last)};
}

void upsample_run(Inputs inputs, const Attributes& attributes, Outputs outputs) {
  const Tensor x = dense(inputs[0], Layout::channels_last);
  const Tables tables(spatial_of(x.shape()), attributes.integers("output"), x.size(1), attributes);
  const kernels::ResamplePlane& plane = tables.plane();
  dispatch_floating(x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    const T* in = x.data<T>();
    T* out = writable<T>(outputs[0]);
    const bool streamed = kernels::is_streamed(
        out, static_cast<std::size_t>(x.numel() + outputs[0].numel()) * sizeof(T),
        static_cast<std::size_t>(plane.channels) * sizeof(T));
    const std::int64_t row = plane.axes[2].outputs;
    parallel_ranges(x.size(0) * plane.outputs(), rows_per_task(row, plane.channels) * row,
                    [&](std::int64_t first, std::int64_t last) {
                      kernels::resample(plane, streamed, first, last, in, out);
                    });
  });
}

std::vector<Tensor> upsample_backward_of(const BackwardCall& call) {
  return {apply1(upsample_backward, {call.grads[0]},
                 call.attributes.with("input", spatial_of(call.input_specs[0].shape)))};
}

std::vector<TensorSpec> upsample_backward_infer(Specs inputs, const Attributes& attributes) {
  constexpr std::string_view kName = "upsample_backward";
  const TensorSpec& g = inputs[0];
  check(kName, g, attributes, "input");
  FOVEA_CHECK(spatial_of(g.shape) == attributes.integers("output"),
              "{}: the gradient {} does not have the spatial sizes {} of the output", kName,
              g.shape, attributes.integers("output"));
  return {make_spec(with_spatial(g.shape, attributes.integers("input")), g.dtype,
                    Layout::channels_last)};
}

void upsample_backward_run(Inputs inputs, const Attributes& attributes, Outputs outputs) {
  const Tensor g = dense(inputs[0], Layout::channels_last);
  const Tables tables(attributes.integers("input"), spatial_of(g.shape()), g.size(1), attributes);
  const kernels::GatherPlane plane = readers_of(tables.plane());
  dispatch_floating(g.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    const T* from = g.data<T>();
    T* to = writable<T>(outputs[0]);
    const bool streamed = kernels::is_streamed(
        to, static_cast<std::size_t>(g.numel() + outputs[0].numel()) * sizeof(T),
        static_cast<std::size_t>(plane.channels) * sizeof(T));
    const std::int64_t rows = plane.input_rows();
    const std::int64_t reads = tables.plane().outputs() / rows;  // per row, more where they overlap
    parallel_ranges(g.size(0) * rows, rows_per_task(reads, plane.channels),
                    [&](std::int64_t first, std::int64_t last) {
                      kernels::gather_rows(plane, streamed, first, last, from, to);
                    });
  });
}

std::vector<Tensor> upsample_backward_backward(const BackwardCall& call) {
  return {apply1(upsample, {call.grads[0]}, call.attributes)};
}

// With a ratio of I / O = a / b, in lowest terms, steps are of a between cells that are b apart. A
// nearest neighbour lies in the b places that end at the output's own; linear interpolation reads
// the cells that are less than b away from it, which lies (a - b) / 2 further without
// align_corners.
OpField upsample_field(Specs inputs, const Attributes& attributes) {
  const Shape inner = spatial_of(inputs[0].shape);
  const Shape& outer = attributes.integers("output");
  const bool linear = is_linear(attributes);
  const bool corners = linear && attributes.flag("align_corners");
  OpField field;
  for (int i = 0; i < inner.rank(); ++i) {
    const std::int64_t cells = corners ? inner[i] - 1 : inner[i];
    const std::int64_t steps = corners ? std::max<std::int64_t>(outer[i] - 1, 1) : outer[i];
    const std::int64_t common = std::gcd(cells, steps);
    const std::int64_t a = cells / common;
    const std::int64_t b = steps / common;
    const std::int64_t shift = corners || !linear ? 0 : a - b;  // in halves
    const std::int64_t whole = shift >= 0 ? shift / 2 : -((1 - shift) / 2);
    const std::int64_t halves = shift - 2 * whole;
    field.window.push_back(linear ? 2 * b - 1 + halves : b);
    field.stride.push_back(a);
    field.before.push_back(b - 1 - whole);
    field.dilation.push_back(b);
  }
  return field;
}

}  // namespace

const OpDef upsample = {.name = "upsample",
                        .infer = upsample_infer,
                        .run = upsample_run,
                        .backward = upsample_backward_of,
                        .field = upsample_field};
const OpDef upsample_backward = {.name = "upsample_backward",
                                 .infer = upsample_backward_infer,
                                 .run = upsample_backward_run,
                                 .backward = upsample_backward_backward,
                                 .field = global_field};

}  // namespace fovea::ops
