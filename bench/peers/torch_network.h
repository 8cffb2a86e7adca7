// A network in libtorch, next to which Fovea's own is timed. No libtorch header is needed here:
// they take long to compile.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace peers {

struct Parameter {
  std::string name;
  std::vector<float> values;  // row-major
};

// Images in row-major order, and their classes.
struct Batch {
  std::vector<std::int64_t> shape;  // [batch, channels, side, side]
  std::vector<float> images;
  std::vector<std::int64_t> labels;
};

struct SgdSettings {
  double lr = 0.01;
  double momentum = 0.9;
};

enum class TorchLayout : std::uint8_t { row_major, channels_last };

// One of torch_models.h. libtorch's errors leave as std::runtime_error.
class TorchNetwork {
 public:
  TorchNetwork(const std::string& architecture, const std::vector<Parameter>& parameters,
               const Batch& batch, TorchLayout layout, const SgdSettings& sgd = {});
  ~TorchNetwork();
  TorchNetwork(const TorchNetwork&) = delete;
  TorchNetwork& operator=(const TorchNetwork&) = delete;

  // Zeroes gradients, computes the loss of the batch and its gradients, changes the weights;
  // returns the loss. Without `drop`, dropout passes everything on.
  double train_step(bool drop = true);
  void infer();  // in evaluation and inference mode
  // Of the last infer(), row-major.
  std::vector<float> logits() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Whether fovea::models' network of that name is built here too.
bool torch_has(const std::string& architecture);
void set_torch_threads(int count);
std::string torch_version();  // "libtorch 1.13"
// File of the matrix product that libtorch was given; Debian's default one is many times slower
// than OpenBLAS.
std::string torch_blas();

}  // namespace peers
