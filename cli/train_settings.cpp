// See train_settings.h. To add a setting: its member, its option, and its line in kSettings.
#include "train_settings.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <utility>

#include "commands.h"

namespace cli {
namespace {

using fovea::optim::Schedule;

constexpr double kAdamRate = 3e-3;
constexpr double kSgdRate = 0.1;
constexpr double kRmsPropRate = 1e-3;
constexpr double kSgdMomentum = 0.9;

const std::map<std::string, Method> kMethods = {{"adam", Method::adam},
                                                {"adamw", Method::adamw},
                                                {"sgd", Method::sgd},
                                                {"rmsprop", Method::rmsprop}};
const std::map<std::string, Schedule::Kind> kSchedules = {{"constant", Schedule::Kind::constant},
                                                          {"step", Schedule::Kind::step},
                                                          {"linear", Schedule::Kind::linear},
                                                          {"cosine", Schedule::Kind::cosine},
                                                          {"one-cycle", Schedule::Kind::one_cycle}};
const std::map<std::string, Measure> kMeasures = {{"accuracy", Measure::accuracy},
                                                  {"loss", Measure::loss},
                                                  {"auc", Measure::auc},
                                                  {"iou", Measure::iou}};

template <class T>
std::string name_of(const std::map<std::string, T>& names, T value) {
  for (const auto& [name, named] : names) {
    if (named == value) return name;
  }
  return {};
}

template <class T>
T named(const std::map<std::string, T>& names, const std::string& name) {
  const auto found = names.find(name);
  if (found == names.end()) throw fovea::Error(fmt::format("there is no '{}'", name));
  return found->second;
}

CLI::Validator between(double least, double most, bool most_included) {
  return {[=](std::string& text) {
            double number = 0;
            const char* const end = text.data() + text.size();
            const auto [after, error] = std::from_chars(text.data(), end, number);
            const bool good = error == std::errc() && after == end && number >= least &&
                              (most_included ? number <= most : number < most);
            return good ? std::string()
                        : fmt::format("must be a number from {} to {}{}, but is '{}'", least,
                                      most_included ? "" : "less than ", most, text);
          },
          "", "number"};
}

Json json_of(Method value) {
  return name_of(kMethods, value);
}
Json json_of(Schedule::Kind value) {
  return name_of(kSchedules, value);
}
Json json_of(Measure value) {
  return name_of(kMeasures, value);
}
template <class T>
Json json_of(const T& value) {
  return value;
}
template <class T>
Json json_of(const std::optional<T>& value) {
  return value ? json_of(*value) : Json();
}

void read(const Json& json, Method& value) {
  value = named(kMethods, json.get<std::string>());
}
void read(const Json& json, Schedule::Kind& value) {
  value = named(kSchedules, json.get<std::string>());
}
void read(const Json& json, Measure& value) {
  value = named(kMeasures, json.get<std::string>());
}
template <class T>
void read(const Json& json, T& value) {
  value = json.get<T>();
}
template <class T>
void read(const Json& json, std::optional<T>& value) {
  if (!json.is_null()) read(json, value.emplace());
}

struct SettingDef {
  const char* name;
  Json (*get)(const TrainSettings&);
  void (*set)(TrainSettings&, const Json&);
};

template <auto kMember>
constexpr SettingDef setting(const char* name) {
  return {name, [](const TrainSettings& settings) { return json_of(settings.*kMember); },
          [](TrainSettings& settings, const Json& json) { read(json, settings.*kMember); }};
}

using S = TrainSettings;
constexpr SettingDef kSettings[] = {
    setting<&S::network>("network"),
    setting<&S::data>("data"),
    setting<&S::validation>("validation"),
    setting<&S::width>("width"),
    setting<&S::epochs>("epochs"),
    setting<&S::batch>("batch"),
    setting<&S::accumulate>("accumulate"),
    setting<&S::augment>("augment"),
    setting<&S::method>("optimizer"),
    setting<&S::lr>("lr"),
    setting<&S::momentum>("momentum"),
    setting<&S::nesterov>("nesterov"),
    setting<&S::weight_decay>("weight-decay"),
    setting<&S::spare_biases>("spare-biases"),
    setting<&S::lr_scale>("lr-scale"),
    setting<&S::clip>("clip"),
    setting<&S::ema>("ema"),
    setting<&S::schedule>("schedule"),
    setting<&S::warmup>("warmup"),
    setting<&S::milestones>("milestones"),
    setting<&S::step_factor>("step-factor"),
    setting<&S::early_stopping>("early-stopping"),
    setting<&S::select>("select"),
    setting<&S::dice>("dice"),
    setting<&S::label_smoothing>("label-smoothing"),
    setting<&S::class_weights>("class-weights"),
    setting<&S::weights>("weights"),
    setting<&S::freeze>("freeze"),
    setting<&S::seed>("seed"),
};

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
  if (value.is_null()) return "none";
  return value.is_string() ? value.get<std::string>() : value.dump();
}

bool has_momentum(Method method) {
  return method == Method::sgd || method == Method::rmsprop;
}

double momentum_of(const TrainSettings& settings) {
  return settings.momentum.value_or(settings.method == Method::sgd ? kSgdMomentum : 0);
}

// "fc=10" to its parts.
std::pair<std::string, double> parse_scale(const std::string& text) {
  const std::size_t equals = text.rfind('=');
  double factor = -1;
  if (equals != std::string::npos) {
    const char* const end = text.data() + text.size();
    const auto [after, error] = std::from_chars(text.data() + equals + 1, end, factor);
    if (error != std::errc() || after != end) factor = -1;
  }
  if (!(factor >= 0 && std::isfinite(factor))) {
    throw Misuse(fmt::format(
        "--lr-scale: must be PATTERN=FACTOR, such as fc=10 or layer*=0.1, but is '{}'", text));
  }
  return {text.substr(0, equals), factor};
}

void add_data_settings(CLI::App& app, TrainSettings& settings) {
  app.add_option(
         "network", settings.network,
         "Needed unless --resume: one that `fovea models` lists, or a .net file that describes one")
      ->check(known_network())
      ->type_name("NETWORK");
  add_data(app, settings.data)->required(false);
  app.add_option("--validation", settings.validation,
                 "Set this share of the training samples apart: each epoch is scored on them, and "
                 "the test samples only at the end; as validation=SHARE in --data")
      ->check(between(0, 1, false))
      ->type_name("SHARE");
  app.add_option("--width", settings.width, "Factor of the network's channels")
      ->check(number_above_zero())
      ->capture_default_str()
      ->type_name("X");
  app.add_option("--epochs", settings.epochs, "Passes over the training data")
      ->check(whole_number(1))
      ->capture_default_str()
      ->type_name("N");
  app.add_option("--batch", settings.batch, "Samples per batch")
      ->check(whole_number(1))
      ->capture_default_str()
      ->type_name("N");
  app.add_option("--accumulate", settings.accumulate, "Batches per step of the optimiser")
      ->check(whole_number(1))
      ->capture_default_str()
      ->type_name("N");
  add_augment(app, settings.augment);
}

void add_optimizer_settings(CLI::App& app, TrainSettings& settings) {
  add_choice(app, "--optimizer", settings.method, kMethods,
             "adam, adamw, sgd or rmsprop (default: adam)");
  app.add_option("--lr", settings.lr,
                 fmt::format("Highest learning rate (default: {} for adam and adamw, {} for sgd, "
                             "{} for rmsprop)",
                             kAdamRate, kSgdRate, kRmsPropRate))
      ->check(number_above_zero())
      ->type_name("X");
  app.add_option("--momentum", settings.momentum,
                 fmt::format("Of sgd (default: {}) and rmsprop (default: 0)", kSgdMomentum))
      ->check(CLI::Range(0.0, 1.0))
      ->type_name("X");
  app.add_flag("--nesterov", settings.nesterov, "Nesterov's momentum, of sgd");
  app.add_option("--weight-decay", settings.weight_decay,
                 "Added to the gradient, times the weight; adamw shrinks the weight by it")
      ->check(number_of_at_least_zero())
      ->capture_default_str()
      ->type_name("X");
  app.add_flag("--spare-biases", settings.spare_biases,
               "No weight decay for biases and normalisation");
  app.add_option("--lr-scale", settings.lr_scale,
                 "Factors of the learning rate for parameters by name, such as fc=10,layer*=0.1; "
                 "the last that fits counts")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->type_name("PATTERN=X");
  app.add_option("--clip", settings.clip, "Scale gradients whose norm is above this")
      ->check(number_above_zero())
      ->type_name("NORM");
  app.add_option("--ema", settings.ema,
                 "Score and save a moving average of the weights, of which each step keeps this "
                 "share")
      ->check(between(0, 1, false))
      ->type_name("SHARE");
  add_choice(app, "--schedule", settings.schedule, kSchedules,
             "Learning rate over time: constant, step, linear, cosine or one-cycle (default)");
  app.add_option("--warmup", settings.warmup,
                 "The part of the training in which the rate rises (default: 0.3 of one-cycle, "
                 "none of the others)")
      ->check(between(0, 1, true))
      ->type_name("SHARE");
  app.add_option("--milestones", settings.milestones,
                 "Of step: after which parts of the training the rate falls (default: 0.5,0.75)")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->check(between(0, 1, true))
      ->type_name("SHARE,..");
  app.add_option("--step-factor", settings.step_factor, "Of step: by which factor")
      ->check(between(0, 1, true))
      ->capture_default_str()
      ->type_name("X");
}

void add_goal_settings(CLI::App& app, TrainSettings& settings) {
  app.add_option("--early-stopping", settings.early_stopping,
                 "With validation samples and --run, stop after so many epochs without a better "
                 "one, as --select has it, and keep the best network")
      ->check(whole_number(1))
      ->type_name("N");
  add_choice(app, "--select", settings.select, kMeasures,
             "What of the validation samples tells the best epoch, that of best.fovea and of "
             "--early-stopping: accuracy, loss, auc (the area under the ROC curve, of two classes) "
             "or iou (of masks) (default: accuracy, of masks iou)");
  app.add_option("--dice", settings.dice,
                 "Of data with masks: the share of the Dice loss, beside cross-entropy")
      ->check(between(0, 1, true))
      ->type_name("SHARE");
  app.add_option("--label-smoothing", settings.label_smoothing,
                 "Share of each label that is spread over all classes")
      ->check(between(0, 1, true))
      ->type_name("SHARE");
  app.add_option("--class-weights", settings.class_weights,
                 "How much samples of each class count: numbers, or balanced, by their rarity")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->type_name("W,..|balanced");
  app.add_option("--weights", settings.weights,
                 "Start from the weights of a .fovea or safetensors file, as far as names and "
                 "shapes fit")
      ->type_name("FILE");
  app.add_option("--freeze", settings.freeze,
                 "Do not train parameters with these names; * stands for anything, and layer1 for "
                 "all of it")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->type_name("PATTERN,..");
  app.add_option("--seed", settings.seed, "Of the weights and of the order of samples")
      ->capture_default_str()
      ->type_name("N");
}

}  // namespace

