// A checkpoint is a safetensors file. Its tensors are "module.NAME" for weights and buffers,
// "optimizer.NAME" for what the optimiser keeps and "average.NUMBER" for moving averages; the rest
// is JSON in the metadata:
//   format          "fovea-checkpoint"
//   format_version  "1"; a change that older readers would misread raises it
//   optimizer       {"method": "adam", "steps": 938, "lr": 0.001}
//   generators      {"dropout1.generator": [seed, next stream]}
//   loader          its options and its position; absent if the run had no loader
//   average         {"steps": 938}; absent if no moving average was kept
//   note.NAME       the caller's own
//
// The file is not trusted: everything is checked against the parts that it is loaded into, and only
// then copied. To save more of the state: a key here, written in save_checkpoint() and read in
// load_checkpoint().
#include "fovea/checkpoint.h"

#include <nlohmann/json.hpp>
#include <optional>
#include <utility>
#include <vector>

#include "core/check.h"
#include "core/printable.h"
#include "fovea/save.h"
#include "models/weights.h"

namespace fovea {
namespace {

using Json = nlohmann::json;

constexpr std::string_view kFormat = "fovea-checkpoint";
constexpr std::string_view kVersion = "1";
constexpr std::string_view kModule = "module.";
constexpr std::string_view kOptimizer = "optimizer.";
constexpr std::string_view kAverage = "average.";
constexpr std::string_view kNote = "note.";

// What of the loader decides the batches: a run goes on with the same, or its bits would differ.
Json loader_options(const data::Loader& loader) {
  const data::LoaderOptions& options = loader.options();
  return {{"samples", loader.samples()},    {"batch", options.batch},
          {"shuffle", options.shuffle},     {"seed", options.seed},
          {"drop_last", options.drop_last}, {"augment", options.augment}};
}

Json generator_states(const nn::Module& module) {
  Json states = Json::object();
  for (const auto& [name, generator] : module.named_generators())
    states[name] = {generator->seed, generator->next_stream};
  return states;
}

// One checkpoint, its format checked and the rest not yet.
class CheckpointFile {
 public:
  explicit CheckpointFile(const std::string& path) : path_(path), file_(read_safetensors(path)) {
    const auto format = file_.metadata.find("format");
    check(format != file_.metadata.end() && format->second == kFormat,
          "is no checkpoint: its format is '{}', expected '{}'",
          format == file_.metadata.end() ? "" : format->second, kFormat);
    check(text("format_version") == kVersion,
          "has the format version {}, this version of fovea reads {}", text("format_version"),
          kVersion);
  }

  Notes notes() const {
    Notes notes;
    for (const auto& [key, value] : file_.metadata) {
      if (key.starts_with(kNote)) notes.emplace(key.substr(kNote.size()), value);
    }
    return notes;
  }

  // The tensors whose names start so, without that start.
  std::map<std::string, Tensor> tensors(std::string_view prefix) const {
    std::map<std::string, Tensor> result;
    for (const auto& [name, tensor] : file_.tensors) {
      if (name.starts_with(prefix)) result.emplace(name.substr(prefix.size()), tensor);
    }
    return result;
  }

  optim::OptimizerState optimizer_state() const {
    optim::OptimizerState state;
    read("optimizer", [&](const Json& json) {
      state = {.method = json.at("method").get<std::string>(),
               .steps = integer(json.at("steps")),
               .lr = json.at("lr").get<double>(),
               .tensors = tensors(kOptimizer)};
    });
    return state;
  }

  // In the order of the module's generators.
  std::vector<Generator> generators(const nn::Module& module) const {
    std::vector<Generator> states;
    read("generators", [&](const Json& json) {
      const std::vector<nn::NamedGenerator> own = module.named_generators();
      check(json.size() == own.size(), "has {} random generators, but the network has {}",
            json.size(), own.size());
      for (const auto& [name, generator] : own) {
        check(json.contains(name), "has no random generator '{}', which the network has", name);
        const Json& state = json.at(name);
        states.push_back({.seed = static_cast<std::uint64_t>(integer(state.at(0))),
                          .next_stream = static_cast<std::uint64_t>(integer(state.at(1)))});
      }
    });
    return states;
  }

  // Tensors and steps for MovingAverage::set_state().
  std::pair<std::vector<Tensor>, std::int64_t> average(const optim::MovingAverage& own) const {
    check(file_.metadata.contains("average"), "was saved without a moving average");
    std::pair<std::vector<Tensor>, std::int64_t> state;
    read("average", [&](const Json& json) { state.second = integer(json.at("steps")); });
    check(state.second >= 0, "counts {} steps of its moving average", state.second);
    const std::map<std::string, Tensor> given = tensors(kAverage);
    check(given.size() == own.averages().size(), "averages {} tensors, but the network has {}",
          given.size(), own.averages().size());
    for (std::size_t i = 0; i < own.averages().size(); ++i) {
      const auto found = given.find(std::to_string(i));
      check(found != given.end(), "has no '{}{}'", kAverage, i);
      const Tensor& expected = own.averages()[i];
      check(found->second.shape() == expected.shape() && found->second.dtype() == expected.dtype(),
            "has '{}{}' as {}, but the network's is {}", kAverage, i, found->second.describe(),
            expected.describe());
      state.first.push_back(found->second);
    }
    return state;
  }

