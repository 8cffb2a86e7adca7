// A network while it is trained: epoch by epoch, to be stopped and gone on with between two steps.
#pragma once

#include <fovea/fovea.h>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "scoring.h"
#include "support.h"
#include "train_settings.h"

namespace cli {

struct TrainData {
  std::shared_ptr<const fovea::data::Dataset> train;
  std::shared_ptr<const fovea::data::Dataset> test;
};

TrainData open_data(const std::string& source);
// By what a checkpoint knows the data again.
Json data_json(const TrainData& data);

struct EpochReport {
  std::int64_t epoch = 0;  // from 1
  Score train;
  Score test;
  double lr = 0;       // of the last batch
  double seconds = 0;  // of training, without the test

  double images_per_second() const;
  Json json() const;
};

// The loss is no number any more; going on from a checkpoint would end there again.
class Diverged : public fovea::Error {
 public:
  using fovea::Error::Error;
};

class Training {
 public:
  // Throws Error unless the network fits the data. Keeps a reference to `settings`.
  Training(const TrainSettings& settings, const TrainData& data);

  bool done() const { return loader_.position().epoch >= settings_.epochs; }
  // What is left of the current epoch; calls `between` after each step. The epoch stays the current
  // one until it is finished. Throws Diverged.
  void run_epoch(const std::function<void()>& between);
  EpochReport finish_epoch(const Score& test);

  // What a checkpoint holds, and beside it the sums of the current epoch.
  fovea::TrainingState state();
  Json sums_json() const;
  void set_sums(const Json& sums);

  const fovea::nn::Model& model() const { return model_; }
  std::string place() const;  // "epoch 3 of 10, batch 120 of 938"
  // Throws Misuse if more epochs have begun than there shall be.
  void check_epochs() const;

 private:
  void train_batch(const fovea::data::Batch& batch);

  const TrainSettings& settings_;
  fovea::nn::Model model_;
  fovea::data::Loader loader_;
  std::unique_ptr<fovea::optim::Optimizer> optimizer_;
  fovea::optim::Schedule schedule_;
  EpochReport report_;  // of the current epoch, as far as it is
};

}  // namespace cli
