// The layers: each holds parameters and options, and calls one function of functions.h.
//
// To add one: its class in fovea/nn.h, describe() and forward() here, and a line in layer_list.cpp.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <mutex>
#include <thread>

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

// ", stride=2" unless the option has its default.
std::string option(std::string_view name, const std::string& value, std::string_view usual) {
  return value == usual ? "" : fmt::format(", {}={}", name, value);
}

// ", padding_mode=circular", ", padding_mode=constant(0.5)"
std::string padding_words(PaddingMode mode, double value) {
  if (mode == PaddingMode::constant) return fmt::format(", padding_mode=constant({})", value);
  return option("padding_mode", std::string(name(mode)), "zeros");
}

std::string window_words(const WindowOptions& options) {
  return fmt::format("{}{}{}{}", option("stride", words(options.stride.values()), "1"),
                     option("padding", options.padding.to_string(), "0"),
                     padding_words(options.padding_mode, options.padding_value),
                     option("dilation", words(options.dilation.values()), "1"));
}

// The sizes from axis `from` on.
Shape tail(const Shape& shape, int from) {
  return Shape(std::span<const std::int64_t>(shape.begin() + from, shape.end()));
}

// The kernel sizes of a convolution's weight.
Shape kernel_of(const Tensor& weight) {
  return tail(weight.shape(), 2);
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
  ConvProblem problem{.in_channels = in,
                      .out_channels = out,
                      .groups = options.groups,
                      .dims = dims,
                      .axes = {},
                      .padding_mode = options.padding_mode,
                      .padding_value = options.padding_value};
  for (int d = 0; d < dims; ++d) {
    ConvAxis& axis = problem.axes[static_cast<std::size_t>(d)];
    axis = {.kernel = kernels[d], .stride = strides[d], .dilation = dilations[d], .padding = {}};
    constexpr std::int64_t kSane = 1
                                   << 20;  // beyond it span() might overflow, and no layer is meant
    if (axis.kernel > 0 && axis.kernel < kSane && axis.dilation > 0 && axis.dilation < kSane) {
      axis.input = axis.span();
    }
  }
  const std::span<ConvAxis> axes(problem.axes.data(), static_cast<std::size_t>(dims));
  const std::vector<Sides> padding = options.padding.resolve(axes, "padding");
  for (std::size_t d = 0; d < axes.size(); ++d) {
    axes[d].padding = {std::max<std::int64_t>(padding[d].before, 0),  // a negative amount crops
                       std::max<std::int64_t>(padding[d].after, 0)};
    const std::int64_t most = std::max(axes[d].padding.before, axes[d].padding.after);
    if (options.padding_mode == PaddingMode::reflect)
      axes[d].input = std::max(axes[d].input, most + 1);
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
  return fmt::format("Conv{}d({}, {}, kernel={}{}{}{}{}{}{}{}{}{})", dims_,
                     shape[1] * options_.groups, shape[0], words(kernel),
                     option("stride", words(options_.stride.expand(dims_, "stride")), "1"),
                     option("padding", options_.padding.to_string(), "0"),
                     padding_words(options_.padding_mode, options_.padding_value),
                     option("dilation", words(options_.dilation.expand(dims_, "dilation")), "1"),
                     option("groups", std::to_string(options_.groups), "1"),
                     options_.flip ? ", flip=true" : "", options_.bias ? "" : ", bias=false",
                     option("precision", std::string(name(options_.precision)), "fast"),
                     option("workspace_limit", std::to_string(options_.workspace_limit),
                            std::to_string(kNoWorkspaceLimit)));
}

Tensor Conv::forward(const Tensor& input) {
  return with_weights(input, weight, bias);
}

Tensor Conv::with_weights(const Tensor& input, const Tensor& other_weight, const Tensor& other_bias,
                          const Epilogue& epilogue) const {
  const ConvOptions options{.stride = options_.stride,
                            .padding = options_.padding,
                            .padding_mode = options_.padding_mode,
                            .padding_value = options_.padding_value,
                            .dilation = options_.dilation,
                            .groups = options_.groups,
                            .flip = options_.flip,
                            .precision = options_.precision,
                            .workspace_limit = options_.workspace_limit};
  constexpr std::array kCalls = {conv1d, conv2d, conv3d};
  return kCalls[static_cast<std::size_t>(dims_ - 1)](input, other_weight, other_bias, options,
                                                     epilogue);
}

ConvTranspose::ConvTranspose(int dims, std::int64_t in, std::int64_t out, const Spatial& kernel,
                             const ConvTransposeLayerOptions& options, Generator& generator)
    : dims_(dims), options_(options) {
  // Its weights are those of the convolution from `out` to `in` channels.
  const ConvProblem problem = smallest_problem(dims, out, in, kernel,
                                               {.stride = options.stride,
                                                .padding = options.padding,
                                                .dilation = options.dilation,
                                                .groups = options.groups});
  problem.validate(fmt::format("ConvTranspose{}d", dims));
  const Shape shape = problem.weight_shape();
  const double fan = static_cast<double>(shape[1] * problem.taps());
  const double bound = 1.0 / std::sqrt(fan);
  weight = new_weight(shape, bound, generator);
  add_parameter("weight", weight);
  if (!options.bias) return;
  bias = new_weight({out}, bound, generator);
  add_parameter("bias", bias);
}

std::string ConvTranspose::describe() const {
  return fmt::format("ConvTranspose{}d({}, {}, kernel={}{}{}{}{}{}{}{}{}{}{}{})", dims_,
                     weight.size(0), weight.size(1) * options_.groups, words(kernel_of(weight)),
                     option("stride", words(options_.stride.values()), "1"),
                     option("padding", options_.padding.to_string(), "0"),
                     padding_words(options_.padding_mode, 0),
                     option("output_padding", words(options_.output_padding.values()), "0"),
                     option("output_size", words(options_.output_size.values()), "0"),
                     option("dilation", words(options_.dilation.values()), "1"),
                     option("groups", std::to_string(options_.groups), "1"),
                     options_.flip ? ", flip=true" : "", options_.bias ? "" : ", bias=false",
                     option("precision", std::string(name(options_.precision)), "fast"),
                     option("workspace_limit", std::to_string(options_.workspace_limit),
                            std::to_string(kNoWorkspaceLimit)));
}

Tensor ConvTranspose::forward(const Tensor& input) {
  const ConvTransposeOptions options{.stride = options_.stride,
                                     .padding = options_.padding,
                                     .padding_mode = options_.padding_mode,
                                     .output_padding = options_.output_padding,
                                     .output_size = options_.output_size,
                                     .dilation = options_.dilation,
                                     .groups = options_.groups,
                                     .flip = options_.flip,
                                     .precision = options_.precision,
                                     .workspace_limit = options_.workspace_limit};
  constexpr std::array kCalls = {conv_transpose1d, conv_transpose2d, conv_transpose3d};
  return kCalls[static_cast<std::size_t>(dims_ - 1)](input, weight, bias, options);
}

LocallyConnected::LocallyConnected(const Shape& input, std::int64_t in, std::int64_t out,
                                   const Spatial& kernel, const ConvLayerOptions& options,
                                   Generator& generator)
    : input_(input), options_(options) {
  FOVEA_CHECK(!options.flip, "LocallyConnected: flip has no meaning for weights of each position");
  ConvProblem problem = smallest_problem(input.rank(), in, out, kernel, options);
  kernel_ = kernel.expand(input.rank(), "kernel");
  const std::span<ConvAxis> axes(problem.axes.data(), static_cast<std::size_t>(problem.dims));
  for (std::size_t d = 0; d < axes.size(); ++d) axes[d].input = input[static_cast<int>(d)];
  const std::vector<Sides> padding = options.padding.resolve(axes, "LocallyConnected");
  for (std::size_t d = 0; d < axes.size(); ++d) axes[d].padding = padding[d];
  problem.validate("LocallyConnected");
  const std::int64_t values = in / options.groups * problem.taps();
  const double bound = 1.0 / std::sqrt(static_cast<double>(values));
  weight = new_weight({problem.output_positions(), out, values}, bound, generator);
  add_parameter("weight", weight);
  if (!options.bias) return;
  const Shape output = problem.output_shape();
  bias = new_weight(Shape(std::span<const std::int64_t>(output.begin() + 1, output.end())), bound,
                    generator);
  add_parameter("bias", bias);
}

std::string LocallyConnected::describe() const {
  std::int64_t taps = 1;
  for (const std::int64_t size : kernel_) taps *= size;
  return fmt::format("LocallyConnected({}, {}, input={}, kernel={}{}{}{}{}{}{})",
                     weight.size(2) / taps * options_.groups, weight.size(1), words(input_),
                     words(kernel_), option("stride", words(options_.stride.values()), "1"),
                     option("padding", options_.padding.to_string(), "0"),
                     padding_words(options_.padding_mode, options_.padding_value),
                     option("dilation", words(options_.dilation.values()), "1"),
                     option("groups", std::to_string(options_.groups), "1"),
                     options_.bias ? "" : ", bias=false");
}

Tensor LocallyConnected::forward(const Tensor& input) {
  const LocallyConnectedOptions options{.stride = options_.stride,
                                        .padding = options_.padding,
                                        .padding_mode = options_.padding_mode,
                                        .padding_value = options_.padding_value,
                                        .dilation = options_.dilation,
                                        .groups = options_.groups};
  constexpr std::array kCalls = {locally_connected1d, locally_connected2d, locally_connected3d};
  return kCalls[static_cast<std::size_t>(input_.rank() - 1)](input, weight, Spatial(kernel_), bias,
                                                             options);
}

std::string Pad::describe() const {
  return fmt::format("Pad({}{})", amounts_.to_string(),
                     padding_words(options_.mode, options_.value));
}

Tensor Pad::forward(const Tensor& input) {
  return pad(input, amounts_, options_);
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

Unfold::Unfold(const Spatial& kernel, const WindowOptions& options)
    : Function(fmt::format("Unfold({}{})", words(kernel.values()), window_words(options)),
               [kernel, options](const Tensor& x) { return unfold(x, kernel, options); }) {}

Fold::Fold(const Spatial& size, const Spatial& kernel, const WindowOptions& options)
    : Function(fmt::format("Fold({}, {}{})", fmt::join(size.values(), "x"), words(kernel.values()),
                           window_words(options)),
               [size, kernel, options](const Tensor& columns) {
                 return fold(columns, size, kernel, options);
               }) {}

// What the last call of each thread found, until it is taken: a network may serve several at once.
struct MaxPool::Found {
  struct Call {
    Tensor positions;
    Spatial size;  // of the space that was pooled
  };
  std::mutex mutex;
  bool wanted = false;
  std::map<std::thread::id, Call> calls;
};

MaxPool::MaxPool(const Spatial& window, const PoolOptions& options)
    : MaxPool(window, options, std::make_shared<Found>()) {}

MaxPool::MaxPool(const Spatial& window, const PoolOptions& options, std::shared_ptr<Found> found)
    : Function(fmt::format("MaxPool({}{}{}{}{})", words(window.values()),
                           option("stride", words(options.stride.values()), "0"),
                           option("padding", options.padding.to_string(), "0"),
                           option("dilation", words(options.dilation.values()), "1"),
                           options.ceil_mode ? ", ceil_mode=true" : ""),
               [window, options, found](const Tensor& x) {
                 // A MaxUnpool may come later to a shape that is being asked for.
                 if (!found->wanted && !x.is_abstract()) return max_pool(x, window, options);
                 MaxPoolResult result = max_pool_with_positions(x, window, options);
                 const Spatial size(tail(x.shape(), 2));
                 const std::lock_guard lock(found->mutex);
                 found->calls.insert_or_assign(std::this_thread::get_id(),
                                               Found::Call{std::move(result.positions), size});
                 return result.values;
               }),
      found_(std::move(found)) {}

MaxUnpool::MaxUnpool(MaxPool& pool)
    : Function(fmt::format("MaxUnpool({})", pool.describe()),
               [found = pool.found_](const Tensor& x) {
                 std::unique_lock lock(found->mutex);
                 auto call = found->calls.extract(std::this_thread::get_id());
                 lock.unlock();
                 FOVEA_CHECK(!call.empty(),
                             "there are no positions: the pooling layer has not been called since "
                             "they were last taken. Call it before, in the same thread.");
                 return max_unpool(x, call.mapped().positions, call.mapped().size);
               }) {
  FOVEA_CHECK(!pool.found_->wanted, "MaxUnpool: {} belongs to another MaxUnpool already",
              pool.describe());
  pool.found_->wanted = true;
}

AvgPool::AvgPool(const Spatial& window, const AvgPoolOptions& options)
    : Function(
          fmt::format("AvgPool({}{}{}{}{}{})", words(window.values()),
                      option("stride", words(options.stride.values()), "0"),
                      option("padding", options.padding.to_string(), "0"),
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

Function::Function(std::string description, Activation activation, double slope)
    : description_(std::move(description)),
      f_([activation, slope](const Tensor& x) { return activate(x, activation, slope); }),
      epilogue_{.activation = activation, .slope = slope} {}

Relu::Relu() : Function("Relu()", Activation::relu) {}
Relu6::Relu6() : Function("Relu6()", Activation::relu6) {}
LeakyRelu::LeakyRelu(double slope)
    : Function(fmt::format("LeakyRelu({})", slope), Activation::leaky_relu, slope) {}
Elu::Elu(double scale)
    : Function(fmt::format("Elu({})", scale), [scale](const Tensor& x) { return elu(x, scale); }) {}
Sigmoid::Sigmoid() : Function("Sigmoid()", Activation::sigmoid) {}
Tanh::Tanh() : Function("Tanh()", Activation::tanh) {}
Gelu::Gelu() : Function("Gelu()", Activation::gelu) {}
Silu::Silu() : Function("Silu()", Activation::silu) {}
Hardswish::Hardswish() : Function("Hardswish()", Activation::hardswish) {}
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

}  // namespace fovea::nn
