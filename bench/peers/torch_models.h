// Networks in libtorch's C++ frontend: the layers of fovea::models, with the same names of
// parameters. To add one: a class in torch_models.cpp and a line in its list.
#pragma once

#include <torch/nn.h>

#include <cstdint>
#include <memory>
#include <string>

namespace peers {

struct TorchModule : torch::nn::Module {
  virtual torch::Tensor forward(torch::Tensor x) = 0;
};

// For images [channels, side, side].
struct TorchInput {
  std::int64_t channels = 1;
  std::int64_t side = 28;
  std::int64_t classes = 10;
};

bool has_torch_module(const std::string& architecture);
// Throws std::runtime_error if there is none.
std::shared_ptr<TorchModule> build_torch_module(const std::string& architecture,
                                                const TorchInput& input);

}  // namespace peers
