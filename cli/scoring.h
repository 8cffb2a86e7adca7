// How well a network does on a data set: shared by train and evaluate.
#pragma once

#include <fovea/fovea.h>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

namespace cli {

// Sums over samples; always added up in the order of the samples.
struct Score {
  double loss_sum = 0;
  std::int64_t correct = 0;
  std::int64_t samples = 0;

  // logits [N, classes], labels [N], and the mean loss of the batch.
  void add(const fovea::Tensor& logits, const fovea::Tensor& labels, double mean_loss);
  double loss() const { return loss_sum / static_cast<double>(samples); }
  double accuracy() const { return static_cast<double>(correct) / static_cast<double>(samples); }
};

// Throws Error unless the network reads such samples and tells such classes apart.
void check_fits(const fovea::nn::Model& model, const fovea::data::Dataset& dataset,
                const std::string& source);

// In evaluation mode; normalises as the model was trained, whatever the data set's own statistics,
// and as the data set does where the model does not say. Calls `between` after each batch; what it
// throws ends the scoring.
Score score(
    const fovea::nn::Model& model, const std::shared_ptr<const fovea::data::Dataset>& dataset,
    std::int64_t batch, const std::function<void()>& between = [] {});

}  // namespace cli
