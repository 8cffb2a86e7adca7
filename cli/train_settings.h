// What decides the result of a training: given on the command line, and kept in its checkpoint.
#pragma once

#include <fovea/fovea.h>
#include <CLI/CLI.hpp>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "support.h"

namespace cli {

enum class Method : std::uint8_t { adam, sgd };

struct TrainSettings {
  std::string network;
  std::string data;
  std::int64_t epochs = 10;
  std::int64_t batch = 64;
  Method method = Method::adam;
  std::optional<double> lr;        // the method's own default otherwise
  std::optional<double> momentum;  // of sgd
  double weight_decay = 0;
  fovea::optim::Schedule::Kind schedule = fovea::optim::Schedule::Kind::one_cycle;
  std::uint64_t seed = 1;
};

// Declares the options; what is required is asked of check_settings(), for a training that goes on
// needs none of them.
void add_settings(CLI::App& app, TrainSettings& settings);
// Throws Misuse for what is missing or does not go together.
void check_settings(const TrainSettings& settings);

double learning_rate(const TrainSettings& settings);
std::unique_ptr<fovea::optim::Optimizer> new_optimizer(const TrainSettings& settings,
                                                       const fovea::nn::Model& model);

// Keys are the names of the options, without dashes in front.
Json settings_json(const TrainSettings& settings);
// Reads what settings_json() wrote, from a file that is not trusted. Throws Json::exception for
// what is missing, and Error, naming `file`, for values that make no sense.
TrainSettings settings_of(const Json& json, const std::string& file);

// The settings of a training that goes on: `stored`, with what of the command line `given` may
// change (epochs, and where the data lie). Throws Misuse for any other that differs.
TrainSettings merge(const TrainSettings& stored, const TrainSettings& given, const CLI::App& app);

}  // namespace cli
