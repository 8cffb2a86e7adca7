// GoogLeNet (Szegedy et al., "Going deeper with convolutions", 2014) [C] in torchvision's form:
// batch normalisation behind each convolution, 3x3 in place of 5x5 in the third branch. The
// auxiliary classifiers, of use in training only, are left out; 6,624,904 parameters.
#include <tuple>
#include <vector>

#include "models/build.h"

namespace fovea::models {
namespace {

class ConvNormRelu final : public Block {
 public:
  ConvNormRelu(std::int64_t in, std::int64_t out, std::int64_t kernel, std::int64_t stride,
               Generator& generator)
      : conv_(
            add<nn::Conv2d>("conv", in, out, kernel, without_bias(stride, kernel / 2), generator)),
        bn_(add<nn::BatchNorm2d>("bn", out, nn::BatchNormLayerOptions{.eps = 1e-3})) {}

  std::string describe() const override { return "ConvNormRelu()"; }

 protected:
  Tensor forward(const Tensor& x) override {
    return bn_.after(conv_, x, {.activation = Activation::relu});
  }

 private:
  nn::Conv2d& conv_;
  nn::BatchNorm2d& bn_;
};

// Channels of the four branches; those of the second and third are reduced first.
struct InceptionChannels {
  std::int64_t ones, reduced3, threes, reduced5, fives, pooled;
  InceptionChannels widened(const Builder& build) const {
    return {build.widened(ones),     build.widened(reduced3), build.widened(threes),
            build.widened(reduced5), build.widened(fives),    build.widened(pooled)};
  }
  std::int64_t sum() const { return ones + threes + fives + pooled; }
};

class Inception final : public Block {
 public:
  Inception(std::int64_t in, const InceptionChannels& out, Generator& generator)
      : branches_{&add<ConvNormRelu>("branch1", in, out.ones, 1, 1, generator)} {
    for (const auto& [name, reduced, channels] :
         {std::tuple{"branch2", out.reduced3, out.threes}, {"branch3", out.reduced5, out.fives}}) {
      auto& branch = add<nn::Sequential>(name);
      branch.add<ConvNormRelu>("", in, reduced, 1, 1, generator);
      branch.add<ConvNormRelu>("", reduced, channels, 3, 1, generator);
      branches_.push_back(&branch);
    }
    auto& pooled = add<nn::Sequential>("branch4");
    pooled.add<nn::MaxPool>("", 3, PoolOptions{.stride = 1, .padding = 1, .ceil_mode = true});
    pooled.add<ConvNormRelu>("", in, out.pooled, 1, 1, generator);
    branches_.push_back(&pooled);
  }

  std::string describe() const override { return "Inception()"; }

 protected:
  Tensor forward(const Tensor& x) override {
    std::vector<Tensor> results;
    for (nn::Module* branch : branches_) results.push_back((*branch)(x));
    return concat(results);
  }

 private:
  std::vector<nn::Module*> branches_;
};

struct Stage {
  const char* name;
  InceptionChannels channels;
  const char* pool = nullptr;  // behind it, if any
  std::int64_t window = 0;     // of that
};
constexpr Stage kStages[] = {
    {"inception3a", {64, 96, 128, 16, 32, 32}},
    {"inception3b", {128, 128, 192, 32, 96, 64}, "maxpool3", 3},
    {"inception4a", {192, 96, 208, 16, 48, 64}},
    {"inception4b", {160, 112, 224, 24, 64, 64}},
    {"inception4c", {128, 128, 256, 24, 64, 64}},
    {"inception4d", {112, 144, 288, 32, 64, 64}},
    {"inception4e", {256, 160, 320, 32, 128, 128}, "maxpool4", 2},
    {"inception5a", {256, 160, 320, 32, 128, 128}},
    {"inception5b", {384, 192, 384, 48, 128, 128}},
};

class GoogLeNet final : public Block {
 public:
  explicit GoogLeNet(Builder& build) {
    Generator& generator = build.generator;
    const std::int64_t first = build.widened(64);
    std::int64_t in = build.widened(192);
    append(add<ConvNormRelu>("conv1", build.channels(), first, 7, 2, generator));
    add_pool("maxpool1", 3);
    append(add<ConvNormRelu>("conv2", first, first, 1, 1, generator));
    append(add<ConvNormRelu>("conv3", first, in, 3, 1, generator));
    add_pool("maxpool2", 3);
    for (const Stage& stage : kStages) {
      const InceptionChannels channels = stage.channels.widened(build);
      append(add<Inception>(stage.name, in, channels, generator));
      in = channels.sum();
      if (stage.pool != nullptr) add_pool(stage.pool, stage.window);
    }
    append(add<nn::GlobalAvgPool>("avgpool"));
    append(add<nn::Flatten>("flatten"));
    append(add<nn::Dropout>("dropout", 0.2, build.seed()));
    append(add<nn::Linear>("fc", in, build.classes(), generator));
  }

  std::string describe() const override { return "GoogLeNet()"; }

 protected:
  Tensor forward(const Tensor& input) override {
    Tensor x = input;
    for (nn::Module* layer : order_) x = (*layer)(x);
    return x;
  }

 private:
  void append(nn::Module& layer) { order_.push_back(&layer); }
  void add_pool(const char* name, std::int64_t window) {
    append(add<nn::MaxPool>(name, window, PoolOptions{.stride = 2, .ceil_mode = true}));
  }

  std::vector<nn::Module*> order_;
};

}  // namespace

nn::Model googlenet(const Options& options) {
  Builder build("googlenet", {3, 224, 224}, 1000, options);
  auto net = std::make_shared<GoogLeNet>(build);
  start_for_relu(*net, build.generator);
  return build.finish(std::move(net));
}

}  // namespace fovea::models
