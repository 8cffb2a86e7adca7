// Local response normalisation [D section 6] (Krizhevsky et al., 2012): y = x d^-beta with
// d = k + alpha / n sum x^2 over n neighbouring channels.
#include <algorithm>

#include "core/check.h"
#include "core/dispatch.h"
#include "fovea/executor.h"
#include "kernels/channel_window.h"
#include "ops/checks.h"
#include "ops/families.h"
#include "ops/pointwise.h"

namespace fovea::ops {
namespace {

constexpr std::int64_t kTask = 1 << 15;  // elements of one task

kernels::ResponseNorm norm_of(const Attributes& attributes) {
  return {.size = attributes.integer("size"),
          .alpha = attributes.number("alpha"),
          .beta = attributes.number("beta"),
          .k = attributes.number("k")};
}

std::vector<TensorSpec> infer_of(std::string_view op, const TensorSpec& x,
                                 const Attributes& attributes) {
  require_floating(op, x);
  FOVEA_CHECK(x.shape.rank() >= 2 && x.shape.rank() <= 5,
              "{}: input must be [N, C] or [N, C, spatial...] with one to three spatial axes, but "
              "its shape is {}",
              op, x.shape);
  const kernels::ResponseNorm norm = norm_of(attributes);
  constexpr std::int64_t kWidest = 1 << 16;
  FOVEA_CHECK(norm.size >= 1 && norm.size <= kWidest,
              "{}: size is {} channels, but must be between 1 and {}", op, norm.size, kWidest);
  FOVEA_CHECK(norm.k > 0 && norm.alpha >= 0,
              "{}: k is {} and alpha is {}; k must be positive and alpha not negative, for they "
              "make the base of a power",
              op, norm.k, norm.alpha);
  return {make_spec(x.shape, x.dtype, Layout::channels_last)};
}

// Calls body(rows, offset) for pieces of x seen as rows of channels.
template <class Body>
void for_rows(const Tensor& x, const Body& body) {
  const std::int64_t channels = std::max<std::int64_t>(1, x.size(1));
  parallel_ranges(
      x.numel() / channels, std::max<std::int64_t>(1, kTask / channels),
      [&](std::int64_t first, std::int64_t last) { body(last - first, first * channels); });
}

std::vector<TensorSpec> infer_forward(Specs inputs, const Attributes& attributes) {
  return infer_of("local_response_norm", inputs[0], attributes);
}

void run_forward(Inputs inputs, const Attributes& attributes, Outputs outputs) {
  const Tensor x = dense(inputs[0], Layout::channels_last);
  const kernels::ResponseNorm norm = norm_of(attributes);
  dispatch_floating(x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    const T* in = x.data<T>();
    T* out = writable<T>(outputs[0]);
    for_rows(x, [&](std::int64_t rows, std::int64_t at) {
      kernels::response_norm(norm, rows, x.size(1), in + at, out + at);
    });
  });
}

// The sum over windows of channels, which are a spatial axis for a moment; `mirrored` is the
// adjoint.
Tensor channel_sums(const Tensor& x, std::int64_t size, bool mirrored) {
  Shape to_end = {0};
  for (int axis = 2; axis < x.rank(); ++axis) to_end.push_back(axis);
  to_end.push_back(1);
  Shape back = {0, x.rank() - 1};
  for (int axis = 1; axis + 1 < x.rank(); ++axis) back.push_back(axis);
  const Tensor moved = apply1(permute, {x}, {{"axes", to_end}});
  const Tensor rows = apply1(reshape, {moved}, {{"shape", Shape{-1, 1, x.size(1)}}});
  const std::int64_t before = mirrored ? (size - 1) / 2 : size / 2;
  const Tensor sums = apply1(avg_pool, {rows},
                             {{"window", Shape{size}},
                              {"stride", Shape{1}},
                              {"before", Shape{before}},
                              {"after", Shape{size - 1 - before}},
                              {"ceil_mode", false},
                              {"count_include_pad", true},
                              {"divisor", std::int64_t{1}}});
  const Tensor split = apply1(reshape, {sums}, {{"shape", moved.shape()}});
  return apply1(permute, {split}, {{"axes", back}});
}

// dx = g d^-beta - 2 alpha beta / n x sum(g x d^(-beta - 1)) from operators.
Tensor slope(const Tensor& g, const Tensor& x, const kernels::ResponseNorm& norm) {
  const auto product = [](const Tensor& a, const Tensor& b) { return apply1(mul, {a, b}); };
  const double share = norm.alpha / static_cast<double>(norm.size);
  const Tensor sums = channel_sums(product(x, x), norm.size, false);
  const Tensor d = apply1(add_scalar, {scaled(sums, share)}, {{"value", norm.k}});
  const Tensor direct = product(g, apply1(pow, {d}, {{"exponent", -norm.beta}}));
  const Tensor terms = apply1(div, {product(direct, x), d});
  const Tensor indirect = product(x, channel_sums(terms, norm.size, true));
  return apply1(add, {direct, scaled(indirect, -2 * share * norm.beta)});
}

std::vector<Tensor> backward_of(const BackwardCall& call) {
  if (recording_enabled()) {
    return {slope(call.grads[0], call.inputs[0], norm_of(call.attributes))};
  }
  return {apply1(local_response_norm_backward, {call.grads[0], call.inputs[0]}, call.attributes)};
}

std::vector<TensorSpec> infer_backward(Specs inputs, const Attributes& attributes) {
  constexpr std::string_view kName = "local_response_norm_backward";
  require_same_dtype(kName, inputs[0], inputs[1]);
  require_same_shape(kName, inputs[0], "the gradient", inputs[1], "the input");
  return infer_of(kName, inputs[1], attributes);
}

void run_backward(Inputs inputs, const Attributes& attributes, Outputs outputs) {
  const Tensor g = dense(inputs[0], Layout::channels_last);
  const Tensor x = dense(inputs[1], Layout::channels_last);
  const kernels::ResponseNorm norm = norm_of(attributes);
  dispatch_floating(x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    const T* gradient = g.data<T>();
    const T* in = x.data<T>();
    T* out = writable<T>(outputs[0]);
    for_rows(x, [&](std::int64_t rows, std::int64_t at) {
      kernels::response_norm_backward(norm, rows, x.size(1), gradient + at, in + at, out + at);
    });
  });
}

}  // namespace

const OpDef local_response_norm = {.name = "local_response_norm",
                                   .infer = infer_forward,
                                   .run = run_forward,
                                   .backward = backward_of,
                                   .saves = {.inputs = kFirst}};
const OpDef local_response_norm_backward = {
    .name = "local_response_norm_backward", .infer = infer_backward, .run = run_backward};

}  // namespace fovea::ops
