// U-Net (Ronneberger, Fischer and Brox, 2015) [A]: four times down by pooling, four times up by
// transposed convolution, and at each level the map from the way down beside the one that comes up.
// Its convolutions are padded, so that the classes have the picture's size, and followed by batch
// normalisation.
#include <vector>

#include "core/check.h"
#include "models/build.h"

namespace fovea::models {
namespace {

constexpr int kLevels = 4;

// Two 3x3 convolutions.
class DoubleConv final : public Block {
 public:
  DoubleConv(std::int64_t in, std::int64_t out, Generator& generator)
      : conv1_(add<nn::Conv2d>("conv1", in, out, 3, without_bias(1, 1), generator)),
        bn1_(add<nn::BatchNorm2d>("bn1", out)),
        conv2_(add<nn::Conv2d>("conv2", out, out, 3, without_bias(1, 1), generator)),
        bn2_(add<nn::BatchNorm2d>("bn2", out)) {}

  std::string describe() const override { return "DoubleConv()"; }

 protected:
  Tensor forward(const Tensor& x) override {
    constexpr Activation kRelu = Activation::relu;
    return bn2_.after(conv2_, bn1_.after(conv1_, x, {.activation = kRelu}), {.activation = kRelu});
  }

 private:
  nn::Conv2d& conv1_;
  nn::BatchNorm2d& bn1_;
  nn::Conv2d& conv2_;
  nn::BatchNorm2d& bn2_;
};

class UNet final : public Block {
 public:
  explicit UNet(Builder& build) {
    const auto name = [](const char* what, int level) { return what + std::to_string(level); };
    const auto channels = [&](int level) { return build.widened(64) << level; };
    std::int64_t in = build.channels();
    for (int level = 0; level <= kLevels; ++level) {
      down_.push_back(&add<DoubleConv>(name("down", level), in, channels(level), build.generator));
      in = channels(level);
    }
    for (int level = kLevels - 1; level >= 0; --level) {
      up_.push_back(
          {add<nn::ConvTranspose2d>(name("rise", level), in, channels(level), 2,
                                    nn::ConvTransposeLayerOptions{.stride = 2}, build.generator),
           add<DoubleConv>(name("up", level), in, channels(level), build.generator)});
      in = channels(level);
    }
    classify_ = &add<nn::Conv2d>("classify", in, build.classes(), 1, nn::ConvLayerOptions{},
                                 build.generator);
  }

  std::string describe() const override { return "UNet()"; }

 protected:
  Tensor forward(const Tensor& input) override {
    std::vector<Tensor> maps = {(*down_[0])(input)};
    for (std::size_t level = 1; level < down_.size(); ++level)
      maps.push_back((*down_[level])(max_pool(maps.back(), 2)));
    Tensor x = maps.back();
    for (const auto& [rise, mix] : up_) {
      maps.pop_back();
      x = mix(concat({maps.back(), rise(x)}));
    }
    return (*classify_)(x);
  }

 private:
  struct Up {
    nn::ConvTranspose2d& rise;
    DoubleConv& mix;
  };
  std::vector<DoubleConv*> down_;
  std::vector<Up> up_;
  nn::Conv2d* classify_ = nullptr;
};

}  // namespace

nn::Model unet(const Options& options) {
  Builder build("unet", {1, 256, 256}, 2, options);
  constexpr std::int64_t kUnit = 1 << kLevels;
  FOVEA_CHECK(build.input()[1] % kUnit == 0 && build.input()[2] % kUnit == 0,
              "unet: halves the picture {} times, so its height and width must be multiples of {}, "
              "but are {} and {}. Pad or crop it first",
              kLevels, kUnit, build.input()[1], build.input()[2]);
  auto net = std::make_shared<UNet>(build);
  start_for_relu(*net, build.generator);
  return build.finish(std::move(net));
}

}  // namespace fovea::models
