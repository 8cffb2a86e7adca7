// Layer normalisation (Ba, Kiros and Hinton, 2016): y = (x - mean) / sqrt(variance + eps) w + b,
// over the last axes together; w and b have a number for each place in them.
//
// Where the first axis is the only other one, the elements of a sample lie together in
// channels-last memory too: weight and bias are brought into that order once, and nothing else
// moves.
#include <algorithm>
#include <cmath>
#include <vector>

#include "core/check.h"
#include "core/dispatch.h"
#include "fovea/executor.h"
#include "kernels/norm.h"
#include "ops/checks.h"
#include "ops/families.h"
#include "ops/norm_formula.h"

namespace fovea::ops {
namespace {

constexpr std::int64_t kTask = 1 << 16;        // elements of one task
constexpr std::int64_t kColumns = 2048;        // of weight gradients added up by one task
constexpr std::int64_t kMaxPartial = 1 << 20;  // partial sums of weight gradients

int normalized_axes(const Attributes& attributes) {
  return static_cast<int>(attributes.integer("axes"));
}

Shape last_axes(const Shape& shape, int count) {
  return Shape(std::span<const std::int64_t>(shape.end() - count, shape.end()));
}
Shape first_axes(const Shape& shape, int count) {
  return Shape(std::span<const std::int64_t>(shape.begin(), shape.end() - count));
}

// The memory order in which the normalised elements lie together.
Layout layout_of(const TensorSpec& x, int axes) {
  const bool samples = axes == x.shape.rank() - 1 && x.shape.rank() >= 3;
  return samples && is_dense(x.shape, x.strides, Layout::channels_last) &&
                 !is_dense(x.shape, x.strides, Layout::row_major)
             ? Layout::channels_last
             : Layout::row_major;
}

struct LayerShape {
  std::int64_t rows = 1;
  std::int64_t columns = 1;
};

LayerShape layer_shape(const Shape& shape, int axes) {
  return {.rows = first_axes(shape, axes).numel(), .columns = last_axes(shape, axes).numel()};
}

// A [C, spatial...] weight in the memory order of a sample; `value` everywhere where it is absent.
Tensor sample_order(const Tensor& weight, const Shape& shape, double value, DType dtype,
                    Layout layout) {
  if (!weight.defined()) return Tensor::full(shape, value, dtype);
  if (layout == Layout::row_major) return dense(weight, Layout::row_major);
  Shape axes;
  for (int axis = 1; axis < weight.rank(); ++axis) axes.push_back(axis);
  axes.push_back(0);
  return dense(view::permute(weight, axes), Layout::row_major);
}

// Where the weight gradients, written in the order of a sample, are read from in that of `weight`.
void from_sample_order(const std::vector<double>& values, Tensor& target, Layout layout) {
  const Shape& shape = target.shape();
  Shape stored = shape;
  Shape axes;
  if (layout == Layout::channels_last) {
    for (int axis = 0; axis < shape.rank(); ++axis) {
      stored[axis] = shape[axis + 1 == shape.rank() ? 0 : axis + 1];
      axes.push_back(axis == 0 ? shape.rank() - 1 : axis - 1);
    }
  } else {
    for (int axis = 0; axis < shape.rank(); ++axis) axes.push_back(axis);
  }
  const Tensor source = Tensor::from(values, stored);
  copy_elements(view::permute(source, axes), target);
}

std::vector<TensorSpec> layer_norm_infer(Specs inputs, const Attributes& attributes) {
  const TensorSpec& x = inputs[0];
  require_floating("layer_norm", x);
  const int axes = normalized_axes(attributes);
  FOVEA_CHECK(axes >= 1 && axes <= x.shape.rank(),
              "layer_norm: {} axes are to be normalised, but input {} has {}", axes, x.shape,
              x.shape.rank());
  FOVEA_CHECK(x.shape.numel() >= 1, "layer_norm: input {} has no elements, so it has no mean",
              x.shape);
  check_norm("layer_norm", x, inputs[1], inputs[2], last_axes(x.shape, axes), attributes);
  const Shape statistics = first_axes(x.shape, axes);
  return {make_spec(x.shape, x.dtype, layout_of(x, axes)), make_spec(statistics, x.dtype),
          make_spec(statistics, x.dtype)};
}

void layer_norm_run(Inputs inputs, const Attributes& attributes, Outputs outputs) {
  const int axes = normalized_axes(attributes);
  const Layout layout = layout_of(spec_of(inputs[0]), axes);
  const Tensor x = dense(inputs[0], layout);
  const LayerShape shape = layer_shape(x.shape(), axes);
  const Shape normalized = last_axes(x.shape(), axes);
  const Tensor w = sample_order(inputs[1], normalized, 1, x.dtype(), layout);
  const Tensor b = sample_order(inputs[2], normalized, 0, x.dtype(), layout);
  const double eps = attributes.number("eps");
  dispatch_floating(x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    const T* in = x.data<T>();
    const T* weight = w.data<T>();
    const T* bias = b.data<T>();
    T* out = outputs[0].mutable_data<T>();
    T* means = outputs[1].mutable_data<T>();
    T* variances = outputs[2].mutable_data<T>();
    const auto count = static_cast<double>(shape.columns);
    parallel_ranges(
        shape.rows, std::max<std::int64_t>(1, kTask / shape.columns),
        [&](std::int64_t first, std::int64_t last) {
          for (std::int64_t row = first; row < last; ++row) {
            const T* from = in + row * shape.columns;
            const kernels::RowSums sums = kernels::row_moments(shape.columns, from, from[0]);
            const double mean = sums.first / count;
            means[row] = static_cast<T>(static_cast<double>(from[0]) + mean);
            variances[row] = static_cast<T>(std::max(0.0, sums.second / count - mean * mean));
            const double inverse = 1 / std::sqrt(static_cast<double>(variances[row]) + eps);
            kernels::normalize_row(shape.columns, from, means[row], static_cast<T>(inverse), weight,
                                   bias, out + row * shape.columns);
          }
        });
  });
}

std::vector<Tensor> layer_norm_backward_of(const BackwardCall& call) {
  const Shape& shape = call.inputs[0].shape();
  const int axes = normalized_axes(call.attributes);
  NormForm form{.view = shape, .axes = {}, .affine = last_axes(shape, axes)};
  for (int axis = shape.rank() - axes; axis < shape.rank(); ++axis) form.axes.push_back(axis);
  return norm_backward(call, form, layer_norm_backward);
}

std::vector<TensorSpec> backward_infer(Specs inputs, const Attributes& attributes) {
  const TensorSpec& x = inputs[1];
  const int axes = normalized_axes(attributes);
  return infer_norm_backward("layer_norm_backward", inputs, last_axes(x.shape, axes),
                             layout_of(x, axes));
}

// dx of each row.
template <class T>
void run_rows(const LayerShape& shape, const T* g, const T* x, const T* w, const T* means,
              const std::vector<double>& inverses, T* dx) {
  const auto count = static_cast<double>(shape.columns);
  parallel_ranges(shape.rows, std::max<std::int64_t>(1, kTask / shape.columns),
                  [&](std::int64_t first, std::int64_t last) {
                    for (std::int64_t row = first; row < last; ++row) {
                      const std::int64_t at = row * shape.columns;
                      const double inverse = inverses[static_cast<std::size_t>(row)];
                      const kernels::RowSums sums =
                          kernels::row_products(shape.columns, g + at, x + at, w, means[row]);
                      const double along = -inverse * inverse * inverse * sums.second / count;
                      const double shift = -inverse * sums.first / count;
                      kernels::gradient_row(shape.columns, g + at, x + at, w, means[row],
                                            static_cast<T>(inverse), static_cast<T>(along),
                                            static_cast<T>(shift), dx + at);
                    }
                  });
}

// db and dw: sums over rows, in blocks of columns and chunks of rows that are added in order.
template <class T>
void run_weights(const LayerShape& shape, const T* g, const T* x, const T* means,
                 const std::vector<double>& inverses, std::vector<double>& sums,
                 std::vector<double>& products) {
  const std::int64_t width = std::min(shape.columns, kColumns);
  const std::int64_t blocks = (shape.columns + width - 1) / width;
  const std::int64_t chunks = std::clamp<std::int64_t>(
      shape.rows * width / kTask, 1, std::max<std::int64_t>(1, kMaxPartial / shape.columns));
  const auto columns = static_cast<std::size_t>(shape.columns);
  std::vector<double> partial(static_cast<std::size_t>(chunks) * 2 * columns);
  parallel_for(blocks * chunks, [&](std::int64_t task) {
    const std::int64_t begin = task % blocks * width;
    const std::int64_t count = std::min(width, shape.columns - begin);
    const std::int64_t chunk = task / blocks;
    double* own = partial.data() + static_cast<std::size_t>(chunk) * 2 * columns;
    const std::int64_t end = shape.rows * (chunk + 1) / chunks;
    for (std::int64_t row = shape.rows * chunk / chunks; row < end; ++row) {
      const std::int64_t at = row * shape.columns + begin;
      kernels::weight_gradient_row(count, g + at, x + at, means[row],
                                   static_cast<T>(inverses[static_cast<std::size_t>(row)]),
                                   own + begin, own + columns + begin);
    }
  });
  for (std::size_t c = 0; c < columns; ++c) {
    for (std::size_t chunk = 0; chunk < static_cast<std::size_t>(chunks); ++chunk) {
      sums[c] += partial[chunk * 2 * columns + c];
      products[c] += partial[(chunk * 2 + 1) * columns + c];
    }
  }
}

void backward_run(Inputs inputs, const Attributes& attributes, Outputs outputs) {
  const int axes = normalized_axes(attributes);
  const Layout layout = layout_of(spec_of(inputs[1]), axes);
  const Tensor g = dense(inputs[0], layout);
  const Tensor x = dense(inputs[1], layout);
  const Tensor mean = dense(inputs[3], Layout::row_major);
  const std::vector<double> variances = inputs[4].to_vector<double>();
  std::vector<double> inverses;
  for (const double variance : variances)
    inverses.push_back(1 / std::sqrt(variance + attributes.number("eps")));
  const LayerShape shape = layer_shape(x.shape(), axes);
  const Tensor w = sample_order(inputs[2], last_axes(x.shape(), axes), 1, x.dtype(), layout);
  std::vector<double> sums(static_cast<std::size_t>(shape.columns));
  std::vector<double> products(sums.size());
  dispatch_floating(x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    run_rows(shape, g.data<T>(), x.data<T>(), w.data<T>(), mean.data<T>(), inverses,
             outputs[0].mutable_data<T>());
    run_weights(shape, g.data<T>(), x.data<T>(), mean.data<T>(), inverses, sums, products);
  });
  from_sample_order(products, outputs[1], layout);
  from_sample_order(sums, outputs[2], layout);
}

// Where spatial axes are among the normalised ones, a cell sees all of them.
OpField layer_norm_field(Specs, const Attributes&) {
  return {.global = true, .window = {}, .stride = {}, .before = {}};
}

}  // namespace

const OpDef layer_norm = {.name = "layer_norm",
                          .infer = layer_norm_infer,
                          .run = layer_norm_run,
                          .backward = layer_norm_backward_of,
                          .saves = {.inputs = 0b011, .outputs = 0b110},
                          .field = layer_norm_field};
const OpDef layer_norm_backward = {
    .name = "layer_norm_backward", .infer = backward_infer, .run = backward_run};

}  // namespace fovea::ops
