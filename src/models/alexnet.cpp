// AlexNet: five convolutions and three linear layers [D section 6].
//
// `alexnet` is torchvision's, after Krizhevsky, "One weird trick for parallelizing convolutional
// neural networks", 2014: one column of 64 to 384 channels; 61,100,840 parameters. `alexnet_2012`
// is that of Krizhevsky, Sutskever and Hinton, 2012: two columns, hence groups of two where they do
// not see each other, and local response normalisation behind the first two convolutions;
// 60,965,224 parameters.
#include "models/build.h"

namespace fovea::models {
namespace {

// Overlapping windows.
void add_pool(nn::Sequential& layers) {
  layers.add<nn::MaxPool>("", 3, PoolOptions{.stride = 2});
}

class AlexNet final : public Block {
 public:
  AlexNet(Builder& build, bool of_2012)
      : features_(add<nn::Sequential>("features")),
        pool_(add<nn::AdaptiveAvgPool>("avgpool", Spatial{6, 6})),
        classifier_(add<nn::Sequential>("classifier")) {
    of_2012 ? add_columns(build) : add_column(build);
    add_classifier(build, of_2012);
  }

  std::string describe() const override { return "AlexNet()"; }

 protected:
  Tensor forward(const Tensor& x) override { return classifier_(flatten(pool_(features_(x)))); }

 private:
  // From the convolution before, or from the input, to `out` channels.
  void add_conv(Builder& build, std::int64_t out, std::int64_t kernel,
                const nn::ConvLayerOptions& options) {
    const std::int64_t in = channels_ == 0 ? build.channels() : channels_;
    channels_ = build.widened(out);
    features_.add<nn::Conv2d>("", in, channels_, kernel, options, build.generator);
    features_.add<nn::Relu>("");
  }

  void add_column(Builder& build) {
    add_conv(build, 64, 11, {.stride = 4, .padding = 2});
    add_pool(features_);
    add_conv(build, 192, 5, {.padding = 2});
    add_pool(features_);
    add_conv(build, 384, 3, {.padding = 1});
    add_conv(build, 256, 3, {.padding = 1});
    add_conv(build, 256, 3, {.padding = 1});
    add_pool(features_);
  }

  void add_columns(Builder& build) {
    const auto add_norm = [&] {
      features_.add<nn::LocalResponseNorm>("", 5, ResponseNormOptions{.k = 2});
    };
    add_conv(build, 96, 11, {.stride = 4, .padding = 2});
    add_norm();
    add_pool(features_);
    add_conv(build, 256, 5, {.padding = 2, .groups = 2});
    add_norm();
    add_pool(features_);
    add_conv(build, 384, 3, {.padding = 1});
    add_conv(build, 384, 3, {.padding = 1, .groups = 2});
    add_conv(build, 256, 3, {.padding = 1, .groups = 2});
    add_pool(features_);
  }

  void add_classifier(Builder& build, bool of_2012) {
    // 2012 drops behind the activations, the later one before the layers.
    const auto add_dropout = [&](std::uint64_t number) {
      classifier_.add<nn::Dropout>("", 0.5, build.seed() + number);
    };
    const std::int64_t hidden = build.widened(4096);
    std::int64_t in = build.widened(256) * 6 * 6;
    for (const std::uint64_t number : {1U, 2U}) {
      if (!of_2012) add_dropout(number);
      classifier_.add<nn::Linear>("", in, hidden, build.generator);
      classifier_.add<nn::Relu>("");
      if (of_2012) add_dropout(number);
      in = hidden;
    }
    classifier_.add<nn::Linear>("", hidden, build.classes(), build.generator);
  }

  std::int64_t channels_ = 0;  // of the last convolution added
  nn::Sequential& features_;
  nn::AdaptiveAvgPool& pool_;
  nn::Sequential& classifier_;
};

nn::Model build_alexnet(const char* name, bool of_2012, const Options& options) {
  Builder build(name, {3, 224, 224}, 1000, options);
  auto net = std::make_shared<AlexNet>(build, of_2012);
  start_for_relu(*net, build.generator);
  return build.finish(std::move(net));
}

}  // namespace

nn::Model alexnet(const Options& options) {
  return build_alexnet("alexnet", false, options);
}

nn::Model alexnet_2012(const Options& options) {
  return build_alexnet("alexnet_2012", true, options);
}

}  // namespace fovea::models
