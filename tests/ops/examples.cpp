// Example calls of every operator. A new operator gets its lines in the function of its family.
#include "ops/examples.h"

#include <string>
#include <utility>

#include "core/tensor_impl.h"
#include "fovea/conv.h"
#include "ops/families.h"
#include "support/tensors.h"

namespace fovea::testing {
namespace {

class Collector {
 public:
  // Each tensor is drawn from a seed of its own.
  Tensor values(const Shape& shape, double low = -1, double high = 1) {
    return random_tensor(shape, ++seed_, DType::float64, low, high);
  }
  Tensor spread(const Shape& shape) { return spread_tensor(shape, ++seed_); }

  void add(const OpDef& op, std::string label, std::vector<Tensor> inputs,
           Attributes attributes = {}) {
    examples_.push_back({&op, std::move(label), std::move(inputs), std::move(attributes)});
  }
  std::vector<Example> take() { return std::move(examples_); }

 private:
  std::uint64_t seed_ = 0;
  std::vector<Example> examples_;
};

Tensor channels_last(const Tensor& tensor) {
  return dense(tensor, Layout::channels_last);
}

Tensor integers(std::initializer_list<std::int64_t> values) {
  return Tensor::from<std::int64_t>(values, {static_cast<std::int64_t>(values.size())});
}

// --- conv

struct ConvExample {
  std::string label;
  Shape input, weight, output;  // full shapes
  Shape stride, dilation, before, after;
  std::int64_t groups = 1;
  PaddingMode mode = PaddingMode::zeros;
};

Attributes padding_attributes(const Shape& before, const Shape& after, PaddingMode mode) {
  return {{"before", before},
          {"after", after},
          {"padding_mode", static_cast<std::int64_t>(mode)},
          {"padding_value", mode == PaddingMode::constant ? 0.5 : 0.0}};
}

Attributes conv_attributes(const ConvExample& e) {
  return padding_attributes(e.before, e.after, e.mode)
      .with("stride", e.stride)
      .with("dilation", e.dilation)
      .with("groups", e.groups)
      .with("algorithm", std::string("auto"))
      .with("precision", std::int64_t{0})
      .with("workspace_limit", kNoWorkspaceLimit);
}

Shape spatial(const Shape& shape) {
  return Shape(std::span<const std::int64_t>(shape.begin() + 2, shape.end()));
}

// Of fused operators, those that have a gradient.
constexpr Activation kFusedActivations[] = {Activation::none,    Activation::relu,
                                            Activation::relu6,   Activation::leaky_relu,
                                            Activation::sigmoid, Activation::tanh};

Attributes fused_attributes(const Attributes& attributes, Activation activation) {
  return attributes.with("activation", static_cast<std::int64_t>(activation)).with("slope", 0.25);
}

void add_fused(Collector& all, const ConvExample& e, const Attributes& attributes) {
  for (const Activation activation : kFusedActivations) {
    const Attributes fused = fused_attributes(attributes, activation);
    const Tensor x = channels_last(all.values(e.input));
    const Tensor w = all.values(e.weight);
    const Tensor bias = all.values({e.weight[0]});
    const Tensor residual = channels_last(all.values(e.output, -3, 9));
    const std::string label = e.label + ' ' + std::string(name(activation));
    all.add(ops::conv_fused, label, {x, w, bias, residual}, fused);
    all.add(ops::conv_fused, label + " alone", {x, w, {}, {}}, fused);
  }
}

void add_conv(Collector& all) {
  std::vector<ConvExample> cases = {
      {"1d", {2, 2, 7}, {3, 2, 3}, {2, 3, 3}, {2}, {1}, {1}, {0}},
      {"2d", {2, 2, 4, 5}, {3, 2, 3, 2}, {2, 3, 4, 4}, {1, 1}, {1, 1}, {1, 0}, {1, 0}},
      {"2d strided, dilated, asymmetric",
       {1, 3, 6, 5},
       {2, 3, 2, 3},
       {1, 2, 3, 2},
       {2, 1},
       {2, 2},
       {0, 1},
       {1, 0}},
      {"2d grouped", {2, 4, 3, 3}, {4, 2, 2, 2}, {2, 4, 2, 2}, {1, 1}, {1, 1}, {0, 0}, {0, 0}, 2},
      {"2d depthwise", {1, 3, 4, 4}, {6, 1, 3, 3}, {1, 6, 2, 2}, {2, 2}, {1, 1}, {1, 1}, {1, 1}, 3},
      {"2d pointwise", {2, 3, 2, 2}, {4, 3, 1, 1}, {2, 4, 2, 2}, {1, 1}, {1, 1}, {0, 0}, {0, 0}},
      {"3d",
       {1, 2, 3, 3, 4},
       {2, 2, 2, 2, 2},
       {1, 2, 3, 2, 2},
       {1, 1, 2},
       {1, 1, 1},
       {1, 0, 0},
       {0, 0, 0}},
  };
  for (const PaddingMode mode : kPaddingModes) {
    if (mode == PaddingMode::zeros) continue;
    const std::string label(name(mode));
    // Circular padding may go round more than once.
    const std::int64_t far = mode == PaddingMode::circular ? 5 : 1;
    cases.push_back(
        {label + " 1d", {2, 2, 4}, {2, 2, 2}, {2, 2, 5 + far}, {1}, {1}, {far}, {2}, 1});
    cases.back().mode = mode;
    cases.push_back({label + " 2d",
                     {2, 2, 3, 3},
                     {2, 1, 2, 3},
                     {2, 2, 4, 2},
                     {1, 2},
                     {1, 1},
                     {1, 2},
                     {1, 0},
                     2});
    cases.back().mode = mode;
    cases.push_back({label + " 3d",
                     {1, 1, 2, 3, 2},
                     {1, 1, 2, 2, 2},
                     {1, 1, 3, 2, 1},
                     {1, 1, 1},
                     {1, 2, 1},
                     {1, 0, 0},
                     {1, 1, 0}});
    cases.back().mode = mode;
  }
  for (const ConvExample& e : cases) {
    const Attributes attributes = conv_attributes(e);
    const auto x = [&] { return channels_last(all.values(e.input)); };
    const auto w = [&] { return all.values(e.weight); };
    const auto g = [&] { return channels_last(all.values(e.output)); };
    all.add(ops::conv, e.label, {x(), w(), {}}, attributes);
    all.add(ops::conv, e.label + " with bias", {x(), w(), all.values({e.weight[0]})}, attributes);
    all.add(ops::conv_backward_data, e.label, {g(), w()},
            attributes.with("padding_value", 0.0).with("input", spatial(e.input)));
    all.add(ops::conv_backward_weights, e.label, {x(), g()},
            attributes.with("kernel", spatial(e.weight)));
    if (e.mode == PaddingMode::constant) continue;  // conv_transpose is linear
    if (e.mode == PaddingMode::zeros) add_fused(all, e, attributes);
    const Attributes transposed = attributes.with("output", spatial(e.input));
    all.add(ops::conv_transpose, e.label, {g(), w(), {}}, transposed);
    all.add(ops::conv_transpose, e.label + " with bias", {g(), w(), all.values({e.input[1]})},
            transposed);
  }
}

void add_unfold(Collector& all) {
  struct Case {
    std::string label;
    Shape input, columns, kernel, stride, dilation, before, after;
  };
  const std::vector<Case> cases = {
      {"1d", {2, 3, 6}, {2, 6, 3}, {2}, {2}, {2}, {1}, {0}},
      {"2d", {2, 2, 3, 4}, {2, 12, 12}, {2, 3}, {1, 1}, {1, 1}, {1, 0}, {0, 2}},
      {"2d, one channel", {1, 1, 4, 4}, {1, 4, 4}, {2, 2}, {2, 2}, {1, 1}, {0, 0}, {0, 0}},
      {"3d", {1, 2, 2, 3, 3}, {1, 8, 12}, {1, 2, 2}, {1, 1, 1}, {1, 1, 2}, {0, 0, 1}, {0, 1, 0}},
  };
  for (const Case& e : cases) {
    const Attributes attributes = {{"kernel", e.kernel},
                                   {"stride", e.stride},
                                   {"dilation", e.dilation},
                                   {"before", e.before},
                                   {"after", e.after}};
    all.add(ops::unfold, e.label, {channels_last(all.values(e.input))}, attributes);
    all.add(ops::fold, e.label, {channels_last(all.values(e.columns))},
            attributes.with("input", spatial(e.input)));
  }
}

void add_locally_connected(Collector& all) {
  struct Case {
    std::string label;
    Shape columns, weight, output;
    std::int64_t groups;
  };
  const std::vector<Case> cases = {
      {"dense", {3, 9, 2}, {2, 5, 9}, {3, 5, 2}, 1},
      {"grouped", {1, 6, 3}, {3, 4, 3}, {1, 4, 3}, 2},
      {"one value", {2, 1, 2}, {2, 1, 1}, {2, 1, 2}, 1},
  };
  for (const Case& e : cases) {
    const Attributes attributes = {{"groups", e.groups}};
    const auto columns = [&] { return channels_last(all.values(e.columns)); };
    const auto output = [&] { return channels_last(all.values(e.output)); };
    all.add(ops::local_product, e.label, {columns(), all.values(e.weight)}, attributes);
    all.add(ops::local_product_columns, e.label, {output(), all.values(e.weight)}, attributes);
    all.add(ops::local_product_weights, e.label, {columns(), output()}, attributes);
  }
}

void add_pad(Collector& all) {
  struct Case {
    std::string label;
    Shape input, padded, before, after;
  };
  const std::vector<Case> cases = {
      {"1d", {2, 2, 4}, {2, 2, 9}, {3}, {2}},
      {"2d", {2, 3, 3, 2}, {2, 3, 5, 4}, {0, 1}, {2, 1}},
      {"3d", {1, 2, 2, 3, 2}, {1, 2, 3, 3, 4}, {1, 0, 1}, {0, 0, 1}},
  };
  for (const PaddingMode mode : kPaddingModes) {
    for (const Case& e : cases) {
      const std::string label = e.label + " " + std::string(name(mode));
      const Attributes attributes = padding_attributes(e.before, e.after, mode);
      all.add(ops::pad, label, {channels_last(all.values(e.input))}, attributes);
      all.add(ops::pad_backward, label, {channels_last(all.values(e.padded))},
              attributes.with("padding_value", 0.0).with("input", spatial(e.input)));
    }
  }
}

// --- linear

void add_linear(Collector& all) {
  all.add(ops::linear, "with bias", {all.values({3, 4}), all.values({5, 4}), all.values({5})});
  all.add(ops::linear, "without bias", {all.values({2, 7}), all.values({3, 7}), {}});
  all.add(ops::linear, "one sample, one output",
          {all.values({1, 6}), all.values({1, 6}), all.values({1})});
  for (const Activation activation : kFusedActivations) {
    const Attributes fused = fused_attributes({}, activation);
    const std::string label(name(activation));
    all.add(ops::linear_fused, label,
            {all.values({3, 4}), all.values({5, 4}), all.values({5}), all.values({3, 5}, -3, 9)},
            fused);
    all.add(ops::linear_fused, label + " alone", {all.values({2, 4}), all.values({5, 4}), {}, {}},
            fused);
  }
  const auto transposed = [&](const Shape& shape) {
    return view::permute(all.values(shape), {1, 0});
  };
  all.add(ops::matmul, "row-major", {all.values({3, 4}), all.values({4, 5})});
  all.add(ops::matmul, "first transposed", {transposed({4, 3}), all.values({4, 5})});
  all.add(ops::matmul, "second transposed", {all.values({3, 4}), transposed({5, 4})});
  all.add(ops::matmul, "both transposed", {transposed({4, 3}), transposed({5, 4})});
  all.add(ops::matmul, "batches", {all.values({2, 3, 2}), all.values({2, 2, 4})});
  all.add(ops::matmul, "outer product", {all.values({3, 1}), all.values({1, 2})});
}

// --- pooling

struct PoolExample {
  std::string label;
  Shape input, output;
  Shape window, stride, before, after, dilation;
  bool ceil_mode = false;
};

Attributes window_attributes(const PoolExample& e) {
  return {{"window", e.window},
          {"stride", e.stride},
          {"before", e.before},
          {"after", e.after},
          {"ceil_mode", e.ceil_mode}};
}

// Positions that max_pool could have given, some of them shared by several outputs.
Tensor positions(const Shape& shape, std::int64_t cells) {
  std::vector<std::int64_t> values;
  for (std::int64_t i = 0; i < shape.numel(); ++i) values.push_back(i * 7 % 5 % cells);
  return Tensor::from(values, shape);
}

void add_adaptive_pool(Collector& all) {
  const std::vector<std::pair<Shape, Shape>> cases = {{{2, 3, 7}, {2, 3, 3}},
                                                      {{1, 2, 5, 4}, {1, 2, 3, 4}},
                                                      {{1, 2, 3, 2}, {1, 2, 5, 1}},
                                                      {{1, 2, 3, 4, 2}, {1, 2, 2, 2, 1}}};
  for (const auto& [input, output] : cases) {
    const std::string label = input.to_string() + " to " + output.to_string();
    const Attributes size = {{"output", spatial(output)}};
    all.add(ops::adaptive_max_pool, label, {channels_last(all.spread(input))}, size);
    all.add(ops::adaptive_avg_pool, label, {channels_last(all.values(input))}, size);
    all.add(ops::adaptive_avg_pool_backward, label, {channels_last(all.values(output))},
            size.with("input", spatial(input)));
  }
  // Places of its own for each value.
  const Tensor places = Tensor::from<std::int64_t>({4, 0, 2, 7, 5, 3, 6, 1}, {1, 2, 2, 2});
  all.add(ops::max_unpool, "2d", {channels_last(all.values({1, 2, 2, 2})), channels_last(places)},
          {{"output", Shape{2, 4}}});
  // As of overlapping windows: of a place written twice, the second value stays.
  const Tensor twice = Tensor::from<std::int64_t>({4, 0, 4, 7, 5, 3, 5, 5}, {1, 2, 2, 2});
  all.add(ops::max_unpool, "2d, places written twice",
          {channels_last(all.values({1, 2, 2, 2})), channels_last(twice)},
          {{"output", Shape{2, 4}}});
  all.add(ops::max_unpool_gradient, "2d",
          {channels_last(all.values({1, 2, 2, 4})), channels_last(twice)});
}

void add_pool(Collector& all) {
  const std::vector<PoolExample> cases = {
      {"1d", {2, 3, 7}, {2, 3, 3}, {3}, {2}, {0}, {0}, {1}},
      {"1d hanging over", {2, 3, 6}, {2, 3, 3}, {3}, {2}, {0}, {0}, {1}, true},
      {"2d", {2, 3, 4, 4}, {2, 3, 2, 2}, {2, 2}, {2, 2}, {0, 0}, {0, 0}, {1, 1}},
      {"2d overlapping, padded",
       {1, 2, 5, 4},
       {1, 2, 3, 4},
       {3, 3},
       {2, 1},
       {1, 1},
       {1, 1},
       {1, 1}},
      {"2d padded on one side, hanging over",
       {1, 2, 4, 5},
       {1, 2, 3, 3},
       {2, 3},
       {2, 2},
       {1, 0},
       {0, 1},
       {1, 1},
       true},
      {"3d",
       {1, 2, 3, 4, 3},
       {1, 2, 2, 2, 3},
       {2, 2, 3},
       {1, 2, 1},
       {0, 0, 1},
       {0, 0, 1},
       {1, 1, 1}},
  };
  for (const PoolExample& e : cases) {
    const Attributes windows = window_attributes(e);
    all.add(ops::max_pool, e.label, {channels_last(all.spread(e.input))},
            windows.with("dilation", e.dilation));
    for (const bool count : {true, false}) {
      const Attributes avg =
          windows.with("count_include_pad", count).with("divisor", std::int64_t{0});
      const std::string label = e.label + (count ? ", padding counted" : ", padding not counted");
      all.add(ops::avg_pool, label, {channels_last(all.values(e.input))}, avg);
      all.add(ops::avg_pool_backward, label, {channels_last(all.values(e.output))},
              avg.with("input", spatial(e.input)));
    }
    for (const double p : {1.0, 2.0, 3.5}) {
      const std::string label = e.label + ", p = " + std::to_string(p);
      const Tensor x = channels_last(all.spread(e.input));
      const Attributes norm = windows.with("p", p);
      all.add(ops::lp_pool, label, {x}, norm);
      all.add(ops::lp_pool_backward, label,
              {channels_last(all.values(e.output)), x, apply1(ops::lp_pool, {x}, norm)}, norm);
    }
    const Tensor where = channels_last(positions(e.output, spatial(e.input).numel()));
    all.add(ops::pool_scatter, e.label, {channels_last(all.values(e.output)), where},
            {{"input", spatial(e.input)}});
    all.add(ops::pool_gather, e.label, {channels_last(all.values(e.input)), where});
  }
  const PoolExample dilated = {"2d dilated", {1, 2, 5, 5}, {},     {2, 2},
                               {1, 1},       {0, 0},       {0, 0}, {2, 3}};
  all.add(ops::max_pool, dilated.label, {channels_last(all.spread(dilated.input))},
          window_attributes(dilated).with("dilation", dilated.dilation));
  const PoolExample divided = {
      "2d, divided by 3", {1, 2, 4, 4}, {1, 2, 2, 2}, {2, 2}, {2, 2}, {0, 0}, {0, 0}, {1, 1}};
  const Attributes by_three =
      window_attributes(divided).with("count_include_pad", true).with("divisor", std::int64_t{3});
  all.add(ops::avg_pool, divided.label, {channels_last(all.values(divided.input))}, by_three);
  all.add(ops::avg_pool_backward, divided.label, {channels_last(all.values(divided.output))},
          by_three.with("input", spatial(divided.input)));
  add_adaptive_pool(all);
}

// --- normalisation

void add_norm(Collector& all) {
  const Attributes eps = {{"eps", 0.01}};
  for (const Shape& shape :
       {Shape{3, 4}, Shape{2, 4, 3}, Shape{2, 4, 2, 3}, Shape{2, 2, 2, 2, 2}}) {
    const Shape channels = {shape[1]};
    const auto x = [&] { return channels_last(all.values(shape)); };
    const auto w = [&] { return all.values(channels); };
    const auto variance = [&](const Shape& of) { return all.values(of, 0.5, 2); };
    const std::string label = shape.to_string();
    all.add(ops::batch_norm, label, {x(), w(), w(), w(), variance(channels)}, eps);
    all.add(ops::batch_norm_backward, label, {x(), x(), w(), w(), variance(channels)}, eps);
    all.add(ops::batch_norm_training, label, {x(), w(), w()}, eps);
    all.add(ops::batch_norm_training_backward, label, {x(), x(), w(), w(), variance(channels)},
            eps);
    for (const Activation activation : {Activation::none, Activation::relu, Activation::relu6}) {
      const Attributes fused =
          eps.with("activation", static_cast<std::int64_t>(activation)).with("slope", 0.0);
      const std::string name = label + ", " + std::string(fovea::name(activation));
      all.add(ops::batch_norm_fused, name, {x(), w(), w(), x()}, fused);
      all.add(ops::batch_norm_fused, name + " alone", {x(), {}, {}, {}}, fused);
      for (const bool residual : {false, true}) {
        all.add(ops::batch_norm_fused_backward, name, {x(), x(), w(), w(), variance(channels), x()},
                fused.with("residual", residual));
      }
    }
    for (const std::int64_t groups : {std::int64_t{1}, std::int64_t{2}, shape[1]}) {
      if (groups == shape[1] && shape.rank() == 2) continue;  // one value per mean
      const Attributes grouped = eps.with("groups", groups);
      const Shape statistics = {shape[0], groups};
      const std::string name = label + ", groups = " + std::to_string(groups);
      all.add(ops::group_norm, name, {x(), w(), w()}, grouped);
      all.add(ops::group_norm_backward, name,
              {x(), x(), w(), all.values(statistics), variance(statistics)}, grouped);
    }
    for (const int axes : {1, shape.rank() - 1}) {
      const Attributes last = eps.with("axes", std::int64_t{axes});
      const Shape inner(std::span<const std::int64_t>(shape.end() - axes, shape.end()));
      const Shape outer(std::span<const std::int64_t>(shape.begin(), shape.end() - axes));
      const std::string name = label + ", last axes: " + std::to_string(axes);
      all.add(ops::layer_norm, name, {x(), all.values(inner), all.values(inner)}, last);
      all.add(ops::layer_norm_backward, name,
              {x(), x(), all.values(inner), all.values(outer), variance(outer)}, last);
    }
    for (const double beta : {0.5, 0.75, 1.3}) {
      const Attributes response = {
          {"size", std::int64_t{3}}, {"alpha", 0.7}, {"beta", beta}, {"k", 1.5}};
      all.add(ops::local_response_norm, label, {x()}, response);
      all.add(ops::local_response_norm_backward, label, {x(), x()}, response);
    }
  }
  all.add(ops::batch_norm, "without weight and bias",
          {all.values({3, 2, 2}), {}, {}, all.values({2}), all.values({2}, 0.5, 2)}, eps);
  all.add(ops::batch_norm_training, "without weight and bias", {all.values({3, 2, 2}), {}, {}},
          eps);
  all.add(ops::group_norm, "without weight and bias", {all.values({2, 4, 3}), {}, {}},
          eps.with("groups", std::int64_t{2}));
  all.add(ops::layer_norm, "without weight and bias", {all.values({2, 4, 3}), {}, {}},
          eps.with("axes", std::int64_t{2}));
  all.add(ops::local_response_norm, "wider than the channels", {all.values({2, 3, 2})},
          {{"size", std::int64_t{8}}, {"alpha", 0.7}, {"beta", 0.75}, {"k", 1.0}});
}

// --- element-wise

void add_elementwise(Collector& all) {
  const auto positive = [&](const Shape& shape) { return all.values(shape, 0.5, 2); };
  for (const OpDef* op : {&ops::add, &ops::sub, &ops::mul, &ops::div}) {
    all.add(*op, "one shape", {all.values({2, 3, 2}), positive({2, 3, 2})});
    all.add(*op, "channels-last",
            {channels_last(all.values({2, 3, 2, 2})), channels_last(positive({2, 3, 2, 2}))});
    all.add(*op, "mixed layouts",
            {channels_last(all.values({2, 3, 2, 2})), positive({2, 3, 2, 2})});
    all.add(*op, "per channel", {all.values({2, 3, 2, 2}), positive({3, 1, 1})});
    all.add(*op, "both broadcast", {all.values({3, 1}), positive({1, 4})});
    all.add(*op, "scalar first", {all.values({}), positive({2, 2})});
    all.add(*op, "scalars", {all.values({}), positive({})});
  }
  all.add(ops::neg, "", {all.values({2, 3})});
  all.add(ops::exp, "", {all.values({2, 3})});
  all.add(ops::log, "", {positive({2, 3})});
  all.add(ops::sqrt, "", {positive({2, 3})});
  all.add(ops::add_scalar, "", {all.values({2, 3})}, {{"value", 0.75}});
  all.add(ops::mul_scalar, "", {all.values({2, 3})}, {{"value", -1.5}});
  all.add(ops::cast, "to its own type", {all.values({2, 3})},
          {{"dtype", static_cast<std::int64_t>(DType::float64)}});
}

void add_curves(Collector& all) {
  struct CurveExample {
    const OpDef* op;
    const OpDef* backward;
    Attributes attributes;
    double low = -3, high = 3;
  };
  const std::vector<CurveExample> curves = {
      {&ops::abs, &ops::abs_backward, {}},
      {&ops::clamp, &ops::clamp_backward, {{"low", -0.45}, {"high", 1.3}}},
      {&ops::pow, &ops::pow_backward, {{"exponent", 3.0}}},
      {&ops::pow, &ops::pow_backward, {{"exponent", 0.0}}},
      {&ops::pow, &ops::pow_backward, {{"exponent", -0.5}}, 0.5, 3},
      {&ops::pow, &ops::pow_backward, {{"exponent", 1.7}}, 0.5, 3},
      {&ops::erf, &ops::erf_backward, {}},
      {&ops::leaky_relu, &ops::leaky_relu_backward, {{"slope", 0.1}}},
      {&ops::elu, &ops::elu_backward, {{"scale", 0.7}}},
      {&ops::gelu, &ops::gelu_backward, {}},
      {&ops::silu, &ops::silu_backward, {}},
      {&ops::hardswish, &ops::hardswish_backward, {}, -4, 4},
      {&ops::softplus, &ops::softplus_backward, {}},
      {&ops::relu6, &ops::relu6_backward, {}, -4, 9},
  };
  for (const CurveExample& e : curves) {
    // Evenly spread, so that none lies at a kink.
    const auto x = [&](const Shape& shape) {
      const Tensor middle = Tensor::scalar((e.low + e.high) / 2, DType::float64);
      const Tensor half = Tensor::scalar((e.high - e.low) / 2, DType::float64);
      return apply1(ops::add, {apply1(ops::mul, {all.spread(shape), half}), middle});
    };
    all.add(*e.op, "row-major", {x({3, 5})}, e.attributes);
    all.add(*e.op, "channels-last", {channels_last(x({2, 3, 2, 2}))}, e.attributes);
    all.add(*e.backward, "row-major", {all.values({3, 4}), x({3, 4})}, e.attributes);
    all.add(*e.backward, "mixed layouts",
            {all.values({2, 3, 2, 2}), channels_last(x({2, 3, 2, 2}))}, e.attributes);
  }
  for (const OpDef* op : {&ops::maximum, &ops::minimum, &ops::above, &ops::equal}) {
    all.add(*op, "one shape", {all.spread({3, 4}), all.values({3, 4})});
    all.add(*op, "per channel", {all.spread({2, 3, 2, 2}), all.values({3, 1, 1})});
  }
}

void add_activation(Collector& all) {
  for (const OpDef* op : {&ops::relu, &ops::sigmoid, &ops::tanh}) {
    all.add(*op, "row-major", {all.spread({3, 5})});
    all.add(*op, "channels-last", {channels_last(all.spread({2, 3, 2, 2}))});
  }
  for (const OpDef* op : {&ops::relu_backward, &ops::sigmoid_backward, &ops::tanh_backward}) {
    all.add(*op, "row-major", {all.values({3, 4}), all.spread({3, 4})});
    all.add(*op, "mixed layouts",
            {all.values({2, 3, 2, 2}), channels_last(all.spread({2, 3, 2, 2}))});
  }
}

// --- reductions and views

void add_reduce(Collector& all) {
  const auto axes = [](const Shape& which, bool keep) {
    return Attributes{{"axes", which}, {"keep", keep}};
  };
  all.add(ops::sum, "all", {all.values({2, 3, 2})}, axes({0, 1, 2}, false));
  all.add(ops::sum, "last axis", {all.values({2, 3, 4})}, axes({2}, false));
  all.add(ops::sum, "middle axis, kept", {all.values({2, 3, 4})}, axes({1}, true));
  all.add(ops::sum, "all but channels", {channels_last(all.values({2, 3, 2, 2}))},
          axes({0, 2, 3}, false));
  all.add(ops::max, "all", {all.spread({2, 3, 2})}, axes({0, 1, 2}, false));
  all.add(ops::max, "last axis", {all.spread({2, 3, 4})}, axes({2}, false));
  all.add(ops::max, "middle axis, kept", {all.spread({2, 3, 4})}, axes({1}, true));
  all.add(ops::max, "all but channels", {channels_last(all.spread({2, 3, 2, 2}))},
          axes({0, 2, 3}, false));
  all.add(ops::broadcast, "axes of size one", {all.values({3, 1})}, {{"shape", Shape{3, 4}}});
  all.add(ops::broadcast, "new axes", {all.values({3, 1, 1})}, {{"shape", Shape{2, 3, 2, 2}}});
  all.add(ops::broadcast, "scalar", {all.values({})}, {{"shape", Shape{2, 2}}});
}

void add_view(Collector& all) {
  all.add(ops::reshape, "row-major", {all.values({2, 3, 4})}, {{"shape", Shape{6, 4}}});
  all.add(ops::reshape, "flatten of channels-last", {channels_last(all.values({2, 3, 2, 2}))},
          {{"shape", Shape{2, 12}}});
  all.add(ops::permute, "", {all.values({2, 3, 4})}, {{"axes", Shape{2, 0, 1}}});
  const auto slice = [](std::int64_t axis, std::int64_t begin, std::int64_t end,
                        std::int64_t step) {
    return Attributes{{"axis", axis}, {"begin", begin}, {"end", end}, {"step", step}};
  };
  all.add(ops::slice, "inner", {all.values({2, 5})}, slice(1, 1, 4, 1));
  all.add(ops::slice, "with step", {all.values({5, 2})}, slice(0, 0, 5, 2));
  all.add(ops::slice, "negative", {all.values({2, 5, 2})}, slice(1, -3, -1, 1));
  all.add(ops::slice_backward, "inner", {all.values({2, 3})},
          slice(1, 1, 4, 1).with("shape", Shape{2, 5}));
  all.add(ops::slice_backward, "with step", {all.values({3, 2})},
          slice(0, 0, 5, 2).with("shape", Shape{5, 2}));
  for (const Layout layout : {Layout::row_major, Layout::channels_last}) {
    const Attributes attributes = {{"layout", static_cast<std::int64_t>(layout)}};
    all.add(ops::contiguous, "of row-major", {all.values({2, 3, 2, 2})}, attributes);
    all.add(ops::contiguous, "of channels-last", {channels_last(all.values({2, 3, 2, 2}))},
            attributes);
  }
}

void add_flip(Collector& all) {
  all.add(ops::flip, "one axis", {all.values({2, 3, 4})}, {{"axes", Shape{1}}});
  all.add(ops::flip, "kernel", {all.values({2, 1, 3, 2})}, {{"axes", Shape{-2, -1}}});
  all.add(ops::flip, "channels-last", {channels_last(all.values({2, 3, 2, 4}))},
          {{"axes", Shape{0, 3}}});
  for (const bool reverse : {false, true}) {
    for (const bool exchange : {false, true}) {
      all.add(ops::mirror, std::string(reverse ? "reverse " : "") + (exchange ? "exchange" : ""),
              {all.values({6, 2, 3, 2})},
              {{"groups", std::int64_t{2}},
               {"reverse", reverse},
               {"exchange", exchange},
               {"keep", false}});
    }
  }
}

void add_upsample(Collector& all) {
  const std::vector<std::pair<Shape, Shape>> cases = {{{2, 3, 4}, {2, 3, 8}},
                                                      {{1, 2, 3, 2}, {1, 2, 5, 7}},
                                                      {{1, 2, 2, 3, 2}, {1, 2, 4, 3, 5}},
                                                      {{1, 2, 4, 4}, {1, 2, 2, 1}}};
  for (const auto& [input, output] : cases) {
    for (const std::string mode : {"nearest", "linear"}) {
      for (const bool corners : {false, true}) {
        const Attributes attributes = {
            {"output", spatial(output)}, {"mode", mode}, {"align_corners", corners}};
        const std::string label =
            mode + (corners ? " with corners, " : ", ") + input.to_string() + output.to_string();
        all.add(ops::upsample, label, {channels_last(all.values(input))}, attributes);
        all.add(ops::upsample_backward, label, {channels_last(all.values(output))},
                attributes.with("input", spatial(input)));
      }
    }
  }
}

void add_concat(Collector& all) {
  const auto axis = [](std::int64_t which) { return Attributes{{"axis", which}}; };
  all.add(ops::concat, "one", {all.values({2, 3})}, axis(1));
  all.add(ops::concat, "channels",
          {channels_last(all.values({2, 3, 2, 2})), channels_last(all.values({2, 1, 2, 2})),
           all.values({2, 2, 2, 2})},
          axis(1));
  all.add(ops::concat, "batch", {all.values({2, 3, 2}), all.values({1, 3, 2})}, axis(0));
}

// --- softmax and losses, dropout

void add_softmax(Collector& all) {
  for (const OpDef* op : {&ops::softmax, &ops::log_softmax}) {
    all.add(*op, "last axis", {all.values({3, 5}, -2, 2)}, {{"axis", std::int64_t{1}}});
    all.add(*op, "first axis", {all.values({4, 3}, -2, 2)}, {{"axis", std::int64_t{0}}});
    all.add(*op, "channels, row-major", {all.values({2, 3, 2, 2}, -2, 2)},
            {{"axis", std::int64_t{1}}});
    all.add(*op, "channels, channels-last", {channels_last(all.values({2, 3, 2, 2}, -2, 2))},
            {{"axis", std::int64_t{1}}});
    all.add(*op, "axis of size one", {all.values({3, 1}, -2, 2)}, {{"axis", std::int64_t{1}}});
  }
  for (const OpDef* op : {&ops::softmax_backward, &ops::log_softmax_backward}) {
    all.add(*op, "last axis", {all.values({3, 37}), all.values({3, 37}, -2, 0)},
            {{"axis", std::int64_t{1}}});
    all.add(*op, "channels, mixed layouts",
            {all.values({2, 3, 2, 2}), channels_last(all.values({2, 3, 2, 2}, -2, 0))},
            {{"axis", std::int64_t{1}}});
    all.add(*op, "first axis", {all.values({4, 3}), all.values({4, 3}, -2, 0)},
            {{"axis", std::int64_t{0}}});
  }
  all.add(ops::nll_loss, "", {all.values({4, 3}), integers({2, 0, 0, 1})});
  all.add(ops::nll_loss, "one sample", {all.values({1, 5}), integers({4})});
  all.add(ops::nll_loss_backward, "", {all.values({}), integers({2, 0, 0, 1})},
          {{"classes", std::int64_t{3}}});
}

void add_dropout(Collector& all) {
  const Attributes attributes = {
      {"p", 0.4}, {"seed", std::int64_t{5}}, {"stream", std::int64_t{2}}};
  all.add(ops::dropout, "row-major", {all.values({3, 7})}, attributes);
  all.add(ops::dropout, "channels-last", {channels_last(all.values({2, 3, 2, 2}))}, attributes);
  all.add(ops::dropout, "nothing dropped", {all.values({2, 3})}, attributes.with("p", 0.0));
}

// --- signals

void add_signal(Collector& all) {
  all.add(ops::fft, "7 points", {all.values({7}), all.values({7})},
          {{"axes", Shape{0}}, {"inverse", false}});
  all.add(ops::fft, "inverse, outer and inner axis", {all.values({4, 2, 3}), all.values({4, 2, 3})},
          {{"axes", Shape{0, 2}}, {"inverse", true}});
  for (const OpDef* op : {&ops::correlate, &ops::convolve}) {
    for (const std::string method : {"direct", "fft"}) {
      const auto attributes = [&](const Shape& first, const Shape& count, const Shape& period) {
        return Attributes{
            {"first", first}, {"count", count}, {"period", period}, {"method", method}};
      };
      all.add(*op, "1d, " + method, {all.values({6}), all.values({3})}, attributes({-2}, {8}, {}));
      all.add(*op, "1d, circular, " + method, {all.values({5}), all.values({7})},
              attributes({0}, {5}, {5}));
      all.add(*op, "2d, " + method, {all.values({4, 3}), all.values({2, 5})},
              attributes({1, -1}, {2, 4}, {}));
      all.add(*op, "3d, circular, " + method, {all.values({2, 3, 2}), all.values({1, 2, 2})},
              attributes({0, 0, 0}, {2, 3, 2}, {2, 3, 2}));
    }
  }
}

}  // namespace

std::vector<Example> operator_examples() {
  Collector all;
  add_conv(all);
  add_unfold(all);
  add_locally_connected(all);
  add_pad(all);
  add_linear(all);
  add_pool(all);
  add_norm(all);
  add_elementwise(all);
  add_activation(all);
  add_curves(all);
  add_reduce(all);
  add_view(all);
  add_flip(all);
  add_upsample(all);
  add_concat(all);
  add_softmax(all);
  add_dropout(all);
  add_signal(all);
  return all.take();
}

}  // namespace fovea::testing
