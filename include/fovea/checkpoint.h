// Checkpoints: all that a training loop needs to go on as though it had never stopped.
#pragma once

#include <map>
#include <string>

#include "fovea/data.h"
#include "fovea/export.h"
#include "fovea/nn.h"
#include "fovea/optim.h"

namespace fovea {

// The parts of a training run, as they are saved from and loaded into.
struct TrainingState {
  nn::Module& module;
  optim::Optimizer& optimizer;
  data::Loader* loader = nullptr;           // null: the batches come from elsewhere
  optim::MovingAverage* average = nullptr;  // null: none is kept
};

// What else a loop wants to remember: sums of losses, the state of generators of its own.
using Notes = std::map<std::string, std::string>;

// Writes weights, buffers, the state of the module's generators, of the optimiser, of the loader
// and of the moving average to one safetensors file, beside `path` and renamed into place, so that
// the checkpoint before it stays until the new one is on the disk. To be called between two steps:
// gradients are not saved.
//
//   fv::data::Loader loader(train, {.shuffle = true});
//   const fv::TrainingState state{.module = net.module(), .optimizer = adam, .loader = &loader};
//   if (std::filesystem::exists("run.checkpoint")) fv::load_checkpoint("run.checkpoint", state);
//   while (loader.position().epoch < 10) {
//     for (const auto& [images, labels] : loader) {
//       ...
//       adam.step();
//       if (loader.position().batch % 100 == 0) fv::save_checkpoint("run.checkpoint", state);
//     }
//   }
FOVEA_API void save_checkpoint(const std::string& path, const TrainingState& state,
                               const Notes& notes = {});

// Copies the state back, and returns the notes. Everything that follows is the same bits as if the
// run had not been interrupted, on the same SIMD target. Throws Error, and changes nothing, unless
// all of it fits: the network, the optimiser's method, the loader's options.
FOVEA_API Notes load_checkpoint(const std::string& path, const TrainingState& state);
// The notes alone, for those who must read them to build the network.
FOVEA_API Notes load_notes(const std::string& path);

}  // namespace fovea
