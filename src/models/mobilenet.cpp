// MobileNets: depthwise-separable blocks, a depthwise convolution per channel and a pointwise one
// across channels [C].
//
// Version 1 (Howard et al., 2017) stacks them; 4,231,976 parameters. Version 2 (Sandler et al.,
// 2018) widens a narrow input six times, filters it depthwise and projects it back, with a shortcut
// between the narrow ends; 3,504,872 parameters. Names of version 2 are torchvision's, and those of
// version 1 formed in the same way.
#include <algorithm>

#include "models/build.h"

namespace fovea::models {
namespace {

// Convolution, batch normalisation and ReLU6, named 0, 1 and 2.
struct UnitShape {
  std::int64_t kernel = 3;
  std::int64_t stride = 1;
  std::int64_t groups = 1;
};
void add_unit(nn::Sequential& layers, std::int64_t in, std::int64_t out, const UnitShape& shape,
              Generator& generator) {
  layers.add<nn::Conv2d>("", in, out, shape.kernel,
                         without_bias(shape.stride, shape.kernel / 2, shape.groups), generator);
  layers.add<nn::BatchNorm2d>("", out);
  layers.add<nn::Relu6>("");
}

// Small pictures are not halved at once.
std::int64_t first_stride(Builder& build) {
  if (build.side() >= 64) return 2;
  build.adapted("its first convolution has stride 1 instead of 2, for small pictures");
  return 1;
}

class InvertedResidual final : public Block {
 public:
  InvertedResidual(std::int64_t in, std::int64_t out, std::int64_t stride, std::int64_t expansion,
                   Generator& generator)
      : conv_(add<nn::Sequential>("conv")), shortcut_(stride == 1 && in == out) {
    const std::int64_t wide = expansion * in;
    if (expansion != 1) add_unit(conv_.add<nn::Sequential>(""), in, wide, {.kernel = 1}, generator);
    add_unit(conv_.add<nn::Sequential>(""), wide, wide, {.stride = stride, .groups = wide},
             generator);
    conv_.add<nn::Conv2d>("", wide, out, 1, without_bias(1, 0), generator);
    conv_.add<nn::BatchNorm2d>("", out);
  }

  std::string describe() const override { return "InvertedResidual()"; }

 protected:
  Tensor forward(const Tensor& x) override {
    const Tensor y = conv_(x);
    return shortcut_ ? x + y : y;
  }

 private:
  nn::Sequential& conv_;
  bool shortcut_;
};

class MobileNet final : public Block {
 public:
  MobileNet() : features_(add<nn::Sequential>("features")) {}

  nn::Sequential& features() { return features_; }
  nn::Sequential& add_classifier() { return *(classifier_ = &add<nn::Sequential>("classifier")); }

  std::string describe() const override { return "MobileNet()"; }

 protected:
  Tensor forward(const Tensor& x) override {
    return (*classifier_)(flatten(global_avg_pool(features_(x))));
  }

 private:
  nn::Sequential& features_;
  nn::Sequential* classifier_ = nullptr;
};

// A depthwise 3x3 with its stride, and the channels that the pointwise convolution behind gives.
struct Separable {
  std::int64_t channels;
  std::int64_t stride;
};
constexpr Separable kVersion1[] = {{64, 1},  {128, 2},  {128, 1}, {256, 2}, {256, 1},
                                   {512, 2}, {512, 1},  {512, 1}, {512, 1}, {512, 1},
                                   {512, 1}, {1024, 2}, {1024, 1}};

// A row of inverted residuals, of which the first has the stride.
struct Row {
  std::int64_t expansion;
  std::int64_t channels;
  int blocks;
  std::int64_t stride;
};
constexpr Row kVersion2[] = {{1, 16, 1, 1}, {6, 24, 2, 2},  {6, 32, 3, 2}, {6, 64, 4, 2},
                             {6, 96, 3, 1}, {6, 160, 3, 2}, {6, 320, 1, 1}};

}  // namespace

nn::Model mobilenet_v1(const Options& options) {
  Builder build("mobilenet_v1", {3, 224, 224}, 1000, options);
  auto net = std::make_shared<MobileNet>();
  std::int64_t in = build.widened(32);
  add_unit(net->features().add<nn::Sequential>(""), build.channels(), in,
           {.stride = first_stride(build)}, build.generator);
  for (const Separable& block : kVersion1) {
    auto& layers = net->features().add<nn::Sequential>("");
    const std::int64_t out = build.widened(block.channels);
    add_unit(layers, in, in, {.stride = block.stride, .groups = in}, build.generator);
    add_unit(layers, in, out, {.kernel = 1}, build.generator);
    in = out;
  }
  nn::Sequential& classifier = net->add_classifier();
  classifier.add<nn::Linear>("", in, build.classes(), build.generator);
  start_for_relu(*net, build.generator);
  return build.finish(std::move(net));
}

nn::Model mobilenet_v2(const Options& options) {
  Builder build("mobilenet_v2", {3, 224, 224}, 1000, options);
  auto net = std::make_shared<MobileNet>();
  std::int64_t in = build.widened(32);
  add_unit(net->features().add<nn::Sequential>(""), build.channels(), in,
           {.stride = first_stride(build)}, build.generator);
  for (const Row& row : kVersion2) {
    const std::int64_t out = build.widened(row.channels);
    for (int i = 0; i < row.blocks; ++i) {
      net->features().add<InvertedResidual>("", in, out, i == 0 ? row.stride : 1, row.expansion,
                                            build.generator);
      in = out;
    }
  }
  // As the paper has it, a narrower network keeps these.
  const std::int64_t last = std::max<std::int64_t>(1280, build.widened(1280));
  add_unit(net->features().add<nn::Sequential>(""), in, last, {.kernel = 1}, build.generator);
  nn::Sequential& classifier = net->add_classifier();
  classifier.add<nn::Dropout>("", 0.2, build.seed());
  classifier.add<nn::Linear>("", last, build.classes(), build.generator);
  start_for_relu(*net, build.generator);
  return build.finish(std::move(net));
}

}  // namespace fovea::models
