// What the networks are built with: the sizes asked for beside the published ones, and blocks that
// own their layers.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fovea/models.h"

namespace fovea::models {

// A module whose layers are its own; it says with forward() how they are connected.
class Block : public nn::Module {
 protected:
  template <class M, class... Args>
  M& add(std::string name, Args&&... args) {
    auto layer = std::make_unique<M>(std::forward<Args>(args)...);
    M& reference = *layer;
    own(std::move(name), std::move(layer));
    return reference;
  }
  void own(std::string name, std::unique_ptr<nn::Module> layer) {
    add_module(std::move(name), *layer);
    layers_.push_back(std::move(layer));
  }

 private:
  std::vector<std::unique_ptr<nn::Module>> layers_;
};

// A network in the making: checks the options, notes what differs from the published network, and
// tries the result on the input's shape.
class Builder {
 public:
  // `name` is that of the list; `input` and `classes` are those it was published with. `advice`
  // ends the message about samples with other axes.
  Builder(std::string name, const Shape& input, std::int64_t classes, const Options& options,
          std::string_view advice = "");

  const Shape& input() const { return input_; }
  std::int64_t channels() const { return input_[0]; }
  std::int64_t classes() const { return classes_; }
  // The least of the spatial sizes.
  std::int64_t side() const;
  // `channels` times the option width; if that is not 1, a multiple of 8 of at least nine tenths of
  // it, as MobileNetV2 rounds.
  std::int64_t widened(std::int64_t channels) const;
  std::uint64_t seed() const { return options_.seed; }

  void adapted(std::string how) { notes_.push_back(std::move(how)); }

  // Throws Error where the network cannot take the input.
  nn::Model finish(std::shared_ptr<nn::Module> net) const;

  Generator generator;

 private:
  std::string name_;
  Options options_;
  Shape input_;
  std::int64_t classes_;
  std::vector<std::string> notes_;
};

// For convolutions before batch normalisation, which has a bias of its own.
nn::ConvLayerOptions without_bias(const Spatial& stride, const Padding& padding,
                                  std::int64_t groups = 1);

// Starts every convolution with Kaiming's weights and zero biases: for ReLU.
void start_for_relu(nn::Module& net, Generator& generator);

}  // namespace fovea::models
