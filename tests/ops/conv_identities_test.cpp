// What the lectures prove of convolutions, over random shapes and options: letters in brackets name
// the lecture.
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>

#include "fovea/autograd.h"
#include "fovea/functions.h"
#include "support/gradients.h"
#include "support/tensors.h"

namespace fovea::testing {
namespace {

std::int64_t between(std::int64_t low, std::int64_t high) {
  return *rc::gen::inRange<std::int64_t>(low, high + 1);
}

Shape sizes(int count, std::int64_t low, std::int64_t high) {
  Shape result;
  for (int i = 0; i < count; ++i) result.push_back(between(low, high));
  return result;
}

Tensor values(const Shape& shape) {
  return random_tensor(shape, static_cast<std::uint64_t>(between(0, 1 << 30)));
}

Shape joined(const Shape& first, const Shape& second) {
  Shape result = first;
  for (const std::int64_t size : second) result.push_back(size);
  return result;
}

Shape spatial_of(const Tensor& tensor) {
  return Shape(std::span<const std::int64_t>(tensor.shape().begin() + 2, tensor.shape().end()));
}

// Sums of at most some thousand products of numbers below 1, in another order.
bool close(const Tensor& a, const Tensor& b) {
  return a.shape() == b.shape() && max_abs(a - b) <= 1e-12 * std::max(1.0, max_abs(b));
}

bool close(double a, double b) {
  return std::abs(a - b) <= 1e-11 * std::max(1.0, std::abs(b));
}

Tensor conv(const Tensor& x, const Tensor& w, const ConvOptions& options = {},
            const Tensor& bias = {}) {
  const int dims = x.rank() - 2;
  return (dims == 1 ? conv1d : dims == 2 ? conv2d : conv3d)(x, w, bias, options, {});
}

Tensor conv_transpose(const Tensor& x, const Tensor& w, const ConvTransposeOptions& options = {}) {
  const int dims = x.rank() - 2;
  return (dims == 1   ? conv_transpose1d
          : dims == 2 ? conv_transpose2d
                      : conv_transpose3d)(x, w, {}, options);
}

// The first two axes change places.
Tensor transposed(const Tensor& tensor) {
  Shape axes{1, 0};
  for (int axis = 2; axis < tensor.rank(); ++axis) axes.push_back(axis);
  return tensor.permute(axes);
}

// `options` that fit an input of these sizes, the kernel included.
struct Layer {
  Tensor x, w;
  ConvOptions options;
};

Padding amounts(int dims, std::int64_t most) {
  std::vector<Sides> padding;
  for (int i = 0; i < dims; ++i) padding.push_back({between(0, most), between(0, most)});
  return Padding(padding);
}

Layer any_layer() {
  const int dims = static_cast<int>(between(1, 3));
  Layer layer;
  layer.options.groups = between(1, 3);
  const Shape kernel = sizes(dims, 1, 3);
  const Shape dilation = sizes(dims, 1, 2);
  Shape input = sizes(dims, 3, 5);  // reflect takes two cells
  for (int i = 0; i < dims; ++i) input[i] = std::max(input[i], dilation[i] * (kernel[i] - 1) + 1);
  layer.options.stride = Spatial(sizes(dims, 1, 3));
  layer.options.dilation = Spatial(dilation);
  layer.options.padding = amounts(dims, 2);
  layer.options.padding_mode = kPaddingModes[static_cast<std::size_t>(between(0, 5))];
  layer.options.flip = between(0, 1) == 1;
  const std::int64_t in = between(1, 3);
  layer.x = values(joined({between(1, 2), in * layer.options.groups}, input));
  layer.w = values(joined({between(1, 2) * layer.options.groups, in}, kernel));
  return layer;
}

Tensor gradient(const Tensor& y, const Tensor& of, const Tensor& v) {
  return grad({y}, {of}, {.grad_outputs = {v}}).front();
}

RC_GTEST_PROP(ConvIdentity, AdjointInTheInputIsConvolutionWithTheFlippedFilter, ()) {
  const int dims = static_cast<int>(between(1, 3));
  const Shape kernel = sizes(dims, 1, 3);
  Tensor x = values(joined({2, 3}, sizes(dims, 3, 5))).set_requires_grad();
  const Tensor w = values(joined({2, 3}, kernel));
  std::vector<Sides> padding;
  std::vector<Sides> rest;  // of the kernel's span
  for (int i = 0; i < dims; ++i) {
    padding.push_back({between(0, kernel[i] - 1), between(0, kernel[i] - 1)});
    rest.push_back({kernel[i] - 1 - padding.back().before, kernel[i] - 1 - padding.back().after});
  }
  const Tensor y = conv(x, w, {.padding = Padding(padding)});
  const Tensor v = values(y.shape());
  RC_ASSERT(
      close(gradient(y, x, v), conv(v, transposed(w), {.padding = Padding(rest), .flip = true})));
}

// Samples and positions in one axis, behind the others.
Tensor as_matrix(const Tensor& columns) {
  return columns.permute({1, 0, 2}).reshape({columns.size(1), -1});
}

RC_GTEST_PROP(ConvIdentity, OutputAndWeightGradientAreProductsWithThePatches, ()) {
  Layer layer = any_layer();
  layer.options.groups = 1;
  layer.options.flip = false;
  layer.x = values(joined({2, layer.w.size(1)}, spatial_of(layer.x)));
  layer.w.set_requires_grad();
  layer.options.padding_value = layer.options.padding_mode == PaddingMode::constant ? 0.5 : 0;
  const Tensor columns = as_matrix(unfold(layer.x, Spatial(spatial_of(layer.w)),
                                          {.stride = layer.options.stride,
                                           .padding = layer.options.padding,
                                           .padding_mode = layer.options.padding_mode,
                                           .padding_value = layer.options.padding_value,
                                           .dilation = layer.options.dilation}));
  const Tensor y = conv(layer.x, layer.w, layer.options);
  const Tensor v = values(y.shape());
  const auto matrix = [](const Tensor& t) {
    return as_matrix(t.reshape({t.size(0), t.size(1), -1}));
  };
  const Tensor w = layer.w.reshape({layer.w.size(0), -1});
  RC_ASSERT(close(matrix(y), matmul(w, columns)));
  RC_ASSERT(close(gradient(y, layer.w, v).reshape(w.shape()),
                  matmul(matrix(v), columns.permute({1, 0}))));
}

RC_GTEST_PROP(ConvIdentity, TwoStackedConvolutionsAreOne, ()) {
  const int dims = static_cast<int>(between(1, 3));
  const Shape first = sizes(dims, 1, 3);
  const Shape second = sizes(dims, 1, 3);
  const Tensor x = values(joined({2, 2}, sizes(dims, 5, 6)));
  const Tensor w1 = values(joined({3, 2}, first));
  const Tensor w2 = values(joined({2, 3}, second));
  const Tensor composed =
      transposed(conv(transposed(w1), w2, {.padding = Padding::full(), .flip = true}));
  RC_ASSERT(close(conv(conv(x, w1), w2), conv(x, composed)));
  const auto circular = [](const Tensor& input, const Tensor& weight) {
    std::vector<Sides> padding;
    for (const std::int64_t size : spatial_of(weight)) padding.push_back({0, size - 1});
    return conv(input, weight,
                {.padding = Padding(padding), .padding_mode = PaddingMode::circular});
  };
  RC_ASSERT(close(circular(circular(x, w1), w2), circular(x, composed)));
}

RC_GTEST_PROP(ConvIdentity, GroupsAreABlockDiagonalWeight, ()) {
  const Layer layer = any_layer();
  const std::int64_t in = layer.w.size(1);
  const std::int64_t out = layer.w.size(0) / layer.options.groups;
  Tensor dense = Tensor::zeros(joined({layer.w.size(0), layer.x.size(1)}, spatial_of(layer.w)),
                               DType::float64);
  for (std::int64_t group = 0; group < layer.options.groups; ++group) {
    Tensor block =
        dense.slice(0, group * out, (group + 1) * out).slice(1, group * in, (group + 1) * in);
    block.copy_from(layer.w.slice(0, group * out, (group + 1) * out));
  }
  ConvOptions options = layer.options;
  options.groups = 1;
  RC_ASSERT(close(conv(layer.x, layer.w, layer.options), conv(layer.x, dense, options)));
}

RC_GTEST_PROP(ConvIdentity, ADilatedKernelHasZerosBetweenItsTaps, ()) {
  const Layer layer = any_layer();
  const Shape dilation = layer.options.dilation.values();
  Shape shape = layer.w.shape();
  for (int i = 0; i < dilation.rank(); ++i) shape[i + 2] = (shape[i + 2] - 1) * dilation[i] + 1;
  Tensor spread = Tensor::zeros(shape, DType::float64);
  Tensor taps = spread;
  for (int i = 0; i < dilation.rank(); ++i) taps = taps.slice(i + 2, 0, shape[i + 2], dilation[i]);
  taps.copy_from(layer.w);
  ConvOptions options = layer.options;
  options.dilation = 1;
  RC_ASSERT(close(conv(layer.x, layer.w, layer.options), conv(layer.x, spread, options)));
}

RC_GTEST_PROP(ConvIdentity, FlipReadsTheKernelBackwards, ()) {
  Layer layer = any_layer();
  layer.options.flip = true;
  Shape axes;
  for (int axis = 2; axis < layer.w.rank(); ++axis) axes.push_back(axis);
  ConvOptions options = layer.options;
  options.flip = false;
  RC_ASSERT(
      close(conv(layer.x, layer.w, layer.options), conv(layer.x, flip(layer.w, axes), options)));
}

RC_GTEST_PROP(ConvIdentity, APaddingModeIsPaddingBeforehand, ()) {
  Layer layer = any_layer();
  layer.options.padding_value = layer.options.padding_mode == PaddingMode::constant ? -0.75 : 0;
  ConvOptions options = layer.options;
  options.padding = 0;
  options.padding_mode = PaddingMode::zeros;
  options.padding_value = 0;
  layer.x.set_requires_grad();
  layer.w.set_requires_grad();
  const Tensor expected = conv(pad(layer.x, layer.options.padding,
                                   {layer.options.padding_mode, layer.options.padding_value}),
                               layer.w, options);
  const Tensor actual = conv(layer.x, layer.w, layer.options);
  RC_ASSERT(close(actual, expected));
  const Tensor v = values(actual.shape());
  const GradOptions along{.grad_outputs = {v}};
  const std::vector<Tensor> exact = grad({expected}, {layer.x, layer.w}, along);
  const std::vector<Tensor> ours = grad({actual}, {layer.x, layer.w}, along);
  RC_ASSERT(close(ours[0], exact[0]));
  RC_ASSERT(close(ours[1], exact[1]));
}

RC_GTEST_PROP(ConvIdentity, LocallyConnectedWithEqualWeightsIsConvolution, ()) {
  Layer layer = any_layer();
  layer.options.flip = false;
  layer.options.padding_value = layer.options.padding_mode == PaddingMode::constant ? 2 : 0;
  const Tensor expected = conv(layer.x, layer.w, layer.options);
  std::int64_t positions = 1;
  for (const std::int64_t size : spatial_of(expected)) positions *= size;
  const Tensor matrix = layer.w.reshape({1, layer.w.size(0), -1});
  const Tensor weight = broadcast_to(matrix, {positions, matrix.size(1), matrix.size(2)});
  const int dims = layer.x.rank() - 2;
  const Tensor actual =
      (dims == 1   ? locally_connected1d
       : dims == 2 ? locally_connected2d
                   : locally_connected3d)(layer.x, weight, Spatial(spatial_of(layer.w)), {},
                                          {.stride = layer.options.stride,
                                           .padding = layer.options.padding,
                                           .padding_mode = layer.options.padding_mode,
                                           .padding_value = layer.options.padding_value,
                                           .dilation = layer.options.dilation,
                                           .groups = layer.options.groups});
  RC_ASSERT(close(actual, expected));
}

RC_GTEST_PROP(ConvIdentity, TransposedIsTheAdjoint, ()) {
  Layer layer = any_layer();
  switch (between(0, 3)) {
    case 0:
      layer.options.padding = Padding::same();
      break;
    case 1:
      layer.options.padding = Padding::same_lower();
      break;
    default:
      break;
  }
  if (layer.options.padding.is_same()) layer.options.padding_mode = PaddingMode::circular;
  const Tensor y = conv(layer.x, layer.w, layer.options);
  const Tensor v = values(y.shape());
  const Tensor back = conv_transpose(v, layer.w,
                                     {.stride = layer.options.stride,
                                      .padding = layer.options.padding,
                                      .padding_mode = layer.options.padding_mode,
                                      .output_size = Spatial(spatial_of(layer.x)),
                                      .dilation = layer.options.dilation,
                                      .groups = layer.options.groups,
                                      .flip = layer.options.flip});
  RC_ASSERT(back.shape() == layer.x.shape());
  RC_ASSERT(close(inner_product(y, v), inner_product(layer.x, back)));
}

// [C_in, C_out/groups, ...] to [C_out, C_in/groups, ...].
Tensor exchanged(const Tensor& w, std::int64_t groups) {
  const Shape kernel = spatial_of(w);
  const Tensor apart = w.reshape(joined({groups, w.size(0) / groups, w.size(1)}, kernel));
  Shape axes{0, 2, 1};
  for (int axis = 3; axis < apart.rank(); ++axis) axes.push_back(axis);
  return apart.permute(axes).reshape(joined({groups * w.size(1), w.size(0) / groups}, kernel));
}

RC_GTEST_PROP(ConvIdentity, TransposedIsConvolutionOfTheDilatedInput, ()) {
  const int dims = static_cast<int>(between(1, 3));
  const std::int64_t groups = between(1, 2);
  const Shape kernel = sizes(dims, 1, 3);
  const Shape stride = sizes(dims, 1, 3);
  const Shape dilation = sizes(dims, 1, 3);
  const Tensor x = values(joined({2, 2 * groups}, sizes(dims, 4, 5)));
  const Tensor w = values(joined({2 * groups, 3}, kernel));
  Shape output_padding;
  std::vector<Sides> padding;
  std::vector<Sides> rest;  // of the kernel's span: a crop where the padding is larger
  for (int i = 0; i < dims; ++i) {
    const std::int64_t reach = dilation[i] * (kernel[i] - 1);
    padding.push_back({between(0, 2), between(0, 2)});
    // No output is empty: with 4 cells and more, at least 4 - 2 - 2 + 1 are left.
    if (stride[i] == 1 && reach == 0) padding.back() = {1, between(0, 1)};
    output_padding.push_back(between(0, std::max(stride[i], dilation[i]) - 1));
    rest.push_back(
        {reach - padding.back().before, reach - padding.back().after + output_padding[i]});
  }
  const Tensor expected = conv(x, exchanged(w, groups),
                               {.padding = Padding(rest),
                                .dilation = Spatial(dilation),
                                .input_dilation = Spatial(stride),
                                .groups = groups,
                                .flip = true});
  const Tensor actual = conv_transpose(x, w,
                                       {.stride = Spatial(stride),
                                        .padding = Padding(padding),
                                        .output_padding = Spatial(output_padding),
                                        .dilation = Spatial(dilation),
                                        .groups = groups});
  RC_ASSERT(close(actual, expected));
}

// x with the zeros that input_dilation stands for.
Tensor with_zeros(const Tensor& x, const Shape& factor) {
  Tensor result = x;
  for (int i = 0; i < factor.rank(); ++i) {  // each cell becomes a row of its own, which is padded
    Shape cells = result.shape();
    std::int64_t in_front = 1;
    std::int64_t behind = 1;
    for (int axis = 0; axis < i + 3; ++axis) in_front *= cells[axis];
    for (int axis = i + 3; axis < cells.rank(); ++axis) behind *= cells[axis];
    const Tensor row =
        pad(result.reshape({in_front, 1, 1, behind}), Padding{{0, factor[i] - 1}, {0, 0}});
    cells[i + 2] *= factor[i];
    result = row.reshape(cells).slice(i + 2, 0, cells[i + 2] - factor[i] + 1);
  }
  return result;
}

RC_GTEST_PROP(ConvIdentity, InputDilationIsConvolutionOfTheInputWithZerosBetweenItsCells, ()) {
  const int dims = static_cast<int>(between(1, 3));
  const std::int64_t groups = between(1, 2);
  const Shape kernel = sizes(dims, 1, 3);
  const Shape factor = sizes(dims, 1, 3);
  const Tensor x = values(joined({2, 2 * groups}, sizes(dims, 3, 4))).set_requires_grad();
  const Tensor w = values(joined({3 * groups, 2}, kernel)).set_requires_grad();
  std::vector<Sides> padding;
  for (int i = 0; i < dims; ++i) padding.push_back({between(-1, 4), between(-1, 4)});
  ConvOptions options{.stride = Spatial(sizes(dims, 1, 2)),
                      .padding = Padding(padding),
                      .dilation = Spatial(sizes(dims, 1, 2)),
                      .groups = groups,
                      .flip = between(0, 1) == 1};
  const Tensor wide = with_zeros(x, factor);
  for (int i = 0; i < dims; ++i) {
    const std::int64_t reach = options.dilation.expand(dims, "")[i] * (kernel[i] - 1);
    const Sides& sides = padding[static_cast<std::size_t>(i)];
    RC_PRE(wide.size(i + 2) + sides.before + sides.after > reach);
  }
  const Tensor expected = conv(wide, w, options);
  options.input_dilation = Spatial(factor);
  const Tensor actual = conv(x, w, options);
  RC_ASSERT(close(actual, expected));
  const Tensor v = values(expected.shape());
  const std::vector<Tensor> of_actual = grad({actual}, {x, w}, {.grad_outputs = {v}});
  const std::vector<Tensor> of_expected = grad({expected}, {x, w}, {.grad_outputs = {v}});
  RC_ASSERT(close(of_actual[0], of_expected[0]));
  RC_ASSERT(close(of_actual[1], of_expected[1]));
}

RC_GTEST_PROP(ConvIdentity, FoldIsTheAdjointOfUnfold, ()) {
  const Layer layer = any_layer();  // with constant padding of 0, all modes are linear
  const Spatial kernel(spatial_of(layer.w));
  const WindowOptions options{.stride = layer.options.stride,
                              .padding = layer.options.padding,
                              .padding_mode = layer.options.padding_mode,
                              .dilation = layer.options.dilation};
  const Tensor columns = unfold(layer.x, kernel, options);
  const Tensor v = values(columns.shape());
  const Tensor folded = fold(v, Spatial(spatial_of(layer.x)), kernel, options);
  RC_ASSERT(folded.shape() == layer.x.shape());
  RC_ASSERT(close(inner_product(columns, v), inner_product(layer.x, folded)));
}

// x, shifted by whole cells along each axis, what leaves at the end comes in at the start.
Tensor rolled(const Tensor& x, const Shape& shift) {
  Tensor result = x;
  for (int i = 0; i < shift.rank(); ++i) {
    std::vector<Sides> padding(static_cast<std::size_t>(shift.rank()));
    padding[static_cast<std::size_t>(i)].before = shift[i];
    result = pad(result, Padding(padding), {.mode = PaddingMode::circular})
                 .slice(i + 2, 0, x.shape()[i + 2]);
  }
  return result;
}

RC_GTEST_PROP(ConvIdentity, CircularConvolutionCommutesWithShifts, ()) {
  const int dims = static_cast<int>(between(1, 3));
  const Tensor x = values(joined({1, 2}, sizes(dims, 2, 5)));
  const Tensor w = values(joined({3, 2}, sizes(dims, 1, 6)));  // wider than the input, too
  const Shape shift = sizes(dims, 0, 4);
  const ConvOptions options{.padding = Padding::same(), .padding_mode = PaddingMode::circular};
  RC_ASSERT(close(conv(rolled(x, shift), w, options), rolled(conv(x, w, options), shift)));
}

RC_GTEST_PROP(ConvIdentity, GlobalPoolingOfCircularConvolutionsIgnoresShifts, ()) {
  const int dims = static_cast<int>(between(1, 3));
  const Tensor x = values(joined({2, 2}, sizes(dims, 3, 5)));
  const Tensor w1 = values(joined({3, 2}, sizes(dims, 1, 3)));
  const Tensor w2 = values(joined({2, 3}, sizes(dims, 1, 3)));
  const ConvOptions options{.padding = Padding::same(), .padding_mode = PaddingMode::circular};
  const auto network = [&](const Tensor& input) {
    return global_avg_pool(conv(relu(conv(input, w1, options)), w2, options));
  };
  RC_ASSERT(close(network(rolled(x, sizes(dims, 0, 4))), network(x)));
}

RC_GTEST_PROP(ConvIdentity, AnUntiedBiasIsAddedCellByCell, ()) {
  Layer layer = any_layer();
  const Tensor y = conv(layer.x, layer.w, layer.options);
  Shape shape = y.shape();
  shape[0] = 1;
  Tensor bias = values(Shape(std::span<const std::int64_t>(shape.begin() + 1, shape.end())));
  bias.set_requires_grad();
  const Tensor biased = conv(layer.x, layer.w, layer.options, bias);
  RC_ASSERT(close(biased, y + broadcast_to(bias.reshape(shape), y.shape())));
  const Tensor v = values(y.shape());
  RC_ASSERT(close(gradient(biased, bias, v), sum(v, {0})));
}

}  // namespace
}  // namespace fovea::testing
