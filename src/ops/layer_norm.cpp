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
#include "kernels/transpose.h"
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

// to[c][r] = from[r][c]
template <class T>
void turn_round(std::int64_t rows, std::int64_t columns, const T* from, T* to) {
  parallel_ranges(
      columns, std::max<std::int64_t>(1, kTask / rows), [&](std::int64_t first, std::int64_t last) {
        kernels::transpose(
            {.rows = rows, .columns = last - first, .from_stride = columns, .to_stride = rows},
            from + first, to + first * rows);
      });
}

// A [C, spatial...] weight in the memory order of a sample.
Tensor sample_order(const Tensor& weight, Layout layout) {
  Tensor rows = dense(weight, Layout::row_major);
  if (layout == Layout::row_major) return rows;
  Tensor turned = allocate_tensor(spec_of(rows));
  dispatch_floating(rows.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    const std::int64_t channels = rows.size(0);
    turn_round(channels, rows.numel() / channels, rows.data<T>(), writable<T>(turned));
  });
  return turned;
}

// The same for an optional weight, which is `value` everywhere where it is absent and needed.
Tensor optional_sample_order(const Tensor& weight, bool needed, double value, const Tensor& x,
                             int axes, Layout layout) {
  if (weight.defined()) return sample_order(weight, layout);
  return needed ? Tensor::full(last_axes(x.shape(), axes), value, x.dtype()) : Tensor();
}

template <class T>
const T* data_or_null(const Tensor& tensor) {
  return tensor.defined() ? tensor.data<T>() : nullptr;
}

// Weight gradients in the order of a sample, brought into that of the weight.
template <class T>
void from_sample_order(const std::vector<double>& values, Tensor& target, Layout layout) {
  T* out = writable<T>(target);
  const auto convert = [&](T* to) {
    std::transform(values.begin(), values.end(), to, [](double v) { return static_cast<T>(v); });
  };
  if (layout == Layout::row_major) return convert(out);
  const std::int64_t channels = target.size(0);
  std::vector<T> rows(values.size());
  convert(rows.data());
  turn_round(target.numel() / channels, channels, rows.data(), out);
}

