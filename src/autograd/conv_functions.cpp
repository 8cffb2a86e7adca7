// The public operators of the convolution family. Rules for padding become numbers here; what is
// not an operator of its own is composed: cropping, input_dilation, untied bias.
#include <algorithm>
#include <cstdlib>
#include <optional>
#include <utility>

#include "autograd/epilogue.h"
#include "core/called_as.h"
#include "core/check.h"
#include "fovea/functions.h"
#include "ops/checks.h"
#include "ops/conv_problem.h"
#include "ops/epilogue.h"
#include "ops/families.h"

namespace fovea {
namespace {

constexpr std::int64_t kLargest = std::int64_t{1} << 30;  // of one axis, as ConvProblem has it

std::string_view axis_names(int dims) {
  return std::string_view(", D, H, W").substr(static_cast<std::size_t>(3 - dims) * 3);
}
std::string_view kernel_names(int dims) {
  return std::string_view(", kD, kH, kW").substr(static_cast<std::size_t>(3 - dims) * 4);
}

void require_ranks(std::string_view op, int dims, const Tensor& input, const Tensor& weight,
                   std::string_view weight_channels) {
  FOVEA_CHECK(input.defined() && weight.defined(), "{}: {} is undefined", op,
              input.defined() ? "weight" : "input");
  FOVEA_CHECK(
      input.rank() == dims + 2, "{}: input is {}, but needs {} axes: [N, C{}]{}", op,
      input.describe(), dims + 2, axis_names(dims),
      input.rank() == dims + 1 ? ". For one sample, add the batch axis with reshape()" : "");
  FOVEA_CHECK(weight.rank() == dims + 2, "{}: weight is {}, but needs {} axes: [{}{}]", op,
              weight.describe(), dims + 2, weight_channels, kernel_names(dims));
}

// Whether every size can be reckoned with; what is wrong with others, ConvProblem::validate says.
bool sane(const ConvAxis& axis) {
  for (const std::int64_t size : {axis.input, axis.kernel, axis.stride, axis.dilation}) {
    if (size < 1 || size >= kLargest) return false;
  }
  return true;
}

std::vector<ConvAxis> make_axes(const Shape& input, const Shape& kernel, const Shape& stride,
                                const Shape& dilation) {
  std::vector<ConvAxis> axes;
  for (int i = 0; i < stride.rank(); ++i) {
    axes.push_back({.input = input[i + 2],
                    .kernel = kernel[i],
                    .stride = stride[i],
                    .dilation = dilation[i],
                    .padding = {}});
  }
  return axes;
}

Shape kernel_of(const Tensor& weight) {
  return Shape(std::span<const std::int64_t>(weight.shape().begin() + 2, weight.shape().end()));
}

// The shape with `factor` - 1 zeros between neighbouring cells of each spatial axis.
Shape dilated(std::string_view op, Shape shape, const Shape& factor) {
  for (int i = 0; i < factor.rank(); ++i) {
    FOVEA_CHECK(factor[i] >= 1 && factor[i] < kLargest,
                "{}: input_dilation is {}, but must be at least 1 and below 2^30", op, factor);
    if (factor[i] == 1) continue;
    std::int64_t& size = shape[i + 2];
    FOVEA_CHECK(size >= 1 && (size - 1) < kLargest / factor[i],
                "{}: {} cells with input_dilation {} are empty or exceed 2^30", op, size,
                factor[i]);
    size = (size - 1) * factor[i] + 1;
  }
  return shape;
}

// The input with these zeros.
Tensor dilate(const Tensor& input, const Shape& factor, const Shape& shape) {
  Tensor result = input;
  for (int i = 0; i < factor.rank(); ++i) {
    if (factor[i] == 1) continue;
    Shape wider = result.shape();
    wider[i + 2] = shape[i + 2];
    result = apply1(ops::slice_backward, {result},
                    {{"axis", std::int64_t{i + 2}},
                     {"begin", std::int64_t{0}},
                     {"end", wider[i + 2]},
                     {"step", factor[i]},
                     {"shape", wider}});
  }
  return result;
}

// The cells that negative amounts take away from a tensor of `shape`; sets these amounts to 0.
std::vector<Sides> take_cuts(std::string_view op, const Shape& shape, std::vector<Sides>& padding,
                             PaddingMode mode) {
  std::vector<Sides> cuts(padding.size());
  for (std::size_t i = 0; i < padding.size(); ++i) {
    Sides& sides = padding[i];
    if (sides.before >= 0 && sides.after >= 0) continue;
    const int axis = static_cast<int>(i) + 2;
    const std::int64_t size = shape[axis];
    FOVEA_CHECK(mode == PaddingMode::zeros || mode == PaddingMode::constant,
                "{}: padding {} before and {} after is negative, which padding mode {} cannot be",
                op, sides.before, sides.after, name(mode));
    const std::int64_t before = sides.before < 0 ? sides.before : 0;
    const std::int64_t after = sides.after < 0 ? sides.after : 0;
    FOVEA_CHECK(before > -size && after > -size && before + after > -size,
                "{}: padding {} before and {} after crops all of the {} cells of axis {}", op,
                sides.before, sides.after, size, axis);
    cuts[i] = {-before, -after};
    sides = {sides.before - before, sides.after - after};
  }
  return cuts;
}

Tensor crop(const Tensor& input, const std::vector<Sides>& cuts) {
  Tensor result = input;
  for (std::size_t i = 0; i < cuts.size(); ++i) {
    if (cuts[i] == Sides{}) continue;
    const int axis = static_cast<int>(i) + 2;
    result = result.slice(axis, cuts[i].before, input.shape()[axis] - cuts[i].after);
  }
  return result;
}

Shape sides_of(const std::vector<Sides>& padding, std::int64_t Sides::*side) {
  Shape values;
  for (const Sides& sides : padding) values.push_back(sides.*side);
  return values;
}

// Constant padding with zero is zero padding.
Attributes with_padding(Attributes attributes, const std::vector<Sides>& padding, PaddingMode mode,
                        double value) {
  if (mode == PaddingMode::constant && value == 0) mode = PaddingMode::zeros;
  return std::move(attributes)
      .with("before", sides_of(padding, &Sides::before))
      .with("after", sides_of(padding, &Sides::after))
      .with("padding_mode", static_cast<std::int64_t>(mode))
      .with("padding_value", value);
}

// One bias per output channel, or per output channel and position; none where it is undefined.
Tensor add_bias(std::string_view op, const Tensor& output, const Tensor& bias) {
  if (!bias.defined()) return output;
  Shape each = output.shape();
  each[0] = 1;
  const Shape needed(std::span<const std::int64_t>(each.begin() + 1, each.end()));
  FOVEA_CHECK(bias.shape() == needed || bias.shape() == Shape{needed[0]},
              "{}: bias is {}, but the output is {}, so [{}] is needed for one per channel, or {} "
              "for one per channel and position",
              op, bias.shape(), output.shape(), needed[0], needed);
  if (bias.rank() == 1) {
    for (int axis = 2; axis < each.rank(); ++axis) each[axis] = 1;
  }
  return output + bias.reshape(each).contiguous(Layout::channels_last);
}

bool is_tied(const Tensor& bias) {
  return bias.defined() && bias.rank() == 1;
}

struct Mirror {
  bool reverse = false;   // read the kernels backwards
  bool exchange = false;  // the input channels of each group for its output channels
};
Tensor mirrored(const Tensor& weight, std::int64_t groups, const Mirror& how) {
  return apply1(
      ops::mirror, {weight},
      {{"groups", groups}, {"reverse", how.reverse}, {"exchange", how.exchange}, {"keep", true}});
}
// The option `flip`.
Tensor flip_kernel(const Tensor& weight) {
  return mirrored(weight, 1, {.reverse = true});
}

template <class Options>
std::int64_t precision_of(const Options& options) {
  return static_cast<std::int64_t>(options.precision);
}

bool any(const std::vector<Sides>& all) {
  return std::ranges::any_of(all, [](const Sides& sides) { return sides != Sides{}; });
}

// A convolution of the input with zeros between its cells, as the transposed convolution that
// computes it without them: with the mirrored kernel, the factor as its stride, and what the
// padding leaves of the kernel's span as its padding. It gives every result of stride 1.
struct Undilated {
  Shape stride;  // those of it that are wanted
  Shape output;  // sizes
  std::vector<Sides> padding;
  std::vector<Sides> around;  // results that no input cell reaches
};

// Nothing where all results are such, or where it would compute more than the zeros cost. `wide`
// is the input with the zeros.
std::optional<Undilated> undilated(const Shape& wide, const Shape& kernel, const Shape& factor,
                                   const Shape& stride, const Shape& dilation,
                                   const std::vector<Sides>& padding,
                                   const std::vector<Sides>& cuts) {
  Undilated form{.stride = stride, .output = {}, .padding = {}, .around = {}};
  if (stride.numel() > factor.numel()) return {};
  for (int i = 0; i < factor.rank(); ++i) {
    const auto place = static_cast<std::size_t>(i);
    const std::int64_t reach = dilation[i] * (kernel[i] - 1);
    const std::int64_t before = reach - padding[place].before + cuts[place].before;
    const std::int64_t after = reach - padding[place].after + cuts[place].after;
    Sides around{std::max<std::int64_t>(0, -before), std::max<std::int64_t>(0, -after)};
    // Of less than a stride at the end, a transposed convolution gives the zeros by itself.
    around.after -= std::min(around.after, factor[i] - 1);
    const std::int64_t output = wide[i + 2] + reach - before - after - around.before - around.after;
    if (output < 1) return {};
    form.output.push_back(output);
    form.padding.push_back({std::max<std::int64_t>(0, before), std::max<std::int64_t>(0, after)});
    form.around.push_back(around);
  }
  return form;
}

Tensor run_undilated(std::string_view op, const Undilated& form, const Tensor& input,
                     const Tensor& weight, const Tensor& bias, const ConvOptions& options,
                     const Epilogue& epilogue, const Attributes& attributes) {
  const int dims = input.rank() - 2;
  const Tensor w = mirrored(weight, options.groups, {.reverse = !options.flip, .exchange = true});
  const bool whole = !any(form.around) && form.stride == Shape::filled(dims, 1);
  const bool with_bias = whole && is_tied(bias);
  Tensor y = called_as(op, [&] {
    return apply1(ops::conv_transpose, {input, w, with_bias ? bias : Tensor()},
                  with_padding(attributes, form.padding, PaddingMode::zeros, 0)
                      .with("stride", options.input_dilation.expand(dims, op))
                      .with("output", form.output));
  });
  if (any(form.around)) y = pad(y, Padding(form.around));
  for (int i = 0; i < dims; ++i) {
    if (form.stride[i] != 1) y = y.slice(i + 2, 0, y.size(i + 2), form.stride[i]);
  }
  if (!with_bias) y = add_bias(op, y, bias);
  const Tensor& residual = epilogue.residual;
  ops::check_epilogue(
      op,
      std::vector<TensorSpec>{spec_of(input), spec_of(weight), spec_of(bias), spec_of(residual)},
      spec_of(y), {{"slope", epilogue.slope}});
  if (residual.defined()) y = y + residual;
  return activate(y.contiguous(Layout::channels_last), epilogue.activation, epilogue.slope);
}

Tensor convolution(std::string_view op, int dims, const Tensor& input, const Tensor& weight,
                   const Tensor& bias, const ConvOptions& options, const Epilogue& epilogue) {
  require_ranks(op, dims, input, weight, "C_out, C_in/groups");
  const Shape stride = options.stride.expand(dims, op);
  const Shape dilation = options.dilation.expand(dims, op);
  const Shape factor = options.input_dilation.expand(dims, op);
  const bool dilates = factor != Shape::filled(dims, 1);
  FOVEA_CHECK(!dilates || options.padding_mode == PaddingMode::zeros,
              "{}: input_dilation {} needs padding mode zeros, but it is {}", op, factor,
              name(options.padding_mode));
  const Shape wide = dilated(op, input.shape(), factor);
  const Shape kernel = kernel_of(weight);
  std::vector<Sides> padding =
      options.padding.resolve(make_axes(wide, kernel, stride, dilation), op);
  const std::vector<Sides> cuts = take_cuts(op, wide, padding, options.padding_mode);
  Attributes attributes = with_padding({{"stride", stride},
                                        {"dilation", dilation},
                                        {"groups", options.groups},
                                        {"algorithm", options.algorithm},
                                        {"precision", precision_of(options)},
                                        {"workspace_limit", options.workspace_limit}},
                                       padding, options.padding_mode, options.padding_value);
  Tensor x = input;
  if (dilates) {
    TensorSpec read = make_spec(wide, input.dtype());
    for (int i = 0; i < dims; ++i) {
      const Sides& cut = cuts[static_cast<std::size_t>(i)];
      read.shape[i + 2] -= cut.before + cut.after;
    }
    ops::checked_problem(std::string(op), read, spec_of(weight), attributes);
    const std::optional<Undilated> form =
        undilated(wide, kernel, factor, stride, dilation, padding, cuts);
    if (form.has_value())
      return run_undilated(op, *form, input, weight, bias, options, epilogue, attributes);
    x = dilate(input, factor, wide);
  }
  x = crop(x, cuts);
  const Tensor w = options.flip ? flip_kernel(weight) : weight;
  const bool untied = bias.defined() && !is_tied(bias);
  const Epilogue fused = untied ? Epilogue{.residual = epilogue.residual} : epilogue;
  Tensor y = autograd::apply_with_epilogue(
      ops::conv, ops::conv_fused, {x, w, untied ? Tensor() : bias}, std::move(attributes), fused);
  if (!untied) return y;
  return activate(add_bias(op, y, bias), epilogue.activation, epilogue.slope);
}

// One axis of a transposed convolution: the convolution of which it is the adjoint reads `output`
// cells with this padding; `behind` cells more of the result stay empty.
struct TransposedAxis {
  std::int64_t output = 1;
  Sides padding;
  std::int64_t behind = 0;
};

// `axis` is that of the input, with the padding given.
TransposedAxis transposed_axis(std::string_view op, const ConvAxis& axis,
                               std::int64_t output_padding, std::int64_t output_size, char name) {
  const std::int64_t least = axis.transposed_output();
  const std::int64_t extra = output_size == 0 ? output_padding : output_size - least;
  FOVEA_CHECK(
      extra >= 0 && extra < std::max(axis.stride, axis.dilation),
      "{}: {} along {}: (input - 1)*stride - before - after + dilation*(kernel - 1) + 1 = "
      "({} - 1)*{} - {} - {} + {}*({} - 1) + 1 = {}, and output_padding may add from 0 to {}, "
      "one less than the stride or the dilation",
      op,
      output_size == 0 ? fmt::format("output_padding {}", output_padding)
                       : fmt::format("output_size {}", output_size),
      name, axis.input, axis.stride, axis.padding.before, axis.padding.after, axis.dilation,
      axis.kernel, least, std::max(axis.stride, axis.dilation) - 1);
  const std::int64_t output = least + extra;
  FOVEA_CHECK(
      output >= 1,
      "{}: the output along {} is empty: (input - 1)*stride - before - after + "
      "dilation*(kernel - 1) + output_padding + 1 = ({} - 1)*{} - {} - {} + {}*({} - 1) + {} + "
      "1 = {}. Use less padding, or a larger kernel.",
      op, name, axis.input, axis.stride, axis.padding.before, axis.padding.after, axis.dilation,
      axis.kernel, extra, output);
  // Cells of whole strides at the end would be outputs of the convolution that the input lacks: so
  // much padding after, and where that is not enough, so many cells of the result are read by none.
  const std::int64_t after = axis.padding.after - extra / axis.stride * axis.stride;
  const std::int64_t behind = std::max<std::int64_t>(0, -after);
  return {.output = output - behind,
          .padding = {axis.padding.before, std::max<std::int64_t>(0, after)},
          .behind = behind};
}

// The padding that a rule gives belongs to the convolution, whose input is this one's output.
std::vector<ConvAxis> transposed_axes(std::string_view op, int dims, const Tensor& input,
                                      const Tensor& weight, const ConvTransposeOptions& options,
                                      Shape& sizes) {
  std::vector<ConvAxis> axes =
      make_axes(input.shape(), kernel_of(weight), options.stride.expand(dims, op),
                options.dilation.expand(dims, op));
  for (const ConvAxis& axis : axes) {
    FOVEA_CHECK(
        sane(axis) && axis.input < kLargest / axis.stride,
        "{}: input {}, kernel {}, stride {} and dilation {} must all be at least 1, and their "
        "output below 2^30",
        op, axis.input, axis.kernel, axis.stride, axis.dilation);
  }
  std::vector<ConvAxis> adjoint = axes;
  for (std::size_t i = 0; i < axes.size(); ++i) {
    std::int64_t& size = sizes[static_cast<int>(i)];
    FOVEA_CHECK(size >= 0 && size < kLargest,
                "{}: output_size is {}, but must be at least 1 and below 2^30, or 0 for none", op,
                size);
    if (options.padding.is_same() && size == 0) size = axes[i].input * axes[i].stride;
    if (options.padding.is_same()) adjoint[i].input = size;
  }
  const std::vector<Sides> padding = options.padding.resolve(adjoint, op);
  for (std::size_t i = 0; i < axes.size(); ++i) {
    FOVEA_CHECK(padding[i].before >= 0 && padding[i].after >= 0 && padding[i].before < kLargest &&
                    padding[i].after < kLargest,
                "{}: padding is {} before and {} after, but must be at least 0 and below 2^30", op,
                padding[i].before, padding[i].after);
    axes[i].padding = padding[i];
  }
  return axes;
}

Tensor conv_transpose(std::string_view op, int dims, const Tensor& input, const Tensor& weight,
                      const Tensor& bias, const ConvTransposeOptions& options) {
  require_ranks(op, dims, input, weight, "C_in, C_out/groups");
  const Shape output_padding = options.output_padding.expand(dims, op);
  Shape sizes = options.output_size.expand(dims, op);
  const Shape none = Shape::filled(dims, 0);
  FOVEA_CHECK(
      output_padding == none || (sizes == none && !options.padding.is_same()),
      "{}: output_padding {} is given beside {}, which already says how large the output is", op,
      output_padding,
      sizes == none ? "padding " + options.padding.to_string()
                    : "output_size " + sizes.to_string());
  const std::vector<ConvAxis> axes = transposed_axes(op, dims, input, weight, options, sizes);
  Shape output;
  std::vector<Sides> padding;
  std::vector<Sides> behind;
  bool complete = true;
  for (int i = 0; i < dims; ++i) {
    const TransposedAxis axis = transposed_axis(op, axes[static_cast<std::size_t>(i)],
                                                output_padding[i], sizes[i], "DHW"[3 - dims + i]);
    output.push_back(axis.output);
    padding.push_back(axis.padding);
    behind.push_back({0, axis.behind});
    complete = complete && axis.behind == 0;
  }
  const Attributes attributes = with_padding({{"stride", options.stride.expand(dims, op)},
                                              {"dilation", options.dilation.expand(dims, op)},
                                              {"groups", options.groups},
                                              {"algorithm", options.algorithm},
                                              {"precision", precision_of(options)},
                                              {"workspace_limit", options.workspace_limit},
                                              {"output", output}},
                                             padding, options.padding_mode, 0);
  const Tensor w = options.flip ? flip_kernel(weight) : weight;
  if (complete && is_tied(bias)) return apply1(ops::conv_transpose, {input, w, bias}, attributes);
  const Tensor y = apply1(ops::conv_transpose, {input, w, {}}, attributes);
  if (complete) return add_bias(op, y, bias);
  FOVEA_CHECK(options.padding_mode == PaddingMode::zeros,
              "{}: an output_padding of the stride or more needs padding mode zeros, but it is {}",
              op, name(options.padding_mode));
  return add_bias(op, pad(y, Padding(behind)), bias);
}

std::vector<ConvAxis> window_axes(std::string_view op, const Shape& input, const Spatial& kernel,
                                  const WindowOptions& options) {
  const int dims = input.rank() - 2;
  return make_axes(input, kernel.expand(dims, op), options.stride.expand(dims, op),
                   options.dilation.expand(dims, op));
}

Attributes window_attributes(std::string_view op, int dims, const Spatial& kernel,
                             const WindowOptions& options, const std::vector<Sides>& padding) {
  return {{"kernel", kernel.expand(dims, op)},
          {"stride", options.stride.expand(dims, op)},
          {"dilation", options.dilation.expand(dims, op)},
          {"before", sides_of(padding, &Sides::before)},
          {"after", sides_of(padding, &Sides::after)}};
}

Tensor locally_connected(std::string_view op, int dims, const Tensor& input, const Tensor& weight,
                         const Spatial& kernel, const Tensor& bias,
                         const LocallyConnectedOptions& options) {
  FOVEA_CHECK(input.defined() && weight.defined(), "{}: {} is undefined", op,
              input.defined() ? "weight" : "input");
  FOVEA_CHECK(input.rank() == dims + 2, "{}: input is {}, but needs {} axes: [N, C{}]", op,
              input.describe(), dims + 2, axis_names(dims));
  FOVEA_CHECK(weight.rank() == 3,
              "{}: weight is {}, but needs 3 axes: [positions, C_out, C_in/groups * taps]", op,
              weight.describe());
  const WindowOptions window{.stride = options.stride,
                             .padding = options.padding,
                             .padding_mode = options.padding_mode,
                             .padding_value = options.padding_value,
                             .dilation = options.dilation};
  const Tensor columns = called_as(op, [&] { return unfold(input, kernel, window); });
  const Tensor product =
      apply1(ops::local_product, {columns, weight}, {{"groups", options.groups}});
  Shape shape{input.shape()[0], weight.shape()[1]};
  std::vector<ConvAxis> axes = window_axes(op, input.shape(), kernel, window);
  const std::vector<Sides> padding = options.padding.resolve(axes, op);
  for (std::size_t i = 0; i < axes.size(); ++i) {
    axes[i].padding = padding[i];
    shape.push_back(axes[i].output());
  }
  return add_bias(op, product.reshape(shape), bias);
}

}  // namespace

Padding::Padding(std::initializer_list<std::int64_t> each) {
  for (const std::int64_t amount : each) values_.push_back({amount, amount});
}

std::vector<Sides> Padding::resolve(std::span<const ConvAxis> axes, std::string_view what) const {
  if (rule_ == Rule::amounts) {
    if (values_.size() == 1) return std::vector<Sides>(axes.size(), values_.front());
    FOVEA_CHECK(values_.size() == axes.size(),
                "{}: padding is given for {} dimensions, but there are {}; give one amount, or {}",
                what, values_.size(), axes.size(), axes.size());
    return values_;
  }
  std::vector<Sides> padding;
  for (const ConvAxis& axis : axes) {
    if (!sane(axis)) {
      padding.push_back({});
    } else if (rule_ == Rule::full) {
      padding.push_back(axis.full_padding());
    } else {
      padding.push_back(axis.same_padding(rule_ == Rule::same_lower));
    }
  }
  return padding;
}

std::string Padding::to_string() const {
  if (rule_ == Rule::same) return "same";
  if (rule_ == Rule::same_lower) return "same_lower";
  if (rule_ == Rule::full) return "full";
  const auto word = [](const Sides& sides) {
    return sides.before == sides.after ? std::to_string(sides.before)
                                       : fmt::format("{}:{}", sides.before, sides.after);
  };
  const bool alike = std::all_of(values_.begin(), values_.end(),
                                 [&](const Sides& sides) { return sides == values_.front(); });
  std::string text;
  for (std::size_t i = 0; i < (alike ? std::min<std::size_t>(values_.size(), 1) : values_.size());
       ++i) {
    text += (i == 0 ? "" : "x") + word(values_[i]);
  }
  return text;
}

Tensor conv1d(const Tensor& input, const Tensor& weight, const Tensor& bias,
              const ConvOptions& options, const Epilogue& epilogue) {
  return convolution("conv1d", 1, input, weight, bias, options, epilogue);
}
Tensor conv2d(const Tensor& input, const Tensor& weight, const Tensor& bias,
              const ConvOptions& options, const Epilogue& epilogue) {
  return convolution("conv2d", 2, input, weight, bias, options, epilogue);
}
Tensor conv3d(const Tensor& input, const Tensor& weight, const Tensor& bias,
              const ConvOptions& options, const Epilogue& epilogue) {
  return convolution("conv3d", 3, input, weight, bias, options, epilogue);
}

Tensor conv_transpose1d(const Tensor& input, const Tensor& weight, const Tensor& bias,
                        const ConvTransposeOptions& options) {
  return conv_transpose("conv_transpose1d", 1, input, weight, bias, options);
}
Tensor conv_transpose2d(const Tensor& input, const Tensor& weight, const Tensor& bias,
                        const ConvTransposeOptions& options) {
  return conv_transpose("conv_transpose2d", 2, input, weight, bias, options);
}
Tensor conv_transpose3d(const Tensor& input, const Tensor& weight, const Tensor& bias,
                        const ConvTransposeOptions& options) {
  return conv_transpose("conv_transpose3d", 3, input, weight, bias, options);
}

Tensor unfold(const Tensor& input, const Spatial& kernel, const WindowOptions& options) {
  const int dims = ops::spatial_dims("unfold", input);
  std::vector<Sides> padding =
      options.padding.resolve(window_axes("unfold", input.shape(), kernel, options), "unfold");
  Tensor x = crop(input, take_cuts("unfold", input.shape(), padding, options.padding_mode));
  if (options.padding_mode != PaddingMode::zeros) {
    x = pad(x, Padding(padding), {options.padding_mode, options.padding_value});
    std::fill(padding.begin(), padding.end(), Sides{});
  }
  return apply1(ops::unfold, {x}, window_attributes("unfold", dims, kernel, options, padding));
}

Tensor fold(const Tensor& columns, const Spatial& size, const Spatial& kernel,
            const WindowOptions& options) {
  FOVEA_CHECK(columns.defined(), "fold: the columns are undefined");
  const int dims = size.values().rank();
  FOVEA_CHECK(dims >= 1 && dims <= 3, "fold: {} spatial dimensions, but only 1, 2 and 3 exist",
              dims);
  Shape input{1, 1};  // of which the spatial sizes matter
  for (const std::int64_t one : size.expand(dims, "fold")) input.push_back(one);
  std::vector<Sides> padding =
      options.padding.resolve(window_axes("fold", input, kernel, options), "fold");
  const bool pads = options.padding_mode != PaddingMode::zeros;
  const std::vector<Sides> given = padding;
  Shape folded(std::span<const std::int64_t>(input.begin() + 2, input.end()));
  if (pads) {
    for (int i = 0; i < dims; ++i) {
      Sides& sides = padding[static_cast<std::size_t>(i)];
      FOVEA_CHECK(std::abs(sides.before) < kLargest && std::abs(sides.after) < kLargest &&
                      std::abs(folded[i]) < kLargest,
                  "fold: size {} or padding {} + {} exceeds 2^30", folded[i], sides.before,
                  sides.after);
      folded[i] += sides.before + sides.after;
      sides = {};
    }
  }
  Tensor x =
      apply1(ops::fold, {columns},
             window_attributes("fold", dims, kernel, options, padding).with("input", folded));
  if (!pads) return x;
  return apply1(
      ops::pad_backward, {x},
      with_padding({{"input", size.expand(dims, "fold")}}, given, options.padding_mode, 0));
}

Tensor locally_connected1d(const Tensor& input, const Tensor& weight, const Spatial& kernel,
                           const Tensor& bias, const LocallyConnectedOptions& options) {
  return locally_connected("locally_connected1d", 1, input, weight, kernel, bias, options);
}
Tensor locally_connected2d(const Tensor& input, const Tensor& weight, const Spatial& kernel,
                           const Tensor& bias, const LocallyConnectedOptions& options) {
  return locally_connected("locally_connected2d", 2, input, weight, kernel, bias, options);
}
Tensor locally_connected3d(const Tensor& input, const Tensor& weight, const Spatial& kernel,
                           const Tensor& bias, const LocallyConnectedOptions& options) {
  return locally_connected("locally_connected3d", 3, input, weight, kernel, bias, options);
}

Tensor pad(const Tensor& input, const Padding& amounts, const PadOptions& options) {
  const int dims = ops::spatial_dims("pad", input);
  const Shape ones = Shape::filled(dims, 1);
  std::vector<Sides> padding = amounts.resolve(make_axes(input.shape(), ones, ones, ones), "pad");
  Tensor kept = crop(input, take_cuts("pad", input.shape(), padding, options.mode));
  const bool none = std::all_of(padding.begin(), padding.end(),
                                [](const Sides& sides) { return sides == Sides{}; });
  if (none) return kept;
  return apply1(ops::pad, {kept}, with_padding({}, padding, options.mode, options.value));
}

}  // namespace fovea
