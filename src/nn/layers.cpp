// The layers: each holds parameters and options, and calls one function of functions.h.
//
// To add one: its class in fovea/nn.h, describe() and forward() here, and a line in layer_list.cpp.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "core/check.h"
#include "fovea/nn.h"

namespace fovea::nn {
namespace {

// "5" where all are alike, otherwise "5x3".
std::string words(const Shape& values) {
  if (std::all_of(values.begin(), values.end(), [&](auto value) { return value == values[0]; })) {
    return std::to_string(values[0]);
  }
  return fmt::format("{}", fmt::join(values, "x"));
}

// As above, with "0:1" for padding that differs before and after.
std::string words(const std::vector<Sides>& padding) {
  const auto word = [](const Sides& sides) {
    return sides.before == sides.after ? std::to_string(sides.before)
                                       : fmt::format("{}:{}", sides.before, sides.after);
  };
  std::string text = word(padding[0]);
  if (std::all_of(padding.begin(), padding.end(),
                  [&](const Sides& sides) { return sides == padding[0]; })) {
    return text;
  }
  for (std::size_t axis = 1; axis < padding.size(); ++axis) text += "x" + word(padding[axis]);
  return text;
}

// ", stride=2" unless the option has its default.
std::string option(std::string_view name, const std::string& value, std::string_view usual) {
  return value == usual ? "" : fmt::format(", {}={}", name, value);
}

Tensor new_weight(const Shape& shape, double bound, Generator& generator) {
  return fovea::uniform(shape, -bound, bound, generator);
}

// The layer as a problem with the smallest input it takes: lets the one validation of conv options
// speak at creation.
ConvProblem smallest_problem(int dims, std::int64_t in, std::int64_t out, const Spatial& kernel,
                             const ConvLayerOptions& options) {
  FOVEA_CHECK(dims >= 1 && dims <= 3, "Conv: has 1, 2 or 3 dimensions, not {}", dims);
  const Shape kernels = kernel.expand(dims, "kernel");
  const Shape strides = options.stride.expand(dims, "stride");
  const Shape dilations = options.dilation.expand(dims, "dilation");
  const std::vector<Sides> padding = options.padding.expand(dims, "padding");
  ConvProblem problem{
      .in_channels = in, .out_channels = out, .groups = options.groups, .dims = dims, .axes = {}};
  for (int d = 0; d < dims; ++d) {
    ConvAxis& axis = problem.axes[static_cast<std::size_t>(d)];
    axis = {.kernel = kernels[d],
            .stride = strides[d],
            .dilation = dilations[d],
            .padding = padding[static_cast<std::size_t>(d)]};
    constexpr std::int64_t kSane = 1
                                   << 20;  // beyond it span() might overflow, and no layer is meant
    if (axis.kernel > 0 && axis.kernel < kSane && axis.dilation > 0 && axis.dilation < kSane) {
      axis.input = axis.span();
    }
  }
  return problem;
}

}  // namespace

Conv::Conv(int dims, std::int64_t in, std::int64_t out, const Spatial& kernel,
           const ConvLayerOptions& options, Generator& generator)
    : dims_(dims), options_(options) {
  const ConvProblem problem = smallest_problem(dims, in, out, kernel, options);
  problem.validate(fmt::format("Conv{}d", dims));
  const Shape shape = problem.weight_shape();
  const double fan_in = static_cast<double>(shape[1] * problem.taps());
  const double bound = 1.0 / std::sqrt(fan_in);
  weight = new_weight(shape, bound, generator);
  add_parameter("weight", weight);
  if (!options.bias) return;
  bias = new_weight({out}, bound, generator);
  add_parameter("bias", bias);
}

std::string Conv::describe() const {
  const Shape& shape = weight.shape();
  const Shape kernel(std::span<const std::int64_t>(shape.begin() + 2, shape.end()));
  return fmt::format(
      "Conv{}d({}, {}, kernel={}{}{}{}{}{})", dims_, shape[1] * options_.groups, shape[0],
      words(kernel), option("stride", words(options_.stride.expand(dims_, "stride")), "1"),
      option("padding", words(options_.padding.expand(dims_, "padding")), "0"),
      option("dilation", words(options_.dilation.expand(dims_, "dilation")), "1"),
      option("groups", std::to_string(options_.groups), "1"), options_.bias ? "" : ", bias=false");
}

Tensor Conv::forward(const Tensor& input) {
  const ConvOptions options{.stride = options_.stride,
                            .padding = options_.padding,
                            .dilation = options_.dilation,
                            .groups = options_.groups};
  if (dims_ == 1) return conv1d(input, weight, bias, options);
  if (dims_ == 2) return conv2d(input, weight, bias, options);
  return conv3d(input, weight, bias, options);
}

Linear::Linear(std::int64_t in, std::int64_t out, Generator& generator, bool with_bias) {
  FOVEA_CHECK(in > 0 && out > 0,
              "Linear: needs at least one input and one output, but got {} and {}", in, out);
  const double bound = 1.0 / std::sqrt(static_cast<double>(in));
  weight = new_weight({out, in}, bound, generator);
  add_parameter("weight", weight);
  if (!with_bias) return;
  bias = new_weight({out}, bound, generator);
  add_parameter("bias", bias);
}

std::string Linear::describe() const {
  return fmt::format("Linear({}, {}{})", weight.size(1), weight.size(0),
                     bias.defined() ? "" : ", bias=false");
}

Tensor Linear::forward(const Tensor& input) {
  return linear(input, weight, bias);
}

MaxPool::MaxPool(const Spatial& window, const PoolOptions& options)
    : Function(fmt::format("MaxPool({}{}{}{}{})", words(window.values()),
                           option("stride", words(options.stride.values()), "0"),
                           option("padding", words(options.padding.values()), "0"),
                           option("dilation", words(options.dilation.values()), "1"),
                           options.ceil_mode ? ", ceil_mode=true" : ""),
               [window, options](const Tensor& x) { return max_pool(x, window, options); }) {}

AvgPool::AvgPool(const Spatial& window, const AvgPoolOptions& options)
    : Function(
          fmt::format("AvgPool({}{}{}{}{}{})", words(window.values()),
                      option("stride", words(options.stride.values()), "0"),
                      option("padding", words(options.padding.values()), "0"),
                      options.ceil_mode ? ", ceil_mode=true" : "",
                      options.count_include_pad ? "" : ", count_include_pad=false",
                      option("divisor_override", std::to_string(options.divisor_override), "0")),
          [window, options](const Tensor& x) { return avg_pool(x, window, options); }) {}

LpPool::LpPool(double p, const Spatial& window, const LpPoolOptions& options)
    : Function(fmt::format("LpPool({}, {}{}{})", p, words(window.values()),
                           option("stride", words(options.stride.values()), "0"),
                           options.ceil_mode ? ", ceil_mode=true" : ""),
               [p, window, options](const Tensor& x) { return lp_pool(x, p, window, options); }) {}

AdaptiveMaxPool::AdaptiveMaxPool(const Spatial& output)
    : Function(fmt::format("AdaptiveMaxPool({})", words(output.values())),
               [output](const Tensor& x) { return adaptive_max_pool(x, output); }) {}
AdaptiveAvgPool::AdaptiveAvgPool(const Spatial& output)
    : Function(fmt::format("AdaptiveAvgPool({})", words(output.values())),
               [output](const Tensor& x) { return adaptive_avg_pool(x, output); }) {}
GlobalMaxPool::GlobalMaxPool() : Function("GlobalMaxPool()", global_max_pool) {}
GlobalAvgPool::GlobalAvgPool() : Function("GlobalAvgPool()", global_avg_pool) {}

Upsample::Upsample(const UpsampleOptions& options)
    : Function(
          fmt::format("Upsample({}={}{}{})", options.size.values() == Shape{0} ? "scale" : "size",
                      words(options.size.values() == Shape{0} ? options.scale.values()
                                                              : options.size.values()),
                      options.mode == Interpolation::linear ? ", mode=linear" : "",
                      options.align_corners ? ", align_corners=true" : ""),
          [options](const Tensor& x) { return upsample(x, options); }) {}

Flatten::Flatten() : Function("Flatten()", [](const Tensor& x) { return flatten(x); }) {}

LocalResponseNorm::LocalResponseNorm(std::int64_t size, const ResponseNormOptions& options)
    : Function(fmt::format("LocalResponseNorm({}, alpha={}, beta={}, k={})", size, options.alpha,
                           options.beta, options.k),
               [size, options](const Tensor& x) { return local_response_norm(x, size, options); }) {
}

Relu::Relu() : Function("Relu()", relu) {}
LeakyRelu::LeakyRelu(double slope)
    : Function(fmt::format("LeakyRelu({})", slope),
               [slope](const Tensor& x) { return leaky_relu(x, slope); }) {}
Elu::Elu(double scale)
    : Function(fmt::format("Elu({})", scale), [scale](const Tensor& x) { return elu(x, scale); }) {}
Sigmoid::Sigmoid() : Function("Sigmoid()", sigmoid) {}
Tanh::Tanh() : Function("Tanh()", static_cast<Tensor (*)(const Tensor&)>(tanh)) {}
Gelu::Gelu() : Function("Gelu()", gelu) {}
Silu::Silu() : Function("Silu()", silu) {}
Hardswish::Hardswish() : Function("Hardswish()", hardswish) {}
Softplus::Softplus() : Function("Softplus()", softplus) {}
Softmax::Softmax(int axis)
    : Function(fmt::format("Softmax(axis={})", axis),
               [axis](const Tensor& x) { return softmax(x, axis); }) {}
LogSoftmax::LogSoftmax(int axis)
    : Function(fmt::format("LogSoftmax(axis={})", axis),
               [axis](const Tensor& x) { return log_softmax(x, axis); }) {}

Dropout::Dropout(double p, std::uint64_t seed) : p_(p), generator_{.seed = seed} {
  add_generator("generator", generator_);
}

std::string Dropout::describe() const {
  return fmt::format("Dropout({})", p_);
}

Tensor Dropout::forward(const Tensor& input) {
  return is_training() ? dropout(input, p_, generator_) : input;
}

Dropout2d::Dropout2d(double p, std::uint64_t seed) : p_(p), generator_{.seed = seed} {
  add_generator("generator", generator_);
}

std::string Dropout2d::describe() const {
  return fmt::format("Dropout2d({})", p_);
}

Tensor Dropout2d::forward(const Tensor& input) {
  return is_training() ? dropout2d(input, p_, generator_) : input;
}

void Sequential::append(std::string name, std::unique_ptr<Module> layer) {
  FOVEA_CHECK(layer != nullptr, "Sequential: cannot append a null layer");
  if (name.empty()) name = std::to_string(layers_.size());
  add_module(std::move(name), *layer);
  layers_.push_back(std::move(layer));
}

std::string Sequential::describe() const {
  return fmt::format("Sequential({} layers)", layers_.size());
}

Tensor Sequential::forward(const Tensor& input) {
  Tensor value = input;
  for (const auto& layer : layers_) value = (*layer)(value);
  return value;
}

}  // namespace fovea::nn
