// VGG (Simonyan and Zisserman, "Very deep convolutional networks for large-scale image
// recognition", 2014) [C]: five stages of 3x3 convolutions, each ended by a pooling, then three
// linear layers. Names and shapes are torchvision's.
#include <array>

#include "models/build.h"

namespace fovea::models {
namespace {

// How many convolutions each of the five stages has.
using Stages = std::array<int, 5>;
constexpr Stages kVgg11 = {1, 1, 2, 2, 2};
constexpr Stages kVgg13 = {2, 2, 2, 2, 2};
constexpr Stages kVgg16 = {2, 2, 3, 3, 3};
constexpr Stages kVgg19 = {2, 2, 4, 4, 4};
constexpr std::array<std::int64_t, 5> kChannels = {64, 128, 256, 512, 512};

class Vgg final : public Block {
 public:
  Vgg(Builder& build, const Stages& stages, bool normalised)
      : features_(add<nn::Sequential>("features")),
        pool_(add<nn::AdaptiveAvgPool>("avgpool", Spatial{7, 7})),
        classifier_(add<nn::Sequential>("classifier")) {
    add_features(build, stages, normalised);
    const std::int64_t hidden = build.widened(4096);
    std::int64_t in = build.widened(512) * 7 * 7;
    for (const std::uint64_t number : {1U, 2U}) {
      classifier_.add<nn::Linear>("", in, hidden, build.generator);
      classifier_.add<nn::Relu>("");
      classifier_.add<nn::Dropout>("", 0.5, build.seed() + number);
      in = hidden;
    }
    classifier_.add<nn::Linear>("", in, build.classes(), build.generator);
  }

  std::string describe() const override { return "Vgg()"; }

 protected:
  Tensor forward(const Tensor& x) override { return classifier_(flatten(pool_(features_(x)))); }

 private:
  void add_features(Builder& build, const Stages& stages, bool normalised) {
    std::int64_t in = build.channels();
    for (std::size_t stage = 0; stage < stages.size(); ++stage) {
      const std::int64_t out = build.widened(kChannels[stage]);
      for (int i = 0; i < stages[stage]; ++i) {
        features_.add<nn::Conv2d>("", in, out, 3, nn::ConvLayerOptions{.padding = 1},
                                  build.generator);
        in = out;
        if (normalised) features_.add<nn::BatchNorm2d>("", in);
        features_.add<nn::Relu>("");
      }
      features_.add<nn::MaxPool>("", 2);
    }
  }

  nn::Sequential& features_;
  nn::AdaptiveAvgPool& pool_;
  nn::Sequential& classifier_;
};

nn::Model build_vgg(const char* name, const Stages& stages, bool normalised,
                    const Options& options) {
  Builder build(name, {3, 224, 224}, 1000, options);
  auto net = std::make_shared<Vgg>(build, stages, normalised);
  start_for_relu(*net, build.generator);
  return build.finish(std::move(net));
}

}  // namespace

nn::Model vgg11(const Options& options) {
  return build_vgg("vgg11", kVgg11, false, options);
}
nn::Model vgg11_bn(const Options& options) {
  return build_vgg("vgg11_bn", kVgg11, true, options);
}
nn::Model vgg13(const Options& options) {
  return build_vgg("vgg13", kVgg13, false, options);
}
nn::Model vgg13_bn(const Options& options) {
  return build_vgg("vgg13_bn", kVgg13, true, options);
}
nn::Model vgg16(const Options& options) {
  return build_vgg("vgg16", kVgg16, false, options);
}
nn::Model vgg16_bn(const Options& options) {
  return build_vgg("vgg16_bn", kVgg16, true, options);
}
nn::Model vgg19(const Options& options) {
  return build_vgg("vgg19", kVgg19, false, options);
}
nn::Model vgg19_bn(const Options& options) {
  return build_vgg("vgg19_bn", kVgg19, true, options);
}

}  // namespace fovea::models