std::vector<TensorSpec> layer_norm_infer(Specs inputs, const Attributes& attributes) {
  const TensorSpec& x = inputs[0];
  require_floating("layer_norm", x);
  const int axes = normalized_axes(attributes);
  FOVEA_CHECK(axes >= 1 && axes <= x.shape.rank(),
              "layer_norm: {} axes are to be normalised, but input {} has {}", axes, x.shape,
              x.shape.rank());
  const int sample = std::max(axes, x.shape.rank() - 1);  // axes but the batch, which may be empty
  FOVEA_CHECK(last_axes(x.shape, sample).numel() >= 1,
              "layer_norm: input {} has no elements, so it has no mean", x.shape);
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
  const Tensor w = optional_sample_order(inputs[1], inputs[2].defined(), 1, x, axes, layout);
  const Tensor b = optional_sample_order(inputs[2], inputs[1].defined(), 0, x, axes, layout);
  const double eps = attributes.number("eps");
  dispatch_floating(x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    const T* in = x.data<T>();
    const T* weight = data_or_null<T>(w);
    const T* bias = data_or_null<T>(b);
    T* out = writable<T>(outputs[0]);
    T* means = writable<T>(outputs[1]);
    T* variances = writable<T>(outputs[2]);
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
  std::vector<TensorSpec> specs = infer_norm_backward("layer_norm_backward", inputs,
                                                      last_axes(x.shape, axes), layout_of(x, axes));
  // Gradients of weights are as many as a sample has elements: not made where nobody asks for them.
  if (attributes.has("weights") && !attributes.flag("weights")) {
    specs[1] = specs[2] = make_spec({0}, x.dtype);
  }
  return specs;
}

// dx of each row. It is written from the end to the beginning: what was read last is still in the
// cache.
template <class T>
void run_rows(const LayerShape& shape, const T* g, const T* x, const T* w, const T* means,
              const std::vector<double>& inverses, T* dx) {
  const auto count = static_cast<double>(shape.columns);
  parallel_ranges(
      shape.rows, std::max<std::int64_t>(1, kTask / shape.columns),
      [&](std::int64_t first, std::int64_t last) {
        for (std::int64_t row = first; row < last; ++row) {
          const std::int64_t start = row * shape.columns;
          const double inverse = inverses[static_cast<std::size_t>(row)];
          const kernels::RowSums sums =
              kernels::row_products(shape.columns, g + start, x + start, w, means[row]);
          const auto along = static_cast<T>(-inverse * inverse * inverse * sums.second / count);
          const auto shift = static_cast<T>(-inverse * sums.first / count);
          for (std::int64_t end = shape.columns; end > 0;) {
            const std::int64_t begin = std::max<std::int64_t>(0, end - kColumns);
            const std::int64_t at = start + begin;
            kernels::gradient_row(end - begin, g + at, x + at, w == nullptr ? w : w + begin,
                                  means[row], static_cast<T>(inverse), along, shift, dx + at);
            end = begin;
          }
        }
      });
}

// db and dw: sums over rows, in blocks of columns and chunks of rows that are added in order.
template <class T>
void run_weights(const LayerShape& shape, const T* g, const T* x, const T* means,
                 const std::vector<double>& exact_inverses, std::vector<double>& sums,
                 std::vector<double>& products) {
  const std::int64_t width = std::min(shape.columns, kColumns);
  const std::int64_t blocks = (shape.columns + width - 1) / width;
  const std::int64_t chunks = std::clamp<std::int64_t>(
      shape.rows * width / kTask, 1, std::max<std::int64_t>(1, kMaxPartial / shape.columns));
  const auto columns = static_cast<std::size_t>(shape.columns);
  std::vector<T> inverses;
  for (const double inverse : exact_inverses) inverses.push_back(static_cast<T>(inverse));
  // The first chunk adds into the result itself.
  std::vector<double> partial(static_cast<std::size_t>(chunks - 1) * 2 * columns);
  parallel_for(blocks * chunks, [&](std::int64_t task) {
    const std::int64_t begin = task % blocks * width;
    const std::int64_t count = std::min(width, shape.columns - begin);
    const std::int64_t chunk = task / blocks;
    double* own_sums = sums.data();
    double* own_products = products.data();
    if (chunk > 0) {
      own_sums = partial.data() + static_cast<std::size_t>(chunk - 1) * 2 * columns;
      own_products = own_sums + columns;
    }
    const std::int64_t first = shape.rows * chunk / chunks;
    const std::int64_t at = first * shape.columns + begin;
    kernels::weight_gradients({.rows = shape.rows * (chunk + 1) / chunks - first, .columns = count},
                              shape.columns, g + at, x + at, means + first, inverses.data() + first,
                              own_sums + begin, own_products + begin);
  });
  for (std::size_t chunk = 0; chunk + 1 < static_cast<std::size_t>(chunks); ++chunk) {
    const double* part = partial.data() + chunk * 2 * columns;
    for (std::size_t c = 0; c < columns; ++c) {
      sums[c] += part[c];
      products[c] += part[columns + c];
    }
  }
}

void backward_run(Inputs inputs, const Attributes& attributes, Outputs outputs) {
  if (inputs[1].numel() == 0) {
    for (Tensor& output : outputs) output.fill(0);
    return;
  }
  const int axes = normalized_axes(attributes);
  const Layout layout = layout_of(spec_of(inputs[1]), axes);
  const Tensor g = dense(inputs[0], layout);
  const Tensor x = dense(inputs[1], layout);
  const Tensor mean = dense(inputs[3], Layout::row_major);
  std::vector<double> inverses = inputs[4].to_vector<double>();
  for (double& value : inverses) value = 1 / std::sqrt(value + attributes.number("eps"));
  const LayerShape shape = layer_shape(x.shape(), axes);
  const Tensor w = optional_sample_order(inputs[2], false, 1, x, axes, layout);
  dispatch_floating(x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    run_rows(shape, g.data<T>(), x.data<T>(), data_or_null<T>(w), mean.data<T>(), inverses,
             writable<T>(outputs[0]));
    if (outputs[1].numel() == 0) return;
    std::vector<double> sums(static_cast<std::size_t>(shape.columns));
    std::vector<double> products(sums.size());
    run_weights(shape, g.data<T>(), x.data<T>(), mean.data<T>(), inverses, sums, products);
    from_sample_order<T>(products, outputs[1], layout);
    from_sample_order<T>(sums, outputs[2], layout);
  });
}

}  // namespace

const OpDef layer_norm = {.name = "layer_norm",
                          .infer = layer_norm_infer,
                          .run = layer_norm_run,
                          .backward = layer_norm_backward_of,
                          .saves = {.inputs = 0b011, .outputs = 0b110},
                          .field = global_field};
const OpDef layer_norm_backward = {.name = "layer_norm_backward",
                                   .infer = backward_infer,
                                   .run = backward_run,
                                   .field = global_field};

}  // namespace fovea::ops
