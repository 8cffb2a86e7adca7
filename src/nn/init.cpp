// Initialisers: random weights whose spread keeps the variance of signals, or of gradients, the
// same from layer to layer. A uniform distribution in +-b has standard deviation b / sqrt(3).
#include <cmath>

#include "core/check.h"
#include "fovea/nn.h"

namespace fovea::nn::init {
namespace {

struct Fans {
  double in = 1;
  double out = 1;
};

Fans fans(const Tensor& tensor, std::string_view initialiser) {
  FOVEA_CHECK(tensor.rank() >= 2,
              "{}: needs a weight [out, in, kernel...] of rank 2 or more, but got {}", initialiser,
              tensor.describe());
  double taps = 1;
  for (int axis = 2; axis < tensor.rank(); ++axis) taps *= static_cast<double>(tensor.size(axis));
  return {static_cast<double>(tensor.size(1)) * taps, static_cast<double>(tensor.size(0)) * taps};
}

void uniform_of(Tensor& tensor, double stddev, Generator& generator) {
  const double bound = std::sqrt(3.0) * stddev;
  uniform(tensor, -bound, bound, generator);
}

double lecun(const Tensor& tensor) {
  return std::sqrt(1.0 / fans(tensor, "lecun").in);
}

double xavier(const Tensor& tensor) {
  const auto [in, out] = fans(tensor, "xavier");
  return std::sqrt(2.0 / (in + out));
}

double kaiming(const Tensor& tensor) {
  return std::sqrt(2.0 / fans(tensor, "kaiming").in);
}

}  // namespace

void uniform(Tensor& tensor, double low, double high, Generator& generator) {
  tensor.copy_from(fovea::uniform(tensor.shape(), low, high, generator, tensor.dtype()));
}

void normal(Tensor& tensor, double mean, double stddev, Generator& generator) {
  tensor.copy_from(fovea::normal(tensor.shape(), mean, stddev, generator, tensor.dtype()));
}

void lecun_uniform(Tensor& tensor, Generator& generator) {
  uniform_of(tensor, lecun(tensor), generator);
}

void lecun_normal(Tensor& tensor, Generator& generator) {
  normal(tensor, 0, lecun(tensor), generator);
}

void xavier_uniform(Tensor& tensor, Generator& generator) {
  uniform_of(tensor, xavier(tensor), generator);
}

void xavier_normal(Tensor& tensor, Generator& generator) {
  normal(tensor, 0, xavier(tensor), generator);
}

void kaiming_uniform(Tensor& tensor, Generator& generator) {
  uniform_of(tensor, kaiming(tensor), generator);
}

void kaiming_normal(Tensor& tensor, Generator& generator) {
  normal(tensor, 0, kaiming(tensor), generator);
}

}  // namespace fovea::nn::init
