// Example calls of every operator. A new operator gets its lines in the function of its family.
#include "ops/examples.h"

#include <utility>

#include "core/tensor_impl.h"
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
};

Attributes conv_attributes(const ConvExample& e) {
  return {{"stride", e.stride}, {"dilation", e.dilation}, {"before", e.before},
          {"after", e.after},   {"groups", e.groups},     {"algorithm", std::string("auto")}};
}

Shape spatial(const Shape& shape) {
  return Shape(std::span<const std::int64_t>(shape.begin() + 2, shape.end()));
}

void add_conv(Collector& all) {
  const std::vector<ConvExample> cases = {
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
  for (const ConvExample& e : cases) {
    const Attributes attributes = conv_attributes(e);
    const auto x = [&] { return channels_last(all.values(e.input)); };
    const auto w = [&] { return all.values(e.weight); };
    const auto g = [&] { return channels_last(all.values(e.output)); };
    all.add(ops::conv, e.label, {x(), w(), {}}, attributes);
    all.add(ops::conv, e.label + " with bias", {x(), w(), all.values({e.weight[0]})}, attributes);
    all.add(ops::conv_backward_data, e.label, {g(), w()},
            attributes.with("input", spatial(e.input)));
    all.add(ops::conv_backward_weights, e.label, {x(), g()},
            attributes.with("kernel", spatial(e.weight)));
  }
}

// --- linear

void add_linear(Collector& all) {
  all.add(ops::linear, "with bias", {all.values({3, 4}), all.values({5, 4}), all.values({5})});
  all.add(ops::linear, "without bias", {all.values({2, 7}), all.values({3, 7}), {}});
  all.add(ops::linear, "one sample, one output",
          {all.values({1, 6}), all.values({1, 6}), all.values({1})});
  const auto transposed = [&](const Shape& shape) {
    return view::permute(all.values(shape), {1, 0});
  };
  all.add(ops::matmul, "row-major", {all.values({3, 4}), all.values({4, 5})});
  all.add(ops::matmul, "first transposed", {transposed({4, 3}), all.values({4, 5})});
  all.add(ops::matmul, "second transposed", {all.values({3, 4}), transposed({5, 4})});
  all.add(ops::matmul, "both transposed", {transposed({4, 3}), transposed({5, 4})});
  all.add(ops::matmul, "outer product", {all.values({3, 1}), all.values({1, 2})});
}

// --- pooling

struct PoolExample {
  std::string label;
  Shape input, output;
  Shape window, stride, padding, dilation;
};

// Positions that max_pool could have given, some of them shared by several outputs.
Tensor positions(const Shape& shape, std::int64_t cells) {
  std::vector<std::int64_t> values;
  for (std::int64_t i = 0; i < shape.numel(); ++i) values.push_back(i * 7 % 5 % cells);
  return Tensor::from(values, shape);
}

void add_pool(Collector& all) {
  const std::vector<PoolExample> cases = {
      {"1d", {2, 3, 7}, {2, 3, 3}, {3}, {2}, {0}, {1}},
      {"2d", {2, 3, 4, 4}, {2, 3, 2, 2}, {2, 2}, {2, 2}, {0, 0}, {1, 1}},
      {"2d overlapping, padded", {1, 2, 5, 4}, {1, 2, 3, 4}, {3, 3}, {2, 1}, {1, 1}, {1, 1}},
      {"3d", {1, 2, 3, 4, 3}, {1, 2, 2, 2, 3}, {2, 2, 3}, {1, 2, 1}, {0, 0, 1}, {1, 1, 1}},
  };
  for (const PoolExample& e : cases) {
    const Attributes max = {{"window", e.window},
                            {"stride", e.stride},
                            {"padding", e.padding},
                            {"dilation", e.dilation}};
    all.add(ops::max_pool, e.label, {channels_last(all.spread(e.input))}, max);
    for (const bool count : {true, false}) {
      const Attributes avg = {{"window", e.window},
                              {"stride", e.stride},
                              {"padding", e.padding},
                              {"count_include_pad", count}};
      const std::string label = e.label + (count ? ", padding counted" : ", padding not counted");
      all.add(ops::avg_pool, label, {channels_last(all.values(e.input))}, avg);
      all.add(ops::avg_pool_backward, label, {channels_last(all.values(e.output))},
              avg.with("input", spatial(e.input)));
    }
    const Tensor where = channels_last(positions(e.output, spatial(e.input).numel()));
    all.add(ops::pool_scatter, e.label, {channels_last(all.values(e.output)), where},
            {{"input", spatial(e.input)}});
    all.add(ops::pool_gather, e.label, {channels_last(all.values(e.input)), where});
  }
  all.add(ops::max_pool, "2d dilated", {channels_last(all.spread({1, 2, 5, 5}))},
          {{"window", Shape{2, 2}},
           {"stride", Shape{1, 1}},
           {"padding", Shape{0, 0}},
           {"dilation", Shape{2, 3}}});
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
  add_linear(all);
  add_pool(all);
  add_elementwise(all);
  add_activation(all);
  add_reduce(all);
  add_view(all);
  add_softmax(all);
  add_dropout(all);
  add_signal(all);
  return all.take();
}

}  // namespace fovea::testing