  data::LoaderPosition position(const data::Loader& loader) const {
    check(file_.metadata.contains("loader"), "was saved without a loader");
    data::LoaderPosition position;
    read("loader", [&](const Json& json) {
      const Json own = loader_options(loader);
      for (const auto& [key, value] : own.items()) {
        check(json.at("options").at(key) == value, "has {} {}, but the loader has {}", key,
              json.at("options").at(key).dump(), value.dump());
      }
      position = {.epoch = integer(json.at("epoch")), .batch = integer(json.at("batch"))};
      check(position.epoch >= 0 && position.batch >= 0 && position.batch <= loader.batches(),
            "stands at batch {} of epoch {}, but an epoch has {} batches", position.batch,
            position.epoch, loader.batches());
    });
    return position;
  }

  void check_weights(const std::vector<nn::NamedTensor>& weights,
                     const std::map<std::string, Tensor>& given) const {
    const LoadReport report = compare(weights, given);
    check(report.complete(), "does not fit the network. {}", report.to_string());
    for (const auto& [name, tensor] : weights) {
      const Tensor& stored = given.at(name);
      check(stored.dtype() == tensor.dtype(), "has '{}' as {}, but the network's is {}", name,
            stored.describe(), tensor.describe());
    }
  }

  template <class... Args>
  void check(bool condition, fmt::format_string<Args...> message, Args&&... args) const {
    FOVEA_CHECK(condition, "load_checkpoint: '{}' {}", path_,
                printable(fmt::format(message, std::forward<Args>(args)...)));
  }

 private:
  const std::string& text(const std::string& key) const {
    const auto found = file_.metadata.find(key);
    check(found != file_.metadata.end(), "has no '{}' in its metadata: it is damaged", key);
    return found->second;
  }

  // The bits of any 64-bit integer.
  std::int64_t integer(const Json& json) const {
    check(json.is_number_integer(), "has {} in its metadata, expected a whole number", json.dump());
    return json.get<std::int64_t>();
  }

  template <class Use>
  void read(const std::string& key, const Use& use) const {
    try {
      use(Json::parse(text(key)));
    } catch (const Json::exception& error) {
      check(false, "has a damaged '{}' in its metadata ({})", key, error.what());
    }
  }

  const std::string& path_;
  TensorFile file_;
};

}  // namespace

void save_checkpoint(const std::string& path, const TrainingState& state, const Notes& notes) {
  TensorFile file;
  for (const auto& [name, tensor] : weights_of(state.module))
    file.tensors.emplace(fmt::format("{}{}", kModule, name), tensor);
  const optim::OptimizerState optimizer = state.optimizer.state();
  for (const auto& [name, tensor] : optimizer.tensors)
    file.tensors.emplace(fmt::format("{}{}", kOptimizer, name), tensor);
  file.metadata = {
      {"format", std::string(kFormat)},
      {"format_version", std::string(kVersion)},
      {"optimizer",
       Json{{"method", optimizer.method}, {"steps", optimizer.steps}, {"lr", optimizer.lr}}.dump()},
      {"generators", generator_states(state.module).dump()},
  };
  if (state.loader != nullptr) {
    const data::LoaderPosition position = state.loader->position();
    file.metadata["loader"] = Json{{"epoch", position.epoch},
                                   {"batch", position.batch},
                                   {"options", loader_options(*state.loader)}}
                                  .dump();
  }
  if (state.average != nullptr) {
    const std::vector<Tensor>& averages = state.average->averages();
    for (std::size_t i = 0; i < averages.size(); ++i)
      file.tensors.emplace(fmt::format("{}{}", kAverage, i), averages[i]);
    file.metadata["average"] = Json{{"steps", state.average->steps()}}.dump();
  }
  for (const auto& [name, value] : notes)
    file.metadata.emplace(fmt::format("{}{}", kNote, name), value);
  write_safetensors(path, file);
}

Notes load_checkpoint(const std::string& path, const TrainingState& state) {
  const CheckpointFile file(path);
  std::vector<nn::NamedTensor> weights = weights_of(state.module);
  const std::map<std::string, Tensor> given = file.tensors(kModule);
  file.check_weights(weights, given);
  const std::vector<Generator> generators = file.generators(state.module);
  std::optional<data::LoaderPosition> position;
  if (state.loader != nullptr) position = file.position(*state.loader);
  std::pair<std::vector<Tensor>, std::int64_t> average;
  if (state.average != nullptr) average = file.average(*state.average);
  const optim::OptimizerState optimizer = file.optimizer_state();
  try {
    state.optimizer.set_state(optimizer);  // the last that can fail
  } catch (const Error& error) {
    file.check(false, "does not fit: {}", error.what());
  }
  for (auto& [name, tensor] : weights) tensor.copy_from(given.at(name));
  const std::vector<nn::NamedGenerator> own = state.module.named_generators();
  for (std::size_t i = 0; i < own.size(); ++i) *own[i].generator = generators[i];
  if (position) state.loader->seek(*position);
  if (state.average != nullptr) state.average->set_state(average.first, average.second);
  return file.notes();
}

Notes load_notes(const std::string& path) {
  return CheckpointFile(path).notes();
}

}  // namespace fovea
