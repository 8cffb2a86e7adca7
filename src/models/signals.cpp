// Networks for what is no picture [A, table of data types]: waveforms, spectrograms, series of
// sensors, and volumes. All end in a mean over positions, so any size that the poolings leave
// something of will do.
//
// audio1d is M5 of Dai et al., "Very deep convolutional neural networks for raw waveforms", 2016,
// with a quarter of its channels; sensors1d the fully convolutional network of Wang, Yan and Oates,
// "Time series classification from scratch", 2016.
#include "models/build.h"

namespace fovea::models {
namespace {

// Convolution, batch normalisation, ReLU.
template <int Dims>
void add_unit(nn::Sequential& layers, std::int64_t in, std::int64_t out, const Spatial& kernel,
              const nn::ConvLayerOptions& options, Generator& generator) {
  layers.add<nn::ConvNd<Dims>>("", in, out, kernel, options, generator);
  layers.add<nn::BatchNormNd<Dims>>("", out);
  layers.add<nn::Relu>("");
}

void add_head(nn::Sequential& layers, std::int64_t in, Builder& build) {
  layers.add<nn::GlobalAvgPool>("");
  layers.add<nn::Flatten>("");
  layers.add<nn::Linear>("fc", in, build.classes(), build.generator);
}

nn::Model finish(std::shared_ptr<nn::Sequential> net, std::int64_t features, Builder& build) {
  add_head(*net, features, build);
  start_for_relu(*net, build.generator);
  return build.finish(std::move(net));
}

// relu(F(x) + shortcut(x)) of two 3x3x3 convolutions.
class VolumeBlock final : public Block {
 public:
  VolumeBlock(std::int64_t in, std::int64_t out, std::int64_t stride, Generator& generator)
      : branch_(add<nn::Sequential>("branch")), shortcut_(add<nn::Sequential>("shortcut")) {
    add_unit<3>(branch_, in, out, 3, without_bias(stride, 1), generator);
    branch_.add<nn::Conv3d>("", out, out, 3, without_bias(1, 1), generator);
    branch_.add<nn::BatchNorm3d>("", out);
    shortcut_.add<nn::Conv3d>("", in, out, 1, without_bias(stride, 0), generator);
    shortcut_.add<nn::BatchNorm3d>("", out);
  }

  std::string describe() const override { return "VolumeBlock()"; }

 protected:
  Tensor forward(const Tensor& x) override { return relu(branch_(x) + shortcut_(x)); }

 private:
  nn::Sequential& branch_;
  nn::Sequential& shortcut_;
};

}  // namespace

nn::Model audio1d(const Options& options) {
  Builder build("audio1d", {1, 8000}, 10, options,
                "; features=mel of audio:DIR gives spectrograms, audio1d takes waveforms");
  auto net = std::make_shared<nn::Sequential>();
  std::int64_t in = build.widened(32);
  add_unit<1>(*net, build.channels(), in, 80, without_bias(4, 38), build.generator);
  net->add<nn::MaxPool>("", 4);
  for (const std::int64_t channels : {32, 64, 128}) {
    const std::int64_t out = build.widened(channels);
    add_unit<1>(*net, in, out, 3, without_bias(1, 1), build.generator);
    net->add<nn::MaxPool>("", 4);
    in = out;
  }
  return finish(std::move(net), in, build);
}

nn::Model audio2d(const Options& options) {
  Builder build("audio2d", {1, 40, 100}, 10, options,
                "; audio2d takes spectrograms, which features=mel of audio:DIR gives");
  auto net = std::make_shared<nn::Sequential>();
  std::int64_t in = build.channels();
  for (const std::int64_t channels : {16, 32, 64, 128}) {
    const std::int64_t out = build.widened(channels);
    add_unit<2>(*net, in, out, 3, without_bias(1, 1), build.generator);
    if (channels < 128) net->add<nn::MaxPool>("", 2);
    in = out;
  }
  return finish(std::move(net), in, build);
}

nn::Model sensors1d(const Options& options) {
  Builder build("sensors1d", {6, 100}, 4, options);
  auto net = std::make_shared<nn::Sequential>();
  const std::int64_t narrow = build.widened(128);
  const std::int64_t wide = build.widened(256);
  add_unit<1>(*net, build.channels(), narrow, 8, without_bias(1, Padding::same()), build.generator);
  add_unit<1>(*net, narrow, wide, 5, without_bias(1, 2), build.generator);
  add_unit<1>(*net, wide, narrow, 3, without_bias(1, 1), build.generator);
  return finish(std::move(net), narrow, build);
}

nn::Model volume3d(const Options& options) {
  Builder build("volume3d", {1, 28, 28, 28}, 2, options);
  auto net = std::make_shared<nn::Sequential>();
  std::int64_t in = build.widened(16);
  add_unit<3>(*net, build.channels(), in, 3, without_bias(1, 1), build.generator);
  for (const std::int64_t channels : {32, 64, 128}) {
    const std::int64_t out = build.widened(channels);
    net->add<VolumeBlock>("", in, out, 2, build.generator);
    in = out;
  }
  return finish(std::move(net), in, build);
}

}  // namespace fovea::models
