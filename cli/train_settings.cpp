// See train_settings.h. To add a setting: its member, its option, its key in settings_json() and
// its line in settings_of().
#include "train_settings.h"

#include <fmt/format.h>

#include <map>

#include "commands.h"

namespace cli {
namespace {

using fovea::optim::Schedule;

constexpr double kAdamRate = 3e-3;
constexpr double kSgdRate = 0.1;
constexpr double kSgdMomentum = 0.9;

const std::map<std::string, Method> kMethods = {{"adam", Method::adam}, {"sgd", Method::sgd}};
const std::map<std::string, Schedule::Kind> kSchedules = {{"constant", Schedule::Kind::constant},
                                                          {"cosine", Schedule::Kind::cosine},
                                                          {"one-cycle", Schedule::Kind::one_cycle}};

template <class T>
std::string name_of(const std::map<std::string, T>& names, T value) {
  for (const auto& [name, named] : names) {
    if (named == value) return name;
  }
  return {};
}

template <class T>
CLI::Validator one_of(const std::map<std::string, T>& names) {
  return CLI::CheckedTransformer(names).description("");
}

// What may differ from the checkpoint: longer or shorter training, and data that moved, whose
// content is compared apart.
bool may_change(const std::string& key) {
  return key == "epochs" || key == "data";
}

const CLI::Option* option_of(const CLI::App& app, const std::string& key) {
  return app.get_option(key == "network" ? key : "--" + key);
}

// "0.003", "sgd"
std::string words(const Json& value) {
  return value.is_string() ? value.get<std::string>() : value.dump();
}

}  // namespace

void add_settings(CLI::App& app, TrainSettings& settings) {
  app.add_option(
         "network", settings.network,
         "Needed unless --resume: one that `fovea models` lists, or a .net file that describes one")
      ->check(known_network())
      ->type_name("NETWORK");
  add_data(app, settings.data)->required(false);
  app.add_option("--epochs", settings.epochs, "Passes over the training data")
      ->check(whole_number(1))
      ->capture_default_str()
      ->type_name("N");
  app.add_option("--batch", settings.batch, "Samples per step")
      ->check(whole_number(1))
      ->capture_default_str()
      ->type_name("N");
  app.add_option("--optimizer", settings.method, "adam or sgd (default: adam)")
      ->transform(one_of(kMethods))
      ->type_name("NAME");
  app.add_option("--lr", settings.lr,
                 fmt::format("Highest learning rate (default: {} for adam, {} for sgd)", kAdamRate,
                             kSgdRate))
      ->check(number_above_zero())
      ->type_name("X");
  app.add_option("--momentum", settings.momentum, fmt::format("Of sgd (default: {})", kSgdMomentum))
      ->check(CLI::Range(0.0, 1.0))
      ->type_name("X");
  app.add_option("--weight-decay", settings.weight_decay, "Added to the gradient, times the weight")
      ->check(number_of_at_least_zero())
      ->capture_default_str()
      ->type_name("X");
  app.add_option("--schedule", settings.schedule,
                 "Learning rate over time: constant, cosine or one-cycle (default)")
      ->transform(one_of(kSchedules))
      ->type_name("NAME");
  app.add_option("--seed", settings.seed, "Of the weights and of the order of samples")
      ->capture_default_str()
      ->type_name("N");
}

void check_settings(const TrainSettings& settings) {
  if (settings.network.empty()) throw Misuse("network is required");
  if (settings.data.empty()) throw Misuse("--data is required");
  if (settings.method == Method::adam && settings.momentum)
    throw Misuse("--momentum is for --optimizer sgd; adam keeps moments of its own");
}

double learning_rate(const TrainSettings& settings) {
  return settings.lr.value_or(settings.method == Method::adam ? kAdamRate : kSgdRate);
}

std::unique_ptr<fovea::optim::Optimizer> new_optimizer(const TrainSettings& settings,
                                                       const fovea::nn::Model& model) {
  namespace optim = fovea::optim;
  if (settings.method == Method::adam) {
    return std::make_unique<optim::Adam>(
        model.parameters(),
        optim::AdamOptions{.lr = learning_rate(settings), .weight_decay = settings.weight_decay});
  }
  return std::make_unique<optim::Sgd>(
      model.parameters(), optim::SgdOptions{.lr = learning_rate(settings),
                                            .momentum = settings.momentum.value_or(kSgdMomentum),
                                            .weight_decay = settings.weight_decay});
}

Json settings_json(const TrainSettings& settings) {
  Json json = {{"network", settings.network},
               {"data", settings.data},
               {"epochs", settings.epochs},
               {"batch", settings.batch},
               {"optimizer", name_of(kMethods, settings.method)},
               {"lr", learning_rate(settings)},
               {"weight-decay", settings.weight_decay},
               {"schedule", name_of(kSchedules, settings.schedule)},
               {"seed", settings.seed}};
  if (settings.method == Method::sgd) json["momentum"] = settings.momentum.value_or(kSgdMomentum);
  return json;
}

TrainSettings settings_of(const Json& json, const std::string& file) {
  const auto method = kMethods.find(json.at("optimizer").get<std::string>());
  const auto schedule = kSchedules.find(json.at("schedule").get<std::string>());
  TrainSettings settings{.network = json.at("network").get<std::string>(),
                         .data = json.at("data").get<std::string>(),
                         .epochs = json.at("epochs").get<std::int64_t>(),
                         .batch = json.at("batch").get<std::int64_t>(),
                         .lr = json.at("lr").get<double>(),
                         .momentum = std::nullopt,
                         .weight_decay = json.at("weight-decay").get<double>(),
                         .seed = json.at("seed").get<std::uint64_t>()};
  if (method == kMethods.end() || schedule == kSchedules.end() || settings.epochs < 1 ||
      settings.batch < 1) {
    throw fovea::Error(fmt::format("'{}' has settings that make no sense: {}", file, json.dump()));
  }
  settings.method = method->second;
  settings.schedule = schedule->second;
  if (settings.method == Method::sgd) settings.momentum = json.at("momentum").get<double>();
  return settings;
}

TrainSettings merge(const TrainSettings& stored, const TrainSettings& given, const CLI::App& app) {
  const Json before = settings_json(stored);
  Json now = settings_json(given);
  now["momentum"] = given.momentum ? Json(*given.momentum) : Json();  // whatever the method
  for (const auto& [key, value] : now.items()) {
    const CLI::Option* option = option_of(app, key);
    if (option->count() == 0 || may_change(key)) continue;
    if (!before.contains(key) || before[key] != value) {
      throw Misuse(fmt::format(
          "{} is {}, but this training was started with {}; leave it out to go on, or start "
          "another one",
          option->get_name(), words(value), before.contains(key) ? words(before[key]) : "none"));
    }
  }
  TrainSettings settings = stored;
  if (option_of(app, "epochs")->count() > 0) settings.epochs = given.epochs;
  if (option_of(app, "data")->count() > 0) settings.data = given.data;
  return settings;
}

}  // namespace cli
