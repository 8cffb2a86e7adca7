// A small training run with most of what a checkpoint holds: weights, a generator, the moments of
// an optimiser, a moving average.
#pragma once

#include <memory>

#include "fovea/checkpoint.h"

namespace fovea::fuzz {

class Checkpointed {
 public:
  Checkpointed() {
    build(network_);
    build(averaged_);
    adam_ = std::make_unique<optim::Adam>(network_.parameters(), optim::AdamOptions{});
    average_ = std::make_unique<optim::MovingAverage>(network_.state(), averaged_.state());
  }
  TrainingState state() {
    return {.module = network_, .optimizer = *adam_, .average = average_.get()};
  }

 private:
  static void build(nn::Sequential& network) {
    Generator generator{.seed = 1};
    network.add<nn::Linear>("fc", 2, 1, generator);
    network.add<nn::Dropout>("drop", 0.5, 1);
  }

  nn::Sequential network_;
  nn::Sequential averaged_;
  std::unique_ptr<optim::Adam> adam_;
  std::unique_ptr<optim::MovingAverage> average_;
};

}  // namespace fovea::fuzz