void add_settings(CLI::App& app, TrainSettings& settings) {
  add_data_settings(app, settings);
  add_optimizer_settings(app, settings);
  add_goal_settings(app, settings);
}

void check_settings(const TrainSettings& settings) {
  if (settings.network.empty()) throw Misuse("network is required");
  if (settings.data.empty()) throw Misuse("--data is required");
  if (!has_momentum(settings.method) && settings.momentum)
    throw Misuse(
        fmt::format("--momentum is for --optimizer sgd and rmsprop; {} keeps moments of "
                    "its own",
                    name_of(kMethods, settings.method)));
  if (settings.nesterov && (settings.method != Method::sgd || momentum_of(settings) == 0))
    throw Misuse("--nesterov is for --optimizer sgd with a --momentum above 0");
  for (const std::string& scale : settings.lr_scale) parse_scale(scale);
}

double learning_rate(const TrainSettings& settings) {
  const bool adam = settings.method == Method::adam || settings.method == Method::adamw;
  return settings.lr.value_or(adam                             ? kAdamRate
                              : settings.method == Method::sgd ? kSgdRate
                                                               : kRmsPropRate);
}

Schedule schedule_of(const TrainSettings& settings) {
  return {.kind = settings.schedule,
          .peak = learning_rate(settings),
          .warmup = settings.warmup,
          .milestones = settings.milestones,
          .step_factor = settings.step_factor};
}

