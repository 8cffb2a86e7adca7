// What each operator says to inputs that do not fit: the exact message, for every operator.
#include <gtest/gtest.h>

#include <fmt/format.h>

#include <set>
#include <string>
#include <vector>

#include "fovea/conv.h"
#include "ops/families.h"
#include "support/errors.h"

namespace fovea::testing {
namespace {

struct Refusal {
  const OpDef* op = nullptr;
  std::vector<Tensor> inputs;
  Attributes attributes;
  std::string message;
};

class Refusals {
 public:
  void add(const OpDef& op, std::vector<Tensor> inputs, const Attributes& attributes,
           const std::string& message) {
    add_as(op.name, op, std::move(inputs), attributes, message);
  }
  // Where the message names what the user called.
  void add_as(std::string_view name, const OpDef& op, std::vector<Tensor> inputs,
              const Attributes& attributes, const std::string& message) {
    list_.push_back({&op, std::move(inputs), attributes, fmt::format("{}: {}", name, message)});
  }
  std::vector<Refusal> take() { return std::move(list_); }

 private:
  std::vector<Refusal> list_;
};

Tensor zeros(const Shape& shape) {
  return Tensor::zeros(shape);
}
Tensor labels(std::int64_t count) {
  return Tensor::zeros({count}, DType::int64);
}
Tensor positions(const Shape& shape) {
  return Tensor::zeros(shape, DType::int64);
}

Attributes window(std::int64_t size) {
  return {{"window", Shape{size, size}},
          {"stride", Shape{size, size}},
          {"before", Shape{0, 0}},
          {"after", Shape{0, 0}},
          {"ceil_mode", false}};
}

void add_pooling(Refusals& all) {
  const std::string too_large =
      "the window is larger than the padded input in spatial dimension 0: it spans dilation * "
      "(window - 1) + 1 = 1 * (5 - 1) + 1 = 5 cells, but there are 4 + 0 + 0 = 4. Use a smaller "
      "window or pool less often before.";
  const Attributes counted =
      window(5).with("count_include_pad", true).with("divisor", std::int64_t{0});
  const Attributes to = {{"output", Shape{2, 2}}};
  const Attributes input = {{"input", Shape{4, 4}}};
  const std::string flat =
      "output [2, 2] has 2 dimension(s), so the input must be [N, C, H, W], but its shape is [2, "
      "3, "
      "4]. A single sample needs a batch axis of size one in front: reshape it.";
  all.add(ops::max_pool, {zeros({1, 2, 4, 4})}, window(5).with("dilation", Shape{1, 1}), too_large);
  all.add(ops::avg_pool, {zeros({1, 2, 4, 4})}, counted, too_large);
  all.add(ops::lp_pool, {zeros({1, 2, 4, 4})}, window(5).with("p", 2.0), too_large);
  all.add(ops::adaptive_max_pool, {zeros({2, 3, 4})}, to, flat);
  all.add(ops::adaptive_avg_pool, {zeros({2, 3, 4})}, to, flat);
  all.add(
      ops::adaptive_avg_pool_backward, {zeros({1, 2, 3, 2})}, to.with("input", Shape{4, 4}),
      "the gradient [1, 2, 3, 2] has spatial sizes [3, 2], but pooling an input of [4, 4] gives "
      "[2, 2]");
  all.add(
      ops::avg_pool_backward, {zeros({1, 2, 3, 2})},
      window(2)
          .with("count_include_pad", true)
          .with("divisor", std::int64_t{0})
          .with("input", Shape{4, 4}),
      "the gradient [1, 2, 3, 2] has spatial sizes [3, 2], but pooling an input of [4, 4] gives "
      "[2, 2]");
  all.add(ops::lp_pool_backward, {zeros({1, 2, 2, 2}), zeros({1, 2, 4, 4}), zeros({1, 2, 3, 2})},
          window(2).with("p", 2.0),
          "the gradient is [1, 2, 2, 2] but the output is [1, 2, 3, 2]; they must have one shape");
  all.add(ops::pool_scatter, {zeros({1, 2, 2, 2}), positions({1, 2, 2, 3})}, input,
          "gradient is [1, 2, 2, 2] but positions is [1, 2, 2, 3]; they must have one shape");
  all.add(ops::pool_gather, {zeros({1, 2, 4, 4}), positions({1, 3, 2, 2})}, {},
          "input [1, 2, 4, 4] and positions [1, 3, 2, 2] must agree in batch and channels");
  all.add(
      ops::max_unpool, {zeros({1, 2, 2, 2}), zeros({1, 2, 2, 2})}, to,
      "positions must be int64 [N, C, spatial...] as max_pool gives them, got float32 [1, 2, 2, "
      "2]");
  all.add(
      ops::max_unpool_gradient, {zeros({1, 2, 2, 2}), zeros({1, 2, 2, 2})}, {},
      "positions must be int64 [N, C, spatial...] as max_pool gives them, got float32 [1, 2, 2, "
      "2]");
}

void add_norm(Refusals& all) {
  const Attributes eps = {{"eps", 1e-5}};
  const Tensor x = zeros({2, 4, 3});
  const Tensor c = zeros({4});
  all.add(ops::batch_norm, {x, c, c, zeros({3}), c}, eps,
          "running mean is [3], but input [2, 4, 3] needs [4]");
  all.add_as("batch_norm", ops::batch_norm_training, {x, zeros({3}), c}, eps,
             "weight is [3], but input [2, 4, 3] needs [4]");
  const Attributes plain = eps.with("activation", std::int64_t{0}).with("slope", 0.0);
  all.add_as(
      "batch_norm", ops::batch_norm_fused, {x, c, c, zeros({2, 4, 1})}, plain,
      "the residual is [2, 4, 1], but it is added to the output, which is [2, 4, 3]; both must "
      "have one shape");
  all.add(ops::group_norm, {x, c, c}, eps.with("groups", std::int64_t{3}),
          "4 channels (shape [2, 4, 3]) cannot be cut into 3 groups of equal size: 4 / 3 leaves 1");
  all.add(ops::layer_norm, {x, c, {}}, eps.with("axes", std::int64_t{2}),
          "weight is [4], but input [2, 4, 3] needs [4, 3]");
  const std::string differ =
      "the gradient is [2, 4, 2] but the input is [2, 4, 3]; they must have one shape";
  const Tensor g = zeros({2, 4, 2});
  all.add(ops::batch_norm_backward, {g, x, c, c, c}, eps, differ);
  all.add(ops::batch_norm_training_backward, {g, x, c, c, c}, eps, differ);
  all.add(ops::batch_norm_fused_backward, {g, x, c, c, c, x}, plain.with("residual", false),
          differ);
  all.add(ops::group_norm_backward, {g, x, c, zeros({2, 2}), zeros({2, 2})},
          eps.with("groups", std::int64_t{2}), differ);
  all.add(ops::layer_norm_backward, {g, x, zeros({3}), zeros({2, 4}), zeros({2, 4})},
          eps.with("axes", std::int64_t{1}), differ);
  const Attributes response = {
      {"size", std::int64_t{3}}, {"alpha", 1e-4}, {"beta", 0.75}, {"k", 1.0}};
  all.add(
      ops::local_response_norm, {zeros({4})}, response,
      "input must be [N, C] or [N, C, spatial...] with one to three spatial axes, but its shape "
      "is [4]");
  all.add(ops::local_response_norm_backward, {g, x}, response, differ);
}

void add_pointwise(Refusals& all) {
  const Attributes no_options;
  const Tensor bytes = Tensor::zeros({2}, DType::uint8);
  const std::string not_floating =
      "input is uint8 [2], but only float32 and float64 can be computed with. Convert it first: "
      "input.to(DType::float32).";
  const Attributes options = {{"value", 1.0}, {"low", 0.0},   {"high", 1.0},
                              {"slope", 0.1}, {"scale", 1.0}, {"exponent", 2.0}};
  for (const OpDef* op :
       {&ops::neg,        &ops::exp,  &ops::log,       &ops::sqrt,       &ops::add_scalar,
        &ops::mul_scalar, &ops::relu, &ops::sigmoid,   &ops::tanh,       &ops::abs,
        &ops::clamp,      &ops::pow,  &ops::erf,       &ops::leaky_relu, &ops::elu,
        &ops::gelu,       &ops::silu, &ops::hardswish, &ops::softplus,   &ops::relu6}) {
    all.add(*op, {bytes}, options, not_floating);
  }
  for (const OpDef* op : {&ops::add, &ops::sub, &ops::mul, &ops::div, &ops::maximum, &ops::minimum,
                          &ops::above, &ops::equal}) {
    all.add(
        *op, {zeros({2, 3, 4, 4}), zeros({3})}, no_options,
        "shapes [2, 3, 4, 4] and [3] do not broadcast: axis -1 has 4 in one and 3 in the other, "
        "but sizes, counted from the last axis, must be equal or 1. If [3] holds one number per "
        "channel, use reshape([3, 1, 1]).");
  }
  for (const OpDef* op : {&ops::relu_backward, &ops::sigmoid_backward, &ops::tanh_backward}) {
    all.add(*op, {zeros({2, 3}), zeros({2, 2})}, no_options,
            "the gradient is [2, 3] but the output is [2, 2]; they must have one shape");
  }
  for (const OpDef* op :
       {&ops::abs_backward, &ops::clamp_backward, &ops::pow_backward, &ops::erf_backward,
        &ops::leaky_relu_backward, &ops::elu_backward, &ops::gelu_backward, &ops::silu_backward,
        &ops::hardswish_backward, &ops::softplus_backward, &ops::relu6_backward}) {
    all.add(*op, {zeros({2, 3}), zeros({2, 2})}, options,
            "the gradient is [2, 3] but the input is [2, 2]; they must have one shape");
  }
  all.add(ops::dropout, {bytes},
          {{"p", 0.5}, {"seed", std::int64_t{0}}, {"stream", std::int64_t{0}}}, not_floating);
}

void add_reductions_and_views(Refusals& all) {
  const Attributes axis_two = {{"axes", Shape{2}}, {"keep", false}};
  all.add(ops::sum, {zeros({2, 3})}, axis_two, "axis 2 is outside the 2 axes of shape [2, 3]");
  all.add(ops::max, {zeros({2, 3})}, axis_two, "axis 2 is outside the 2 axes of shape [2, 3]");
  all.add(
      ops::broadcast, {zeros({2, 3})}, {{"shape", Shape{4, 3}}},
      "shape [2, 3] cannot be repeated to [4, 3]: axis 0 has 2, but only 1 or 4 would do there");
  all.add(ops::reshape, {zeros({2, 3})}, {{"shape", Shape{4, -1}}},
          "shape [2, 3] has 6 elements, which [4, -1] cannot hold: they do not divide by 4, the "
          "product of the other sizes");
  all.add(ops::flip, {zeros({2, 3})}, {{"axes", Shape{2}}},
          "axis 2 is outside the 2 axes of the tensor; give -2 to 1");
  all.add(ops::permute, {zeros({2, 3})}, {{"axes", Shape{0, 0}}},
          "[0, 0] names axis 0 twice; each axis of shape [2, 3] must occur once");
  const Attributes slice = {{"axis", std::int64_t{2}},
                            {"begin", std::int64_t{0}},
                            {"end", std::int64_t{1}},
                            {"step", std::int64_t{1}}};
  all.add(ops::slice, {zeros({2, 3})}, slice, "axis 2 is outside the 2 axes of shape [2, 3]");
  all.add(ops::slice_backward, {zeros({2, 2})},
          slice.with("axis", std::int64_t{1}).with("shape", Shape{2, 3}),
          "the gradient is [2, 2], but that slice of [2, 3] is [2, 1]");
  all.add(ops::concat, {zeros({2, 3, 4}), zeros({2, 1, 5})}, {{"axis", std::int64_t{1}}},
          "tensor 1 is [2, 1, 5] but tensor 0 is [2, 3, 4]: along axis 1 they are put together, so "
          "axis 2 must have one size, not 5 and 4");
  const Attributes to = {
      {"output", Shape{8}}, {"mode", std::string("nearest")}, {"align_corners", false}};
  all.add(
      ops::upsample, {zeros({2, 3, 4, 4})}, to,
      "output [8] has 1 dimension(s), so the input must be [N, C, L], but its shape is [2, 3, 4, "
      "4]. Give output sizes for as many dimensions as the input has spatial axes.");
  all.add(ops::upsample_backward, {zeros({2, 3, 7})}, to.with("input", Shape{4}),
          "the gradient [2, 3, 7] does not have the spatial sizes [8] of the output");
}

void add_matrices_and_losses(Refusals& all) {
  all.add(
      ops::linear, {zeros({2, 3}), zeros({3, 4}), {}}, {},
      "input has 3 features (the last axis of [2, 3]) but weight [3, 4] needs 4. Weights are [out, "
      "in]: is this one transposed? Use weight.permute({1, 0}).");
  all.add_as("linear", ops::linear_fused, {zeros({2, 3}), zeros({4, 3}), {}, zeros({2, 3})},
             {{"activation", std::int64_t{0}}, {"slope", 0.0}},
             "the residual is [2, 3], but it is added to the output of input [2, 3] and weight [4, "
             "3], which is [2, 4]; both must have one shape");
  all.add(ops::matmul, {zeros({2, 3}), zeros({4, 3})}, {},
          "[2, 3] has 3 columns but [4, 3] has 4 rows; they must be equal. Is the second one "
          "transposed? Use b.permute({1, 0}).");
  const Attributes axis = {{"axis", std::int64_t{2}}};
  all.add(ops::softmax, {zeros({2, 3})}, axis, "axis 2 is outside the 2 axes of [2, 3]");
  all.add(ops::log_softmax, {zeros({2, 3})}, axis, "axis 2 is outside the 2 axes of [2, 3]");
  for (const OpDef* op : {&ops::softmax_backward, &ops::log_softmax_backward}) {
    all.add(*op, {zeros({2, 3}), zeros({2, 2})}, axis,
            "the gradient is [2, 3] but the output is [2, 2]; they must have one shape");
  }
  all.add(ops::nll_loss, {zeros({2, 3}), labels(3)}, {},
          "2 samples (shape [2, 3]) but 3 labels; there must be one label per sample");
  all.add(ops::nll_loss_backward, {zeros({2}), labels(3)}, {{"classes", std::int64_t{3}}},
          "gradient has 1 axes (shape [2]), expected 0");
}

void add_convolutions(Refusals& all) {
  const Attributes conv = {{"stride", Shape{1, 1}},        {"dilation", Shape{1, 1}},
                           {"groups", std::int64_t{1}},    {"before", Shape{0, 0}},
                           {"after", Shape{0, 0}},         {"padding_mode", std::int64_t{0}},
                           {"padding_value", 0.0},         {"algorithm", std::string("auto")},
                           {"precision", std::int64_t{0}}, {"workspace_limit", kNoWorkspaceLimit}};
  const Tensor x = zeros({1, 2, 5, 5});
  const Tensor w = zeros({3, 2, 3, 3});
  const Tensor narrow = zeros({3, 4, 3, 3});
  all.add_as(
      "conv2d", ops::conv, {x, narrow, {}}, conv,
      "input has 2 channels (shape [1, 2, 5, 5]) but weight [3, 4, 3, 3] with groups=1 needs 4.");
  all.add_as("conv2d", ops::conv_fused, {x, w, {}, zeros({1, 3, 2, 3})},
             conv.with("activation", std::int64_t{0}).with("slope", 0.0),
             "the residual is [1, 3, 2, 3], but it is added to the output of input [1, 2, 5, 5] "
             "and weight [3, 2, 3, 3], which is [1, 3, 3, 3]; both must have one shape");
  all.add(ops::conv_backward_data, {zeros({1, 3, 2, 3}), w}, conv.with("input", Shape{5, 5}),
          "the gradient is [1, 3, 2, 3], but the output of mb1ic2ih5oc3oh3kh3 is [1, 3, 3, 3]");
  all.add(ops::conv_backward_weights, {x, zeros({1, 3, 2, 3})}, conv.with("kernel", Shape{3, 3}),
          "the gradient is [1, 3, 2, 3], but the output of mb1ic2ih5oc3oh3kh3 is [1, 3, 3, 3]");
  all.add_as("conv_transpose2d", ops::conv_transpose, {x, w, {}}, conv.with("output", Shape{7, 7}),
             "input has 2 channels (shape [1, 2, 5, 5]) but weight [3, 2, 3, 3] needs 3: it is "
             "[C_in, C_out/groups, kernel...].");
  all.add(ops::mirror, {w},
          {{"groups", std::int64_t{2}}, {"reverse", true}, {"exchange", true}, {"keep", false}},
          "weights [C_out, C_in/groups, kernel...] with groups=2 are needed, but the shape is [3, "
          "2, 3, 3]");
}

void add_patches(Refusals& all) {
  const Attributes window = {{"kernel", Shape{3, 3}},
                             {"stride", Shape{1, 1}},
                             {"dilation", Shape{1, 1}},
                             {"before", Shape{0, 0}},
                             {"after", Shape{0, 0}}};
  all.add(ops::unfold, {zeros({1, 2, 2, 5})}, window,
          "the kernel does not fit along H: dilation*(kernel-1)+1 = 1*(3-1)+1 = 3, but input + "
          "padding = 2+0+0 = 2. Use a smaller kernel or dilation, or more padding.");
  all.add(ops::fold, {zeros({1, 10, 9})}, window.with("input", Shape{5, 5}),
          "the columns [1, 10, 9] hold 10 values each, which is not a multiple of the 9 taps of "
          "kernel [3, 3]");
  const Attributes groups = {{"groups", std::int64_t{1}}};
  const Tensor columns = zeros({1, 6, 4});
  const Tensor w = zeros({4, 3, 5});
  all.add_as("locally_connected", ops::local_product, {columns, w}, groups,
             "weight is [4, 3, 5], but 4 output positions and patches of 6 values in 1 groups need "
             "[4, C_out, 6]: [positions, C_out, C_in/groups * taps]");
  all.add_as(
      "locally_connected", ops::local_product_columns, {zeros({1, 2, 4}), w}, groups,
      "the outputs are [1, 2, 4], but columns [1, 5, 4] and weight [4, 3, 5] give [1, 3, 4]");
  all.add_as(
      "locally_connected", ops::local_product_weights, {columns, zeros({1, 3, 5})}, groups,
      "the outputs are [1, 3, 5], but columns [1, 6, 4] and weight [4, 3, 6] give [1, 3, 4]");
  const Attributes reflected = {{"before", Shape{2}},
                                {"after", Shape{0}},
                                {"padding_mode", static_cast<std::int64_t>(PaddingMode::reflect)},
                                {"padding_value", 0.0}};
  all.add(ops::pad, {zeros({1, 1, 2})}, reflected,
          "reflect padding along W is 2 before and 0 after, but 2 cells can be mirrored at most 1 "
          "far (input - 1); use less padding, or replicate or circular");
  all.add(ops::pad_backward, {zeros({1, 1, 4})}, reflected.with("input", Shape{3}),
          "the gradient is [1, 1, 4], but [1, 1, 3] padded is [1, 1, 5]");
}

void add_signals(Refusals& all) {
  const Attributes axes = {{"axes", Shape{2}}, {"inverse", false}};
  all.add(ops::fft, {zeros({2, 3}), zeros({2, 3})}, axes, "there is no axis 2 in [2, 3]");
  const Attributes correlation = {{"first", Shape{0}},
                                  {"count", Shape{3}},
                                  {"period", Shape{0}},
                                  {"method", std::string("direct")}};
  all.add(ops::correlate, {zeros({5}), zeros({3, 2})}, correlation,
          "the kernel has 2 axes (shape [3, 2]), expected 1");
  all.add(ops::convolve, {zeros({5}), zeros({3, 2})}, correlation,
          "the kernel has 2 axes (shape [3, 2]), expected 1");
}

std::vector<Refusal> refusals() {
  Refusals all;
  add_convolutions(all);
  add_patches(all);
  add_signals(all);
  add_pooling(all);
  add_norm(all);
  add_pointwise(all);
  add_reductions_and_views(all);
  add_matrices_and_losses(all);
  return all.take();
}

TEST(OperatorErrors, HaveACaseForEveryOperator) {
  std::set<std::string_view> tried;
  for (const Refusal& refusal : refusals()) tried.insert(refusal.op->name);
  // These take every shape and type.
  const std::set<std::string_view> take_all = {"cast", "contiguous"};
  for (const OpDef* op : operators())
    EXPECT_NE(tried.contains(op->name), take_all.contains(op->name)) << op->name;
}

TEST(OperatorErrors, SayExactlyWhatDoesNotFit) {
  for (const Refusal& refusal : refusals()) {
    SCOPED_TRACE(refusal.op->name);
    EXPECT_EQ(error_of([&] { apply(*refusal.op, refusal.inputs, refusal.attributes); }),
              refusal.message);
  }
}

}  // namespace
}  // namespace fovea::testing
