// Model files: the weights by name, and in a .fovea file also what the network is. Metadata keys,
// all of them strings:
//   format          "fovea"
//   format_version  "1"; a change that older readers would misread raises it
//   architecture    a name of models::list(), or "described"
//   options         JSON object of strings, as given to the architecture: {"classes": "10"}; the
//                   "text" of a described one
//   input           JSON array, the shape of one sample without the batch axis: [1, 28, 28]
//   mean, stddev    JSON arrays, per channel of inputs scaled to 0..1; [] if unknown
//   classes         JSON array of names, in the order of the outputs; [] if unknown
//   checksum        CRC-32 of all other keys and values, eight hexadecimal digits; a file without
//   it
//                   is read unchecked. The weights are checked by their names and shapes.
#include <zlib.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>
#include <utility>

#include "core/abstract_scope.h"
#include "core/atomic_file.h"
#include "core/check.h"
#include "core/printable.h"
#include "fovea/models.h"
#include "fovea/save.h"
#include "models/weights.h"

namespace fovea {
namespace {

using Json = nlohmann::json;

constexpr const char* kFormat = "fovea";
constexpr const char* kVersion = "1";
constexpr const char* kChecksum = "checksum";
constexpr std::int64_t kMaxClasses = 1'000'000;

std::map<std::string, Tensor> tensors_of(const nn::Module& module) {
  std::map<std::string, Tensor> tensors;
  for (nn::NamedTensor& weight : weights_of(module))
    tensors.emplace(std::move(weight.name), weight.tensor);
  return tensors;
}

std::string dump(const Json& json) {
  try {
    return json.dump();
  } catch (const Json::exception& error) {
    throw_error(
        fmt::format("save: an option or a class name is not valid UTF-8 ({})", error.what()));
  }
}

// A zero byte behind each text keeps "ab", "c" apart from "a", "bc".
std::string checksum_of(const std::map<std::string, std::string>& metadata) {
  uLong sum = crc32(0, nullptr, 0);
  for (const auto& [key, value] : metadata) {
    if (key == kChecksum) continue;
    for (const std::string& text : {key, value}) {
      sum = crc32_z(sum, reinterpret_cast<const Bytef*>(text.c_str()), text.size() + 1);
    }
  }
  return fmt::format("{:08x}", sum);
}

// The metadata of one file, every value checked.
class Metadata {
 public:
  Metadata(const std::string& path, const std::map<std::string, std::string>& values)
      : path_(path), values_(values) {}

  const std::string& path() const { return path_; }

  const std::string& text(const std::string& key) const {
    const auto found = values_.find(key);
    FOVEA_CHECK(found != values_.end(), "load: '{}' has no '{}' in its metadata: it is damaged",
                path_, key);
    return found->second;
  }

  void check_sum() const {
    const auto found = values_.find(kChecksum);
    check(found == values_.end() || found->second == checksum_of(values_),
          "has metadata that does not match its checksum: it is damaged. If it was edited on "
          "purpose, remove the key '{}'",
          kChecksum);
  }

  template <class T>
  T value(const std::string& key) const {
    try {
      return parse(key).get<T>();
    } catch (const Json::exception& error) {
      throw_error(fmt::format("load: '{}' has a damaged '{}' in its metadata ({})", path_, key,
                              printable(error.what())));
    }
  }

  // Natural numbers: converting others would not be defined.
  std::vector<std::int64_t> sizes(const std::string& key) const {
    const Json list = value<Json>(key);
    const bool valid =
        list.is_array() && std::all_of(list.begin(), list.end(), [](const Json& size) {
          return size.is_number_unsigned() && size.get<std::uint64_t>() <= INT64_MAX;
        });
    check(valid, "has a damaged '{}' in its metadata: it is no list of sizes", key);
    return list.get<std::vector<std::int64_t>>();
  }

  template <class... Args>
  void check(bool condition, fmt::format_string<Args...> message, Args&&... args) const {
    FOVEA_CHECK(condition, "load: '{}' {}", path_,
                printable(fmt::format(message, std::forward<Args>(args)...)));
  }

 private:
  // No value holds a list within a list; nested deeply, one would take a multiple of its text.
  Json parse(const std::string& key) const {
    return Json::parse(text(key), [&](int depth, Json::parse_event_t event, const Json&) {
      using Event = Json::parse_event_t;
      const bool starts = event == Event::object_start || event == Event::array_start;
      check(!starts || depth == 0, "has a damaged '{}' in its metadata: a list within a list", key);
      return true;
    });
  }