std::unique_ptr<fovea::optim::Optimizer> new_optimizer(const TrainSettings& settings,
                                                       const fovea::nn::Model& model) {
  namespace optim = fovea::optim;
  std::vector<std::pair<std::string, double>> scales;
  for (const std::string& scale : settings.lr_scale) scales.push_back(parse_scale(scale));
  std::vector<bool> used(scales.size());
  std::vector<optim::ParameterGroup> groups;
  for (const auto& [name, parameter] : model.module().named_parameters()) {
    if (!parameter.requires_grad()) continue;
    optim::ParameterGroup group{.parameters = {parameter}};
    for (std::size_t i = 0; i < scales.size(); ++i) {
      if (!fovea::nn::matches(scales[i].first, name)) continue;
      group.lr_scale = scales[i].second;
      used[i] = true;
    }
    if (settings.spare_biases && parameter.rank() <= 1) group.weight_decay = 0;
    groups.push_back(std::move(group));
  }
  for (std::size_t i = 0; i < scales.size(); ++i) {
    if (!used[i]) {
      throw Misuse(fmt::format("--lr-scale: no parameter of {} that is trained fits '{}'",
                               settings.network, scales[i].first));
    }
  }
  const double lr = learning_rate(settings);
  const double decay = settings.weight_decay;
  switch (settings.method) {
    case Method::adam:
      return std::make_unique<optim::Adam>(std::move(groups),
                                           optim::AdamOptions{.lr = lr, .weight_decay = decay});
    case Method::adamw:
      return std::make_unique<optim::AdamW>(std::move(groups),
                                            optim::AdamOptions{.lr = lr, .weight_decay = decay});
    case Method::rmsprop:
      return std::make_unique<optim::RmsProp>(
          std::move(groups),
          optim::RmsPropOptions{
              .lr = lr, .momentum = momentum_of(settings), .weight_decay = decay});
    case Method::sgd:
      break;
  }
  return std::make_unique<optim::Sgd>(std::move(groups),
                                      optim::SgdOptions{.lr = lr,
                                                        .momentum = momentum_of(settings),
                                                        .nesterov = settings.nesterov,
                                                        .weight_decay = decay});
}

