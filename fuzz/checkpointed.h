// A small training run with most of what a checkpoint holds: weights, a generator, the moments of
// an optimiser.
#pragma once

#include <memory>

#include "fovea/checkpoint.h"

namespace fovea::fuzz {

class Checkpointed {
 public:
  Checkpointed() {
    Generator generator{.seed = 1};
    network_.add<nn::Linear>("fc", 2, 1, generator);
    network_.add<nn::Dropout>("drop", 0.5, 1);
    adam_ = std::make_unique<optim::Adam>(network_.parameters(), optim::AdamOptions{});
  }
  TrainingState state() { return {.module = network_, .optimizer = *adam_}; }

 private:
  nn::Sequential network_;
  std::unique_ptr<optim::Adam> adam_;
};

}  // namespace fovea::fuzz
