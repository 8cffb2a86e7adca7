// What decides the result of a training: given on the command line or in a recipe, and kept in its
// checkpoint.
#pragma once

#include <fovea/fovea.h>
#include <CLI/CLI.hpp>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "support.h"

namespace cli {

enum class Method : std::uint8_t { adam, adamw, sgd, rmsprop };
// Of the samples that an epoch is scored on.
enum class Measure : std::uint8_t { accuracy, loss, auc, iou };

struct TrainSettings {
  std::string network;
  std::string data;
  double validation = 0;  // share of the training samples that is set apart
  double width = 1;       // of the network
  std::int64_t epochs = 10;
  std::int64_t batch = 64;
  std::int64_t accumulate = 1;  // batches per step
  std::string augment;

  Method method = Method::adam;
  std::optional<double> lr;        // the method's own default otherwise
  std::optional<double> momentum;  // of sgd and rmsprop
  bool nesterov = false;
  double weight_decay = 0;
  bool spare_biases = false;          // no weight decay for biases and norms
  std::vector<std::string> lr_scale;  // "PATTERN=FACTOR"
  double clip = 0;                    // 0: none
  double ema = 0;                     // 0: none

  fovea::optim::Schedule::Kind schedule = fovea::optim::Schedule::Kind::one_cycle;
  std::optional<double> warmup;
  std::vector<double> milestones = {0.5, 0.75};
  double step_factor = 0.1;
  std::int64_t early_stopping = 0;  // 0: never
  std::optional<Measure> select;    // what tells the best epoch; iou of masks, else accuracy

  double dice = 0;  // its share of the loss
  double label_smoothing = 0;
  std::vector<std::string> class_weights;  // numbers, or "balanced"

  std::string weights;  // a file to start from
  std::vector<std::string> freeze;
  std::uint64_t seed = 1;
};

// Declares the options; what is required is asked of check_settings(), for a training that goes on
// needs none of them.
void add_settings(CLI::App& app, TrainSettings& settings);
// Throws Misuse for what is missing or does not go together.
void check_settings(const TrainSettings& settings);

double learning_rate(const TrainSettings& settings);
fovea::optim::Schedule schedule_of(const TrainSettings& settings);
// Of the parameters that are not frozen. Throws Misuse for a pattern that none has.
std::unique_ptr<fovea::optim::Optimizer> new_optimizer(const TrainSettings& settings,
                                                       const fovea::nn::Model& model);

// Names of the settings, as in the options without dashes in front and in recipes.
std::vector<std::string> setting_names();
// Keys are those names.
Json settings_json(const TrainSettings& settings);
// Reads what settings_json() wrote, from a file that is not trusted. Throws Json::exception for
// what is missing, and Error, naming `file`, for values that make no sense.
TrainSettings settings_of(const Json& json, const std::string& file);

// The settings of a training that goes on: `stored`, with what of the command line `given` may
// change (epochs, and where the data lie). Throws Misuse for any other that differs.
TrainSettings merge(const TrainSettings& stored, const TrainSettings& given, const CLI::App& app);

}  // namespace cli