std::vector<std::string> setting_names() {
  std::vector<std::string> names;
  for (const SettingDef& def : kSettings) names.emplace_back(def.name);
  return names;
}

Json settings_json(const TrainSettings& settings) {
  Json json = Json::object();
  for (const SettingDef& def : kSettings) json[def.name] = def.get(settings);
  json["lr"] = learning_rate(settings);
  if (has_momentum(settings.method)) json["momentum"] = momentum_of(settings);
  return json;
}

TrainSettings settings_of(const Json& json, const std::string& file) {
  TrainSettings settings;
  try {
    for (const SettingDef& def : kSettings) def.set(settings, json.at(def.name));
    if (settings.epochs < 1 || settings.batch < 1 || settings.accumulate < 1)
      throw fovea::Error("there is a count below 1");
    check_settings(settings);
  } catch (const Misuse& error) {
    throw fovea::Error(fmt::format("'{}' has settings that make no sense: {}", file, error.what()));
  } catch (const fovea::Error& error) {
    throw fovea::Error(fmt::format("'{}' has settings that make no sense: {}", file, error.what()));
  }
  return settings;
}

TrainSettings merge(const TrainSettings& stored, const TrainSettings& given, const CLI::App& app) {
  const Json before = settings_json(stored);
  Json now = settings_json(given);
  now["momentum"] = json_of(given.momentum);  // whatever the method
  for (const auto& [key, value] : now.items()) {
    const CLI::Option* option = option_of(app, key);
    if (option->count() == 0 || may_change(key)) continue;
    if (before[key] != value) {
      throw Misuse(fmt::format(
          "{} is {}, but this training was started with {}; leave it out to go on, or start "
          "another one",
          option->get_name(), words(value), words(before[key])));
    }
  }
  TrainSettings settings = stored;
  if (option_of(app, "epochs")->count() > 0) settings.epochs = given.epochs;
  if (option_of(app, "data")->count() > 0) settings.data = given.data;
  return settings;
}

}  // namespace cli
