// The public operators, a few lines each: apply an OpDef, which checks, computes and records.
#include "fovea/functions.h"

#include "autograd/epilogue.h"
#include "autograd/tape.h"
#include "core/called_as.h"
#include "core/check.h"
#include "fovea/autograd.h"
#include "ops/checks.h"
#include "ops/families.h"

namespace fovea {
namespace {

using ops::add_scalar;
using ops::mul_scalar;
using ops::spatial_dims;

// What all pooling operators with windows have. A stride of 0 stands for the window size.
struct PoolWindow {
  Shape size;
  Spatial stride = 0;
  Padding padding = 0;
  Spatial dilation = 1;
  bool ceil_mode = false;
};

Attributes window_attributes(const Tensor& input, const PoolWindow& window, std::string_view name) {
  const int dims = window.size.rank();
  const Shape dilation = window.dilation.expand(dims, name);
  Shape stride = window.stride.expand(dims, name);
  std::vector<ConvAxis> axes;
  for (int i = 0; i < dims; ++i) {
    if (stride[i] == 0) stride[i] = window.size[i];
    axes.push_back({.input = i + 2 < input.rank() ? input.size(i + 2) : 0,
                    .kernel = window.size[i],
                    .stride = stride[i],
                    .dilation = dilation[i],
                    .padding = {}});
  }
  Shape before;
  Shape after;
  for (const Sides& sides : window.padding.resolve(axes, name)) {
    before.push_back(sides.before);
    after.push_back(sides.after);
  }
  return {{"window", window.size},
          {"stride", stride},
          {"before", before},
          {"after", after},
          {"ceil_mode", window.ceil_mode}};
}

// The shapes of two batches of matrices whose axes in front of the last two broadcast.
void batch_shapes(const Shape& a, const Shape& b, Shape& a_shape, Shape& b_shape) {
  const int rank = std::max(a.rank(), b.rank());
  FOVEA_CHECK(std::min(a.rank(), b.rank()) >= 2,
              "matmul: inputs {} and {} must have at least two axes", a, b);
  const auto size_at = [rank](const Shape& shape, int axis) {
    const int place = axis - (rank - shape.rank());
    return place < 0 ? 1 : shape[place];
  };
  for (int axis = 0; axis < rank; ++axis) {
    const std::int64_t of_a = size_at(a, axis);
    const std::int64_t of_b = size_at(b, axis);
    const bool batch = axis < rank - 2;
    FOVEA_CHECK(!batch || of_a == of_b || of_a == 1 || of_b == 1,
                "matmul: the batches of {} and {} do not broadcast: {} against {}", a, b, of_a,
                of_b);
    a_shape.push_back(batch && of_a == 1 ? of_b : of_a);
    b_shape.push_back(batch && of_b == 1 ? of_a : of_b);
  }
}

Attributes reduce_attributes(const Tensor& input, const Shape& axes, bool keep_axes,
                             std::string_view op) {
  Shape all;
  bool chosen[kMaxRank] = {};
  for (const std::int64_t axis : axes) {
    const int place = normalize_axis(axis, input.rank(), op);
    FOVEA_CHECK(!chosen[place], "{}: axis {} is named twice in {}", op, axis, axes);
    chosen[place] = true;
  }
  for (int axis = 0; axis < input.rank(); ++axis) {
    if (axes.empty() || chosen[axis]) all.push_back(axis);
  }
  return {{"axes", all}, {"keep", keep_axes}};
}

void check_momentum(double momentum) {
  FOVEA_CHECK(momentum >= 0 && momentum <= 1,
              "batch_norm: momentum is {}, but running <- (1 - momentum) running + momentum batch "
              "needs one from 0 to 1",
              momentum);
}

// The gradient needs the positions, whoever does not.
Attributes with_positions(const Attributes& attributes, const Tensor& input, bool wanted) {
  const bool recorded = input.defined() && grad_enabled() && autograd::wants_grad(input);
  return wanted || recorded ? attributes : attributes.with("positions", false);
}

std::vector<Tensor> pooled_max(const Tensor& input, const Spatial& window,
                               const PoolOptions& options, bool positions) {
  constexpr std::string_view kName = "max_pool";
  const int dims = ops::spatial_dims(kName, input);
  const PoolWindow pool = {.size = window.expand(dims, kName),
                           .stride = options.stride,
                           .padding = options.padding,
                           .dilation = options.dilation,
                           .ceil_mode = options.ceil_mode};
  const Attributes attributes =
      window_attributes(input, pool, kName).with("dilation", options.dilation.expand(dims, kName));
  return apply(ops::max_pool, {input}, with_positions(attributes, input, positions));
}

std::vector<Tensor> adaptively_pooled_max(const Tensor& input, const Spatial& output,
                                          bool positions) {
  constexpr std::string_view kName = "adaptive_max_pool";
  const Attributes attributes = {{"output", output.expand(ops::spatial_dims(kName, input), kName)}};
  return apply(ops::adaptive_max_pool, {input}, with_positions(attributes, input, positions));
}

}  // namespace

Shape Spatial::expand(int dims, std::string_view what) const {
  if (values_.rank() == 1) return Shape::filled(dims, values_[0]);
  FOVEA_CHECK(values_.rank() == dims,
              "{}: {} numbers {} given for {} spatial dimensions; give one, or {}", what,
              values_.rank(), values_, dims, dims);
  return values_;
}

Tensor max_pool(const Tensor& input, const Spatial& window, const PoolOptions& options) {
  return pooled_max(input, window, options, /*positions=*/false).front();
}

MaxPoolResult max_pool_with_positions(const Tensor& input, const Spatial& window,
                                      const PoolOptions& options) {
  std::vector<Tensor> outputs = pooled_max(input, window, options, /*positions=*/true);
  return {std::move(outputs[0]), std::move(outputs[1])};
}

Tensor adaptive_max_pool(const Tensor& input, const Spatial& output) {
  return adaptively_pooled_max(input, output, /*positions=*/false).front();
}

MaxPoolResult adaptive_max_pool_with_positions(const Tensor& input, const Spatial& output) {
  std::vector<Tensor> outputs = adaptively_pooled_max(input, output, /*positions=*/true);
  return {std::move(outputs[0]), std::move(outputs[1])};
}

Tensor global_max_pool(const Tensor& input) {
  spatial_dims("global_max_pool", input);
  return called_as("global_max_pool", [&] { return adaptive_max_pool(input, 1); });
}

Tensor max_unpool(const Tensor& values, const Tensor& positions, const Spatial& output) {
  constexpr std::string_view kName = "max_unpool";
  return apply1(ops::max_unpool, {values, positions},
                {{"output", output.expand(spatial_dims(kName, values), kName)}});
}

Tensor avg_pool(const Tensor& input, const Spatial& window, const AvgPoolOptions& options) {
  constexpr std::string_view kName = "avg_pool";
  const Shape size = window.expand(spatial_dims(kName, input), kName);
  return apply1(ops::avg_pool, {input},
                window_attributes(input,
                                  {.size = size,
                                   .stride = options.stride,
                                   .padding = options.padding,
                                   .ceil_mode = options.ceil_mode},
                                  kName)
                    .with("count_include_pad", options.count_include_pad)
                    .with("divisor", options.divisor_override));
}

Tensor adaptive_avg_pool(const Tensor& input, const Spatial& output) {
  constexpr std::string_view kName = "adaptive_avg_pool";
  return apply1(ops::adaptive_avg_pool, {input},
                {{"output", output.expand(spatial_dims(kName, input), kName)}});
}

Tensor global_avg_pool(const Tensor& input) {
  spatial_dims("global_avg_pool", input);
  return called_as("global_avg_pool",
                   [&] { return avg_pool(input, Spatial(ops::spatial_of(input.shape()))); });
}

Tensor lp_pool(const Tensor& input, double p, const Spatial& window, const LpPoolOptions& options) {
  constexpr std::string_view kName = "lp_pool";
  const Shape size = window.expand(spatial_dims(kName, input), kName);
  return apply1(
      ops::lp_pool, {input},
      window_attributes(
          input, {.size = size, .stride = options.stride, .ceil_mode = options.ceil_mode}, kName)
          .with("p", p));
}

namespace autograd {

Tensor batch_norm_in_training(const Tensor& input, Tensor running_mean, Tensor running_variance,
                              const Tensor& weight, const Tensor& bias,
                              const BatchNormOptions& options, const Epilogue& epilogue) {
  check_momentum(options.momentum);
  const auto& [residual, activation, slope] = epilogue;
  const bool bounds = activation == Activation::relu || activation == Activation::relu6;
  const bool plain = !bounds && !residual.defined();
  const Activation inside = bounds ? activation : Activation::none;
  const std::vector<Tensor> outputs =
      plain ? apply(ops::batch_norm_training, {input, weight, bias}, {{"eps", options.eps}})
            : apply(ops::batch_norm_fused, {input, weight, bias, residual},
                    {{"eps", options.eps},
                     {"activation", static_cast<std::int64_t>(inside)},
                     {"slope", slope}});
  for (const Tensor& running : {running_mean, running_variance}) {
    FOVEA_CHECK(running.defined() && running.shape() == outputs[1].shape(),
                "batch_norm: running statistics are {}, but input {} needs {}", running.describe(),
                input.shape(), outputs[1].shape());
  }
  if (!outputs[0].is_abstract()) {
    const auto count = static_cast<double>(input.numel()) / static_cast<double>(outputs[1].numel());
    ops::update_running(running_mean, outputs[1], options.momentum, 1);
    ops::update_running(running_variance, outputs[2], options.momentum, count / (count - 1));
  }
  return bounds ? outputs[0] : activate(outputs[0], activation, slope);
}

}  // namespace autograd

Tensor batch_norm(const Tensor& input, Tensor running_mean, Tensor running_variance,
                  const Tensor& weight, const Tensor& bias, const BatchNormOptions& options) {
  FOVEA_CHECK(input.defined(), "batch_norm: the input is undefined");
  check_momentum(options.momentum);
  if (!options.training) {
    return apply1(ops::batch_norm, {input, weight, bias, running_mean, running_variance},
                  {{"eps", options.eps}});
  }
  return autograd::batch_norm_in_training(input, std::move(running_mean),
                                          std::move(running_variance), weight, bias, options, {});
}

Tensor group_norm(const Tensor& input, std::int64_t groups, const Tensor& weight,
                  const Tensor& bias, double eps) {
  return std::move(
      apply(ops::group_norm, {input, weight, bias}, {{"groups", groups}, {"eps", eps}}).front());
}

Tensor instance_norm(const Tensor& input, const Tensor& weight, const Tensor& bias, double eps) {
  FOVEA_CHECK(input.defined() && input.rank() >= 3,
              "instance_norm: the input is {}, but [N, C, spatial...] is needed", input.describe());
  return called_as("instance_norm",
                   [&] { return group_norm(input, input.size(1), weight, bias, eps); });
}

Tensor layer_norm(const Tensor& input, const Shape& shape, const Tensor& weight, const Tensor& bias,
                  double eps) {
  FOVEA_CHECK(input.defined(), "layer_norm: the input is undefined");
  const int first = input.rank() - shape.rank();
  FOVEA_CHECK(
      first >= 0 && std::equal(shape.begin(), shape.end(), input.shape().begin() + first),
      "layer_norm: input {} does not end in the axes {}, over which it should be normalised",
      input.shape(), shape);
  return std::move(apply(ops::layer_norm, {input, weight, bias},
                         {{"axes", std::int64_t{shape.rank()}}, {"eps", eps}})
                       .front());
}

Tensor local_response_norm(const Tensor& input, std::int64_t size,
                           const ResponseNormOptions& options) {
  return apply1(
      ops::local_response_norm, {input},
      {{"size", size}, {"alpha", options.alpha}, {"beta", options.beta}, {"k", options.k}});
}

Tensor linear(const Tensor& input, const Tensor& weight, const Tensor& bias,
              const Epilogue& epilogue) {
  FOVEA_CHECK(input.defined() && weight.defined(), "linear: {} is undefined",
              input.defined() ? "weight" : "input");
  const auto product = [&](const Tensor& rows, const Epilogue& with) {
    return autograd::apply_with_epilogue(ops::linear, ops::linear_fused, {rows, weight, bias}, {},
                                         with);
  };
  if (weight.rank() != 2 || input.rank() == 2 || input.rank() == 0) return product(input, epilogue);
  ops::require_features("linear", input.shape(), weight.shape());
  Shape shape = input.shape();
  shape[shape.rank() - 1] = weight.size(0);
  Epilogue of_rows = epilogue;
  if (Tensor& residual = of_rows.residual; residual.defined()) {
    FOVEA_CHECK(residual.shape() == shape,
                "linear: the residual is {}, but the output of input {} and weight {} is {}; both "
                "must have one shape",
                residual.shape(), input.shape(), weight.shape(), shape);
    residual = residual.reshape({-1, weight.size(0)});
  }
  return product(input.reshape({-1, input.size(-1)}), of_rows).reshape(shape);
}

Tensor matmul(const Tensor& a, const Tensor& b) {
  FOVEA_CHECK(a.defined() && b.defined(), "matmul: {} is undefined",
              a.defined() ? "the second input" : "the first input");
  if (a.rank() <= 2 && b.rank() <= 2) return apply1(ops::matmul, {a, b});
  Shape a_shape;
  Shape b_shape;
  batch_shapes(a.shape(), b.shape(), a_shape, b_shape);
  return apply1(ops::matmul, {a.shape() == a_shape ? a : broadcast_to(a, a_shape),
                              b.shape() == b_shape ? b : broadcast_to(b, b_shape)});
}

Tensor flip(const Tensor& input, const Shape& axes) {
  return apply1(ops::flip, {input}, {{"axes", axes}});
}

Tensor flatten(const Tensor& input, int start) {
  const int first = normalize_axis(start, input.rank(), "flatten");
  Shape shape;
  std::int64_t rest = 1;
  for (int axis = 0; axis < input.rank(); ++axis) {
    if (axis < first) {
      shape.push_back(input.shape()[axis]);
    } else {
      rest *= input.shape()[axis];
    }
  }
  shape.push_back(rest);
  return input.reshape(shape);
}

Tensor relu(const Tensor& input) {
  return apply1(ops::relu, {input});
}
Tensor leaky_relu(const Tensor& input, double slope) {
  return apply1(ops::leaky_relu, {input}, {{"slope", slope}});
}
Tensor elu(const Tensor& input, double scale) {
  return apply1(ops::elu, {input}, {{"scale", scale}});
}
Tensor sigmoid(const Tensor& input) {
  return apply1(ops::sigmoid, {input});
}
Tensor tanh(const Tensor& input) {
  return apply1(ops::tanh, {input});
}
Tensor gelu(const Tensor& input) {
  return apply1(ops::gelu, {input});
}
Tensor silu(const Tensor& input) {
  return apply1(ops::silu, {input});
}
Tensor hardswish(const Tensor& input) {
  return apply1(ops::hardswish, {input});
}
Tensor relu6(const Tensor& input) {
  return apply1(ops::relu6, {input});
}
Tensor softplus(const Tensor& input) {
  return apply1(ops::softplus, {input});
}
Tensor abs(const Tensor& input) {
  return apply1(ops::abs, {input});
}
Tensor erf(const Tensor& input) {
  return apply1(ops::erf, {input});
}
Tensor clamp(const Tensor& input, double low, double high) {
  return apply1(ops::clamp, {input}, {{"low", low}, {"high", high}});
}
Tensor pow(const Tensor& input, double exponent) {
  return apply1(ops::pow, {input}, {{"exponent", exponent}});
}
Tensor exp(const Tensor& input) {
  return apply1(ops::exp, {input});
}
Tensor log(const Tensor& input) {
  return apply1(ops::log, {input});
}
Tensor sqrt(const Tensor& input) {
  return apply1(ops::sqrt, {input});
}
Tensor neg(const Tensor& input) {
  return apply1(ops::neg, {input});
}

Tensor add(const Tensor& a, const Tensor& b) {
  return apply1(ops::add, {a, b});
}
Tensor sub(const Tensor& a, const Tensor& b) {
  return apply1(ops::sub, {a, b});
}
Tensor mul(const Tensor& a, const Tensor& b) {
  return apply1(ops::mul, {a, b});
}
Tensor div(const Tensor& a, const Tensor& b) {
  return apply1(ops::div, {a, b});
}
Tensor maximum(const Tensor& a, const Tensor& b) {
  return apply1(ops::maximum, {a, b});
}
Tensor minimum(const Tensor& a, const Tensor& b) {
  return apply1(ops::minimum, {a, b});
}
Tensor operator+(const Tensor& a, double b) {
  return apply1(add_scalar, {a}, {{"value", b}});
}
Tensor operator-(const Tensor& a, double b) {
  return apply1(add_scalar, {a}, {{"value", -b}});
}
Tensor operator*(const Tensor& a, double b) {
  return apply1(mul_scalar, {a}, {{"value", b}});
}
Tensor operator/(const Tensor& a, double b) {
  return a / Tensor::scalar(b, a.dtype());
}
Tensor operator+(double a, const Tensor& b) {
  return b + a;
}
Tensor operator-(double a, const Tensor& b) {
  return neg(b) + a;
}
Tensor operator*(double a, const Tensor& b) {
  return b * a;
}
Tensor operator/(double a, const Tensor& b) {
  return Tensor::scalar(a, b.dtype()) / b;
}

Tensor sum(const Tensor& input, const Shape& axes, bool keep_axes) {
  return apply1(ops::sum, {input}, reduce_attributes(input, axes, keep_axes, "sum"));
}

Tensor mean(const Tensor& input, const Shape& axes, bool keep_axes) {
  const Attributes attributes = reduce_attributes(input, axes, keep_axes, "mean");
  const Tensor total = called_as("mean", [&] { return apply1(ops::sum, {input}, attributes); });
  const double count = static_cast<double>(input.numel()) /
                       static_cast<double>(std::max<std::int64_t>(total.numel(), 1));
  FOVEA_CHECK(count > 0, "mean: {} has no elements", input.describe());
  return total * (1 / count);
}

Tensor max(const Tensor& input, const Shape& axes, bool keep_axes) {
  return apply1(ops::max, {input}, reduce_attributes(input, axes, keep_axes, "max"));
}

Tensor concat(const std::vector<Tensor>& tensors, int axis) {
  FOVEA_CHECK(!tensors.empty(), "concat: needs at least one tensor");
  for (const Tensor& tensor : tensors)
    FOVEA_CHECK(tensor.defined(), "concat: a tensor is undefined");
  const int place = normalize_axis(axis, tensors.front().rank(), "concat");
  return apply1(ops::concat, tensors, {{"axis", std::int64_t{place}}});
}

Tensor upsample(const Tensor& input, const UpsampleOptions& options) {
  constexpr std::string_view kName = "upsample";
  const int dims = spatial_dims(kName, input);
  const Shape scale = options.scale.expand(dims, kName);
  Shape size = options.size.expand(dims, kName);
  for (int i = 0; i < dims; ++i) {
    FOVEA_CHECK(size[i] != 0 || (scale[i] >= 1 &&
                                 !__builtin_mul_overflow(scale[i], input.shape()[i + 2], &size[i])),
                "upsample: scale {} of spatial dimension {} must be at least 1, and {} times as "
                "many cells must be countable",
                scale[i], i, scale[i]);
  }
  const bool linear = options.mode == Interpolation::linear;
  return apply1(ops::upsample, {input},
                {{"output", size},
                 {"mode", std::string(linear ? "linear" : "nearest")},
                 {"align_corners", options.align_corners}});
}

Tensor broadcast_to(const Tensor& input, const Shape& shape) {
  return apply1(ops::broadcast, {input}, {{"shape", shape}});
}

Tensor softmax(const Tensor& input, int axis) {
  return apply1(ops::softmax, {input},
                {{"axis", std::int64_t{normalize_axis(axis, input.rank(), "softmax")}}});
}
Tensor log_softmax(const Tensor& input, int axis) {
  return apply1(ops::log_softmax, {input},
                {{"axis", std::int64_t{normalize_axis(axis, input.rank(), "log_softmax")}}});
}

Tensor dropout(const Tensor& input, double p, Generator& generator) {
  Tensor result = apply1(ops::dropout, {input},
                         {{"p", p},
                          {"seed", static_cast<std::int64_t>(generator.seed)},
                          {"stream", static_cast<std::int64_t>(generator.next_stream)}});
  ++generator.next_stream;  // not where the call was refused
  return result;
}

Tensor dropout2d(const Tensor& input, double p, Generator& generator) {
  spatial_dims("dropout2d", input);
  Shape channels = Shape::filled(input.rank(), 1);
  channels[0] = input.size(0);
  channels[1] = input.size(1);
  return called_as("dropout2d", [&] {
    return input * dropout(Tensor::ones(channels, input.dtype()), p, generator);
  });
}

Tensor Tensor::permute(const Shape& axes) const {
  return apply1(ops::permute, {*this}, {{"axes", axes}});
}
Tensor Tensor::reshape(const Shape& shape) const {
  return apply1(ops::reshape, {*this}, {{"shape", shape}});
}
Tensor Tensor::slice(int axis, std::int64_t begin, std::int64_t end, std::int64_t step) const {
  return apply1(ops::slice, {*this},
                {{"axis", std::int64_t{normalize_axis(axis, rank(), "slice")}},
                 {"begin", begin},
                 {"end", end},
                 {"step", step}});
}
Tensor Tensor::contiguous(Layout layout) const {
  if (is_contiguous(layout)) return *this;
  return apply1(ops::contiguous, {*this}, {{"layout", static_cast<std::int64_t>(layout)}});
}
Tensor Tensor::to(DType dtype) const {
  if (dtype == this->dtype()) return *this;
  return apply1(ops::cast, {*this}, {{"dtype", static_cast<std::int64_t>(dtype)}});
}
Tensor Tensor::clone() const {
  return apply1(ops::cast, {*this}, {{"dtype", static_cast<std::int64_t>(dtype())}});
}

}  // namespace fovea
