// The public operators, a few lines each: apply an OpDef, which checks, computes and records.
#include "fovea/functions.h"

#include "core/check.h"
#include "fovea/autograd.h"
#include "ops/families.h"

namespace fovea {
namespace {

using ops::add_scalar;
using ops::mul_scalar;

// The spatial dimensions of a tensor [N, C, spatial...].
int spatial_dims(std::string_view op, const Tensor& input) {
  FOVEA_CHECK(input.defined(), "{}: the input is undefined", op);
  FOVEA_CHECK(
      input.rank() >= 3 && input.rank() <= 5,
      "{}: the input is {}, but [N, C, spatial...] with one to three spatial axes is needed", op,
      input.describe());
  return input.rank() - 2;
}

// A stride of 0 stands for the window size.
Shape pool_stride(const Spatial& stride, const Shape& window, std::string_view name) {
  Shape result = stride.expand(window.rank(), name);
  for (int i = 0; i < result.rank(); ++i) {
    if (result[i] == 0) result[i] = window[i];
  }
  return result;
}

Attributes reduce_attributes(const Tensor& input, const Shape& axes, bool keep_axes,
                             std::string_view op) {
  Shape all;
  bool chosen[kMaxRank] = {};
  for (const std::int64_t axis : axes) {
    const int place = normalize_axis(static_cast<int>(axis), input.rank(), op);
    FOVEA_CHECK(!chosen[place], "{}: axis {} is named twice in {}", op, axis, axes);
    chosen[place] = true;
  }
  for (int axis = 0; axis < input.rank(); ++axis) {
    if (axes.empty() || chosen[axis]) all.push_back(axis);
  }
  return {{"axes", all}, {"keep", keep_axes}};
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
  return max_pool_with_positions(input, window, options).values;
}

MaxPoolResult max_pool_with_positions(const Tensor& input, const Spatial& window,
                                      const PoolOptions& options) {
  const int dims = spatial_dims("max_pool", input);
  const Shape size = window.expand(dims, "max_pool");
  std::vector<Tensor> outputs = apply(ops::max_pool, {input},
                                      {{"window", size},
                                       {"stride", pool_stride(options.stride, size, "max_pool")},
                                       {"padding", options.padding.expand(dims, "max_pool")},
                                       {"dilation", options.dilation.expand(dims, "max_pool")}});
  return {std::move(outputs[0]), std::move(outputs[1])};
}

Tensor avg_pool(const Tensor& input, const Spatial& window, const AvgPoolOptions& options) {
  const int dims = spatial_dims("avg_pool", input);
  const Shape size = window.expand(dims, "avg_pool");
  return apply1(ops::avg_pool, {input},
                {{"window", size},
                 {"stride", pool_stride(options.stride, size, "avg_pool")},
                 {"padding", options.padding.expand(dims, "avg_pool")},
                 {"count_include_pad", options.count_include_pad}});
}

Tensor global_avg_pool(const Tensor& input) {
  const int dims = spatial_dims("global_avg_pool", input);
  Shape window;
  for (int i = 0; i < dims; ++i) window.push_back(input.shape()[i + 2]);
  return avg_pool(input, Spatial(window));
}

Tensor linear(const Tensor& input, const Tensor& weight, const Tensor& bias) {
  return apply1(ops::linear, {input, weight, bias});
}
Tensor matmul(const Tensor& a, const Tensor& b) {
  return apply1(ops::matmul, {a, b});
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
Tensor sigmoid(const Tensor& input) {
  return apply1(ops::sigmoid, {input});
}
Tensor tanh(const Tensor& input) {
  return apply1(ops::tanh, {input});
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
  const Tensor total = apply1(ops::sum, {input}, reduce_attributes(input, axes, keep_axes, "mean"));
  const double count = static_cast<double>(input.numel()) /
                       static_cast<double>(std::max<std::int64_t>(total.numel(), 1));
  FOVEA_CHECK(count > 0, "mean: {} has no elements", input.describe());
  return total * (1 / count);
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
  FOVEA_CHECK(p >= 0 && p < 1, "dropout: the probability is {}, but must be in [0, 1)", p);
  return apply1(ops::dropout, {input},
                {{"p", p},
                 {"seed", static_cast<std::int64_t>(generator.seed)},
                 {"stream", static_cast<std::int64_t>(generator.next_stream++)}});
}

Tensor nll_loss(const Tensor& log_probabilities, const Tensor& labels) {
  return apply1(ops::nll_loss, {log_probabilities, labels});
}
Tensor cross_entropy(const Tensor& logits, const Tensor& labels) {
  return nll_loss(log_softmax(logits, 1), labels);
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