  const std::string& path_;
  const std::map<std::string, std::string>& values_;
};

template <class T>
T parse_number(const Metadata& metadata, const std::string& key, const std::string& text) {
  T number{};
  const auto result = std::from_chars(text.data(), text.data() + text.size(), number);
  metadata.check(result.ec == std::errc() && result.ptr == text.data() + text.size(),
                 "gives the option {} the value '{}', expected a number", key, text);
  return number;
}

models::Options read_options(const Metadata& metadata, const nn::ModelInfo& info) {
  models::Options options;
  options.input = info.input;
  for (const auto& [key, text] : info.options) {
    if (key == "text" && info.architecture == models::kDescribed) continue;  // its layers
    if (key == "classes") {
      options.classes = parse_number<std::int64_t>(metadata, key, text);
    } else if (key == "seed") {
      options.seed = parse_number<std::uint64_t>(metadata, key, text);
    } else if (key == "width") {
      options.width = parse_number<double>(metadata, key, text);
    } else {
      metadata.check(false, "has the option '{}', which this version does not know", key);
    }
  }
  metadata.check(options.classes >= 1 && options.classes <= kMaxClasses,
                 "claims {} classes, expected 1 to {}", options.classes, kMaxClasses);
  return options;
}

// What readers of the info index by channel or by class must have the right length.
void check_info(const Metadata& metadata, const nn::ModelInfo& info, const nn::ModelInfo& built,
                const models::Options& options) {
  metadata.check(info.input == built.input, "claims the input {}, but {} takes {}", info.input,
                 info.architecture, built.input);
  const auto channels = static_cast<std::size_t>(info.input[0]);
  metadata.check(
      info.mean.size() == info.stddev.size() && (info.mean.empty() || info.mean.size() == channels),
      "has {} means and {} deviations for {} channels", info.mean.size(), info.stddev.size(),
      channels);
  for (std::size_t i = 0; i < info.mean.size(); ++i) {
    metadata.check(
        std::isfinite(info.mean[i]) && std::isfinite(info.stddev[i]) && info.stddev[i] > 0,
        "normalises with mean {} and deviation {}", info.mean[i], info.stddev[i]);
  }
  metadata.check(
      info.classes.empty() || info.classes.size() == static_cast<std::size_t>(options.classes),
      "names {} classes, but has {}", info.classes.size(), options.classes);
}

void require_fit(const LoadReport& report, const std::string& path) {
  FOVEA_CHECK(report.complete(), "load: '{}' does not fit the network. {}", path,
              report.to_string());
}

// Options that no such network can have are the file's fault.
nn::Model build_from(const Metadata& metadata, const nn::ModelInfo& info,
                     const models::Options& options) {
  try {
    if (info.architecture == models::kDescribed) {
      const auto text = info.options.find("text");
      metadata.check(text != info.options.end(), "has no text of its network");
      return models::described(text->second, metadata.path(), options);
    }
    return models::build(info.architecture, options);
  } catch (const Error& error) {
    throw_error(fmt::format("load: '{}' describes a network that cannot be: {}", metadata.path(),
                            error.what()));
  }
}

// The network that the metadata describes, with room for its weights; none is taken for a network
// that the weights in the file do not fit.
nn::Model build_model(const Metadata& metadata, const std::map<std::string, Tensor>& tensors) {
  nn::ModelInfo info;
  info.architecture = metadata.text("architecture");
  const auto known = models::list();
  metadata.check(info.architecture == models::kDescribed ||
                     std::any_of(known.begin(), known.end(),
                                 [&](const auto& def) { return def.name == info.architecture; }),
                 "holds a network '{}', which this version does not know", info.architecture);
  info.options = metadata.value<std::map<std::string, std::string>>("options");
  const auto input = metadata.sizes("input");
  metadata.check(!input.empty() && input.size() <= kMaxRank, "has an input of {} axes",
                 input.size());
  info.input = Shape(std::span<const std::int64_t>(input));
  info.mean = metadata.value<std::vector<double>>("mean");
  info.stddev = metadata.value<std::vector<double>>("stddev");
  info.classes = metadata.value<std::vector<std::string>>("classes");
  const models::Options options = read_options(metadata, info);
  {
    const AbstractScope shapes_only;
    const nn::Model sketch = build_from(metadata, info, options);
    check_info(metadata, info, sketch.info, options);
    require_fit(compare(weights_of(sketch.module()), tensors), metadata.path());
  }
  nn::Model model = build_from(metadata, info, options);
  info.adapted = model.info.adapted;
  model.info = std::move(info);
  return model;
}

// How many batches a batch normalisation has seen, which matters for none but a plain mean of them:
// weights from before PyTorch 0.4.1 do not have it.
bool is_counter(const std::string& name) {
  return name.ends_with("num_batches_tracked");
}

LoadReport assign(const nn::Module& module, const std::map<std::string, Tensor>& tensors,
                  const std::string& path, const LoadOptions& options) {
  std::vector<nn::NamedTensor> weights = weights_of(module);
  LoadReport report = compare(weights, tensors);
  std::erase_if(report.missing, is_counter);
  if (options.strict) require_fit(report, path);
  for (auto& [name, tensor] : weights) {
    const auto found = tensors.find(name);
    if (found != tensors.end() && found->second.shape() == tensor.shape())
      tensor.copy_from(found->second);
  }
  return report;
}

}  // namespace

std::vector<nn::NamedTensor> weights_of(const nn::Module& module) {
  std::vector<nn::NamedTensor> weights = module.named_parameters();
  for (nn::NamedTensor& buffer : module.named_buffers()) weights.push_back(std::move(buffer));
  return weights;
}

LoadReport compare(const std::vector<nn::NamedTensor>& weights,
                   const std::map<std::string, Tensor>& tensors) {
  LoadReport report;
  std::map<std::string, Tensor> unexpected = tensors;
  for (const auto& [name, tensor] : weights) {
    unexpected.erase(name);
    const auto found = tensors.find(name);
    if (found == tensors.end()) {
      report.missing.push_back(name);
    } else if (found->second.shape() != tensor.shape()) {
      report.mis_shaped.push_back(
          fmt::format("{}: file {}, network {}", name, found->second.shape(), tensor.shape()));
    } else {
      ++report.fitting;
    }
  }
  for (const auto& [name, tensor] : unexpected) report.unexpected.push_back(name);
  return report;
}

std::string LoadReport::to_string() const {
  constexpr std::size_t kNamed = 5;
  if (complete()) return "Everything fits.";
  std::vector<std::string> parts;
  const auto add = [&](std::string_view title, const std::vector<std::string>& names,
                       std::string_view separator) {
    if (names.empty()) return;
    const std::size_t named = names.size() <= kNamed + 1 ? names.size() : kNamed;
    const auto end = names.begin() + static_cast<std::ptrdiff_t>(named);
    parts.push_back(printable(fmt::format(
        "{}: {}{}.", title, fmt::join(names.begin(), end, separator),
        named < names.size() ? fmt::format(" and {} more", names.size() - named) : "")));
  };
  add("Missing from the file", missing, ", ");
  add("Unexpected in the file", unexpected, ", ");
  add("Of another shape", mis_shaped, "; ");
  return fmt::format("{}", fmt::join(parts, " "));
}

void save(const nn::Module& module, const std::string& path) {
  write_safetensors(path, {.tensors = tensors_of(module), .metadata = {}});
}

void save(const nn::Model& model, const std::string& path) {
  const nn::ModelInfo& info = model.info;
  TensorFile file;
  file.tensors = tensors_of(model.module());
  file.metadata = {
      {"format", kFormat},
      {"format_version", kVersion},
      {"architecture", info.architecture},
      {"options", dump(info.options)},
      {"input", dump(std::vector<std::int64_t>(info.input.begin(), info.input.end()))},
      {"mean", dump(info.mean)},
      {"stddev", dump(info.stddev)},
      {"classes", dump(info.classes)},
  };
  file.metadata[kChecksum] = checksum_of(file.metadata);
  write_safetensors(path, file);
}

void write_text(const std::string& path, std::string_view text) {
  write_text_file("write_text", path, text);
}

void require_writable(const std::string& path) {
  const AtomicFile probe("save", path);
}

nn::Model load(const std::string& path) {
  const TensorFile file = read_safetensors(path);
  const auto format = file.metadata.find("format");
  FOVEA_CHECK(format == file.metadata.end() || format->second != "fovea-checkpoint",
              "load: '{}' is the checkpoint of a training; `fovea train --resume` or "
              "load_checkpoint() go on with it",
              path);
  FOVEA_CHECK(format != file.metadata.end() && format->second == kFormat,
              "load: '{}' holds weights only, it does not say of what network; build the network "
              "and use load_weights",
              path);
  const Metadata metadata(path, file.metadata);
  metadata.check(metadata.text("format_version") == kVersion,
                 "has the format version {}, this version of fovea reads {}",
                 metadata.text("format_version"), kVersion);
  metadata.check_sum();
  metadata.check(!metadata.text("architecture").empty(),
                 "was saved from a network of one's own; build that network and use load_weights");
  nn::Model model = build_model(metadata, file.tensors);
  // A network that was saved in double precision comes back in double precision.
  const bool all_double =
      std::all_of(file.tensors.begin(), file.tensors.end(),
                  [](const auto& entry) { return entry.second.dtype() == DType::float64; });
  if (all_double && !file.tensors.empty()) model.module().to(DType::float64);
  assign(model.module(), file.tensors, path, {.strict = true});
  return model;
}

LoadReport load_weights(nn::Module& module, const std::string& path, const LoadOptions& options) {
  return assign(module, read_safetensors(path).tensors, path, options);
}

}  // namespace fovea
