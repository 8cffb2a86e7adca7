// ConvProblem: validation, shapes and counts.
#include <algorithm>
#include <cmath>
#include <utility>

#include "core/check.h"
#include "fovea/conv.h"

namespace fovea {
namespace {

constexpr std::string_view kAxisNames = "DHW";

// The name of spatial axis `axis` of `dims`: H of H,W.
char axis_name(int dims, int axis) {
  return kAxisNames[static_cast<std::size_t>(3 - dims + axis)];
}

void require_positive(std::string_view op, std::string_view what, std::int64_t value) {
  FOVEA_CHECK(value >= 1, "{}: {} is {}, but must be at least 1", op, what, value);
}

void validate_axis(std::string_view op, const ConvAxis& axis, PaddingMode mode, char name) {
  const auto named = [&](std::string_view what) { return fmt::format("{} along {}", what, name); };
  const std::pair<std::string_view, std::int64_t> sizes[] = {{"input size", axis.input},
                                                             {"kernel size", axis.kernel},
                                                             {"stride", axis.stride},
                                                             {"dilation", axis.dilation}};
  for (const auto& [what, size] : sizes) {
    if (size < 1) require_positive(op, named(what), size);  // or every call would format names
  }
  FOVEA_CHECK(axis.padding.before >= 0 && axis.padding.after >= 0,
              "{}: padding along {} is {} before and {} after, but must not be negative; slice() "
              "the input to crop it",
              op, name, axis.padding.before, axis.padding.after);
  // One axis fits the 32-bit indices of the patch table with room for every intermediate sum.
  constexpr std::int64_t kLimit = std::int64_t{1} << 30;
  FOVEA_CHECK(axis.input < kLimit && axis.kernel < kLimit && axis.stride < kLimit &&
                  axis.dilation < kLimit && axis.padding.before < kLimit &&
                  axis.padding.after < kLimit && axis.span() < kLimit &&
                  axis.input + axis.padding.before + axis.padding.after < kLimit,
              "{}: sizes along {} (input {}, kernel {}, stride {}, dilation {}, padding {}+{}) "
              "exceed 2^30, alone, as the span of the kernel, or as the padded input",
              op, name, axis.input, axis.kernel, axis.stride, axis.dilation, axis.padding.before,
              axis.padding.after);
  FOVEA_CHECK(
      mode != PaddingMode::reflect ||
          std::max(axis.padding.before, axis.padding.after) < axis.input,
      "{}: reflect padding along {} is {} before and {} after, but {} cells can be mirrored "
      "at most {} far (input - 1); use less padding, or replicate or circular",
      op, name, axis.padding.before, axis.padding.after, axis.input, axis.input - 1);
  const std::int64_t padded = axis.input + axis.padding.before + axis.padding.after;
  FOVEA_CHECK(axis.span() <= padded,
              "{}: the kernel does not fit along {}: dilation*(kernel-1)+1 = {}*({}-1)+1 = {}, but "
              "input + padding = "
              "{}+{}+{} = {}. Use a smaller kernel or dilation, or more padding.",
              op, name, axis.dilation, axis.kernel, axis.span(), axis.input, axis.padding.before,
              axis.padding.after, padded);
}

}  // namespace

std::string_view name(PaddingMode mode) {
  switch (mode) {
    case PaddingMode::zeros:
      return "zeros";
    case PaddingMode::constant:
      return "constant";
    case PaddingMode::mean:
      return "mean";
    case PaddingMode::circular:
      return "circular";
    case PaddingMode::reflect:
      return "reflect";
    case PaddingMode::replicate:
      return "replicate";
  }
  FOVEA_ASSERT(false);
}

std::string_view name(Pass pass) {
  switch (pass) {
    case Pass::forward:
      return "forward";
    case Pass::backward_data:
      return "backward_data";
    case Pass::backward_weights:
      return "backward_weights";
  }
  FOVEA_ASSERT(false);
}

std::string_view name(Precision precision) {
  return precision == Precision::fast ? "fast" : "exact";
}

Sides ConvAxis::same_padding(bool lower) const {
  const std::int64_t outputs = (input + stride - 1) / stride;
  const std::int64_t total = std::max<std::int64_t>(0, (outputs - 1) * stride + span() - input);
  const std::int64_t less = total / 2;
  return lower ? Sides{total - less, less} : Sides{less, total - less};
}

void ConvProblem::validate(std::string_view op) const {
  FOVEA_CHECK(dims >= 1 && dims <= 3, "{}: {} spatial dimensions, but only 1, 2 and 3 exist", op,
              dims);
  FOVEA_CHECK(is_floating(dtype),
              "{}: the type is {}, but must be float32 or float64; convert with to()", op,
              fovea::name(dtype));
  require_positive(op, "batch", batch);
  require_positive(op, "in_channels", in_channels);
  require_positive(op, "out_channels", out_channels);
  require_positive(op, "groups", groups);
  FOVEA_CHECK(in_channels % groups == 0,
              "{}: {} input channels do not divide into {} groups ({} mod {} = {})", op,
              in_channels, groups, in_channels, groups, in_channels % groups);
  FOVEA_CHECK(out_channels % groups == 0,
              "{}: {} output channels do not divide into {} groups ({} mod {} = {})", op,
              out_channels, groups, out_channels, groups, out_channels % groups);
  FOVEA_CHECK(!std::isnan(padding_value), "{}: the padding value is not a number", op);
  FOVEA_CHECK(
      padding_mode == PaddingMode::constant || padding_value == 0,
      "{}: the padding value is {}, but the padding mode is {}; only constant padding has a "
      "value",
      op, padding_value, fovea::name(padding_mode));
  for (int i = 0; i < dims; ++i)
    validate_axis(op, axes[static_cast<std::size_t>(i)], padding_mode, axis_name(dims, i));
  input_shape().numel();  // these throw where an index would not fit
  weight_shape().numel();
  output_shape().numel();
  Shape{output_positions(), out_channels, in_channels / groups, taps()}.numel();
  Shape padded{batch, in_channels};
  for (int i = 0; i < dims; ++i) {
    const ConvAxis& axis = axes[static_cast<std::size_t>(i)];
    padded.push_back(axis.input + axis.padding.before + axis.padding.after);
  }
  padded.numel();
}

Shape ConvProblem::input_shape() const {
  Shape shape{batch, in_channels};
  for (int i = 0; i < dims; ++i) shape.push_back(axes[static_cast<std::size_t>(i)].input);
  return shape;
}

Shape ConvProblem::weight_shape() const {
  Shape shape{out_channels, in_channels / groups};
  for (int i = 0; i < dims; ++i) shape.push_back(axes[static_cast<std::size_t>(i)].kernel);
  return shape;
}

Shape ConvProblem::output_shape() const {
  Shape shape{batch, out_channels};
  for (int i = 0; i < dims; ++i) shape.push_back(axes[static_cast<std::size_t>(i)].output());
  return shape;
}

std::int64_t ConvProblem::taps() const {
  std::int64_t product = 1;
  for (int i = 0; i < dims; ++i) product *= axes[static_cast<std::size_t>(i)].kernel;
  return product;
}

std::int64_t ConvProblem::output_positions() const {
  return output_shape().numel() / out_channels;
}

std::int64_t ConvProblem::multiply_adds() const {
  return output_positions() * out_channels * (in_channels / groups) * taps();
}

}  // namespace fovea
