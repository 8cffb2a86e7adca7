// The work that is timed: one pass of one convolution, a training step, an inference. The program
// and the comparison with other libraries run the same.
#pragma once

#include <cstdint>
#include <string>

#include "fovea/conv.h"
#include "fovea/nn.h"
#include "fovea/optim.h"
#include "fovea/tensor.h"

namespace bench {

// One pass on random data in [-1, 1), channels-last; packed weights are kept from call to call, as
// in a network.
class ConvWork {
 public:
  explicit ConvWork(fovea::Plan plan);
  void run() { fovea::run_conv(plan_, first_, second_, result_); }

  const fovea::Plan& plan() const { return plan_; }
  const fovea::Tensor& first() const { return first_; }    // x, or g for backward_data
  const fovea::Tensor& second() const { return second_; }  // w, or g for backward_weights
  const fovea::Tensor& result() const { return result_; }  // y, dx or dw

 private:
  fovea::Plan plan_;
  fovea::Tensor first_;
  fovea::Tensor second_;
  fovea::Tensor result_;
};

// A network of that name on one batch of random images and labels.
class NetworkWork {
 public:
  // `input`: one image, [C, H, W]; empty: as the network was published.
  NetworkWork(const std::string& network, std::int64_t batch, const fovea::Shape& input = {});
  // Gradients to zero, forward, cross-entropy, backward, one step of SGD (learning rate 0.01,
  // momentum 0.9); returns the loss before the step. Without `drop`, dropout passes everything on.
  double train(bool drop = true);
  // Forward in evaluation mode, nothing recorded: logits [batch, classes].
  fovea::Tensor infer();

  fovea::nn::Model& model() { return model_; }
  const fovea::Tensor& images() const { return images_; }
  const fovea::Tensor& labels() const { return labels_; }

 private:
  fovea::nn::Model model_;
  fovea::Tensor images_;
  fovea::Tensor labels_;
  fovea::optim::Sgd optimizer_;
};

}  // namespace bench
