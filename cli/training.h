// A network while it is trained: epoch by epoch, to be stopped and gone on with between two steps.
#pragma once

#include <fovea/fovea.h>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "scoring.h"
#include "support.h"
#include "train_settings.h"

namespace cli {

struct TrainData {
  std::shared_ptr<const fovea::data::Dataset> train;
  std::shared_ptr<const fovea::data::Dataset> validation;  // may be null
  std::shared_ptr<const fovea::data::Dataset> test;        // may be null, but not both
  // What each epoch is scored on, and its name.
  const std::shared_ptr<const fovea::data::Dataset>& scored() const {
    return validation ? validation : test;
  }
  const char* scored_name() const { return validation ? "validation" : "test"; }
};

// Throws Error, or Misuse where --early-stopping or --select has nothing to choose by.
TrainData open_data(const TrainSettings& settings);
// By what a checkpoint knows the data again.
Json data_json(const TrainData& data);

struct EpochReport {
  std::int64_t epoch = 0;  // from 1
  Score train;
  Score scored;
  std::optional<double> mean_iou;  // of masks
  std::optional<double> auc;       // of two classes, where both occur
  std::string scored_name;         // "test", "validation"
  double lr = 0;                   // of the last batch
  double seconds = 0;              // of training, without the scoring

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

  // Fills the network from the file of --weights; what of it fitted, and what is frozen, for
  // people. Throws Error if nothing fits.
  std::vector<std::string> start();

  // All epochs, or as many as brought nothing new that --early-stopping says.
  bool done() const;
  bool stopped_early() const;
  // What is left of the current epoch; calls `between` after each step. The epoch stays the current
  // one until it is finished. Throws Diverged.
  void run_epoch(const std::function<void()>& between);
  EpochReport finish_epoch(const Evaluation& evaluation);
  // What the best epoch is chosen by, as people call it.
  std::string measure_name() const;
  // Whether the epoch that was finished last is the best one so far.
  bool is_best() const { return best_.epoch == loader_.position().epoch; }
  std::int64_t best_epoch() const { return best_.epoch; }

  // What a checkpoint holds, and beside it the sums of the current epoch and the best one.
  fovea::TrainingState state();
  Json sums_json() const;
  void set_sums(const Json& sums);

  const fovea::nn::Model& model() const { return model_; }
  // The network that is scored and saved: the moving average, where there is one.
  const fovea::nn::Model& result() const { return average_ ? averaged_ : model_; }
  std::string place() const;  // "epoch 3 of 10, batch 120 of 938"
  // Throws Misuse if more epochs have begun than there shall be.
  void check_epochs() const;

 private:
  struct Best {
    std::int64_t epoch = 0;  // 0: none yet
    double value = 0;        // of the measure; of the loss minus it
  };

  void train_batch(const fovea::data::Batch& batch, double share);
  fovea::Tensor loss_of(const fovea::Tensor& logits, const fovea::Tensor& labels) const;
  // Samples of the step that batch number `batch` of an epoch is part of.
  std::int64_t samples_of_step(std::int64_t batch) const;
  void step();

  // Larger is better; always a number.
  double value_of(const EpochReport& report) const;

  const TrainSettings& settings_;
  Measure measure_;
  fovea::nn::Model model_;
  std::vector<std::string> frozen_;
  fovea::data::Loader loader_;
  std::unique_ptr<fovea::optim::Optimizer> optimizer_;
  fovea::nn::Model averaged_;
  std::optional<fovea::optim::MovingAverage> average_;
  fovea::optim::Schedule schedule_;
  fovea::CrossEntropyOptions loss_;
  EpochReport report_;  // of the current epoch, as far as it is
  Best best_;
};

}  // namespace cli
