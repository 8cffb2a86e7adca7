// See support.h.
#include "support.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <map>
#include <optional>
#include <string_view>
#include <system_error>
#include <utility>

#include "commands.h"

namespace cli {
namespace {

// Accepts the names of `list`; `what` is singular. Empty result: accepted.
template <class List>
std::string check_name(std::string_view what, std::string_view name, const List& list) {
  std::vector<std::string_view> names;
  for (const auto& entry : list) {
    if (entry.name == name) return {};
    names.push_back(entry.name);
  }
  return fmt::format("there is no {} '{}'; known: {}", what, name, fmt::join(names, ", "));
}

constexpr std::pair<const char*, fovea::Pass> kShortPasses[] = {
    {"fwd", fovea::Pass::forward},
    {"bwd_d", fovea::Pass::backward_data},
    {"bwd_w", fovea::Pass::backward_weights}};

// A number, all of `text`; nothing otherwise.
template <class T>
std::optional<T> parse_number(const std::string& text) {
  T number{};
  const char* const end = text.data() + text.size();
  const auto [after, error] = std::from_chars(text.data(), end, number);
  if (error != std::errc() || after != end || text.empty()) return std::nullopt;
  return number;
}

constexpr double kExact = 9007199254740992;  // 2^53: below it a double counts exactly

}  // namespace

bool names_a_file(const std::string& name) {
  std::error_code ignored;
  return name.find_first_of("./") != std::string::npos || std::filesystem::exists(name, ignored);
}

bool is_description(const std::string& name) {
  return name.ends_with(".net");
}

fovea::nn::Model build_network(const std::string& name, const fovea::models::Options& options) {
  return is_description(name) ? fovea::models::read_network(name, options)
                              : fovea::models::build(name, options);
}

CLI::Validator known_network() {
  return {[](std::string& name) {
            if (is_description(name)) return std::string();
            std::string answer = check_name("network", name, fovea::models::list());
            if (!answer.empty() && names_a_file(name)) answer += kTextAdvice;
            return answer;
          },
          "", "network"};
}

CLI::Validator known_source() {
  return {[](std::string& source) {
            const std::string name = source.substr(0, source.find_first_of(":?"));
            return check_name("data set", name, fovea::data::sources());
          },
          "", "source"};
}

CLI::Validator whole_number(std::int64_t least, std::int64_t most) {
  return {[least, most](std::string& text) {
            const auto number = parse_number<std::int64_t>(text);
            if (number && *number >= least && *number <= most) return std::string();
            return most == INT64_MAX
                       ? fmt::format("must be a whole number of at least {}, but is '{}'", least,
                                     text)
                       : fmt::format("must be a whole number from {} to {}, but is '{}'", least,
                                     most, text);
          },
          "", "whole number"};
}

CLI::Validator number_above_zero() {
  return {[](std::string& text) {
            const auto number = parse_number<double>(text);
            return number && *number > 0 && std::isfinite(*number)
                       ? std::string()
                       : fmt::format("must be a number above 0, but is '{}'", text);
          },
          "", "number"};
}

CLI::Validator number_of_at_least_zero() {
  return {[](std::string& text) {
            const auto number = parse_number<double>(text);
            return number && *number >= 0 && std::isfinite(*number)
                       ? std::string()
                       : fmt::format("must be a number of at least 0, but is '{}'", text);
          },
          "", "number"};
}

CLI::Validator one_of(std::vector<std::string> words) {
  return {[words = std::move(words)](std::string& text) {
            if (std::find(words.begin(), words.end(), text) != words.end()) return std::string();
            std::string known = words.front();
            for (std::size_t i = 1; i < words.size(); ++i)
              known += (i + 1 < words.size() ? ", " : " or ") + words[i];
            return fmt::format("is '{}', expected {}", text, known);
          },
          ""};
}

fovea::PlanOptions AlgorithmOptions::plan() const {
  fovea::PlanOptions options{.algorithm = algorithm, .workspace_limit = workspace_limit};
  for (const fovea::Precision one : fovea::kPrecisions) {
    if (fovea::name(one) == precision) options.precision = one;
  }
  return options;
}

void add_algorithm(CLI::App& app, AlgorithmOptions& options) {
  const CLI::Validator known_algorithm(
      [](std::string& name) {
        return name == "auto" ? "" : check_name("algorithm", name, fovea::algorithms());
      },
      "", "algorithm");
  app.add_option("--algorithm", options.algorithm,
                 "Force one: auto, or a name that `fovea info` lists")
      ->check(known_algorithm)
      ->capture_default_str()
      ->type_name("NAME");
  std::vector<std::string> precisions;
  for (const fovea::Precision one : fovea::kPrecisions) precisions.emplace_back(fovea::name(one));
  app.add_option("--precision", options.precision,
                 "fast, or exact: without winograd and fft, whose rounding errors are larger")
      ->check(one_of(precisions))
      ->capture_default_str()
      ->type_name("NAME");
  app.add_option("--workspace-limit", options.workspace_limit,
                 "Only algorithms that need no more memory beside the tensors (default: any)")
      ->check(whole_number(0))
      ->type_name("BYTES");
}

CLI::Option* add_plan_file(CLI::App& app, std::string& path) {
  return app
      .add_option("--plan-file", path,
                  "Let this file, which `fovea conv --search` writes, choose the algorithms of the "
                  "convolutions in it")
      ->type_name("FILE");
}

void use_plan_file(const std::string& path) {
  if (!path.empty()) fovea::use_plan_file(fovea::load_plan_file(path));
}

fovea::Pass parse_pass(const std::string& text, const std::string& option) {
  std::vector<std::string> known;
  for (const auto& [short_name, pass] : kShortPasses) {
    if (text == short_name || text == fovea::name(pass)) return pass;
    known.push_back(fmt::format("{} ({})", short_name, fovea::name(pass)));
  }
  throw Misuse(
      fmt::format("{}: there is no pass '{}'; known: {}", option, text, fmt::join(known, ", ")));
}

fovea::nn::Model load_model(const std::string& path) {
  try {
    return fovea::load(path);
  } catch (const fovea::Error& error) {
    // "load: '...' has" and "read_safetensors: cannot read '...'" start with a function's name.
    const std::string_view message = error.what();
    const std::size_t colon = message.find(": ");
    const bool named = colon != std::string_view::npos &&
                       message.substr(0, colon).find_first_of(" '\"") == std::string_view::npos;
    throw fovea::Error(std::string(named ? message.substr(colon + 2) : message));
  }
}

void add_threads(CLI::App& app) {
  app.add_option_function<int>(
         "--threads", [](const int& count) { fovea::set_num_threads(count); },
         "Threads to use (default: FOVEA_THREADS, or every core); results are the same bits for "
         "any number")
      ->check(whole_number(1, 1024))
      ->type_name("N");
}

CLI::Option* add_data(CLI::App& app, std::string& source) {
  std::vector<std::string> known;
  for (const auto& entry : fovea::data::sources()) {
    known.push_back(fmt::format("{}{}{}", entry.name, entry.path.empty() ? "" : ":", entry.path));
  }
  return app
      .add_option("--data", source,
                  fmt::format("Data set: {}; options may follow, as in mnist:DIR?validation=0.1 "
                              "(see fovea data --help)",
                              fmt::join(known, ", ")))
      ->required()
      ->check(known_source())
      ->type_name("SOURCE");
}

std::string with_option(const std::string& source, const std::string& option) {
  return fmt::format("{}{}{}", source, source.find('?') == std::string::npos ? '?' : '&', option);
}

void add_split(CLI::App& app, fovea::data::Split& split) {
  using fovea::data::Split;
  std::map<std::string, Split> names;
  for (const Split one : {Split::test, Split::validation, Split::train})
    names.emplace(fovea::data::name(one), one);
  add_choice(app, "--split", split, names,
             fmt::format("test, validation or train (default: {})", fovea::data::name(split)));
}

void add_augment(CLI::App& app, std::string& text) {
  std::vector<std::string> known;
  for (const auto& def : fovea::data::augmentations()) {
    known.push_back(
        fmt::format("{}[={}] {} (default: {})", def.name, def.argument, def.summary, def.usual));
  }
  const CLI::Validator known_augmentations(
      [](std::string& value) {
        try {
          fovea::data::parse_augmentations(value);
        } catch (const fovea::Error& error) {
          return std::string(error.what());
        }
        return std::string();
      },
      "", "augmentations");
  app.add_option("--augment", text,
                 fmt::format("Random changes of the training samples, such as flip,crop=4:\n  {}",
                             fmt::join(known, "\n  ")))
      ->check(known_augmentations)
      ->type_name("NAME[=X],..");
}

fovea::DType parameter_type(const fovea::nn::Model& model) {
  const std::vector<fovea::Tensor> parameters = model.parameters();
  return parameters.empty() ? fovea::DType::float32 : parameters.front().dtype();
}

double tensor_bytes(const fovea::ConvProblem& problem) {
  const auto count = [](const fovea::Shape& shape) { return static_cast<double>(shape.numel()); };
  return (count(problem.input_shape()) + count(problem.weight_shape()) +
          count(problem.output_shape())) *
         static_cast<double>(fovea::size_of(problem.dtype));
}

void require_memory(const std::string& command, const fovea::ConvProblem& problem) {
  const double needed = tensor_bytes(problem);
  const double present =
      static_cast<double>(sysconf(_SC_PHYS_PAGES)) * static_cast<double>(sysconf(_SC_PAGESIZE));
  if (needed > present) {
    throw fovea::Error(
        fmt::format("{}: input, weight and output of {} need {}, but this machine has {}", command,
                    problem.to_string(), readable_bytes(needed), readable_bytes(present)));
  }
}

fovea::Shape parse_sizes(const std::string& text, const std::string& option, std::int64_t least) {
  fovea::Shape shape;
  const char* next = text.data();
  const char* const end = text.data() + text.size();
  while (true) {
    std::int64_t size = 0;
    const auto [after, error] = std::from_chars(next, end, size);
    if (error != std::errc() || size < least || shape.rank() == fovea::kMaxRank ||
        (after != end && *after != 'x')) {
      throw Misuse(fmt::format(
          "{}: cannot read '{}'; write numbers of at least {} with an x between them, such as "
          "1x28x28",
          option, text, least));
    }
    shape.push_back(size);
    if (after == end) return shape;
    next = after + 1;
  }
}

std::string join_sizes(const fovea::Shape& shape) {
  return fmt::format("{}", fmt::join(shape, "x"));
}

std::string grouped(std::int64_t number) {
  std::string digits = std::to_string(number);
  const std::size_t sign = number < 0 ? 1 : 0;
  for (std::size_t at = digits.size(); at > sign + 3;) {
    at -= 3;
    digits.insert(at, ",");
  }
  return digits;
}

std::string grouped(double number) {
  return std::abs(number) < kExact ? grouped(static_cast<std::int64_t>(number))
                                   : fmt::format("{:.3g}", number);
}

std::string readable_bytes(double bytes) {
  constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  std::size_t unit = 0;
  while (bytes >= 1024 && unit + 1 < std::size(kUnits)) {
    bytes /= 1024;
    ++unit;
  }
  return fmt::format("{:.{}f} {}", bytes, unit == 0 ? 0 : 1, kUnits[unit]);
}

std::string readable_seconds(double seconds) {
  if (seconds < 1e-3) return fmt::format("{:.1f} us", seconds * 1e6);
  if (seconds < 1) return fmt::format("{:.2f} ms", seconds * 1e3);
  return fmt::format("{:.2f} s", seconds);
}

void print_json(const Json& object) {
  fmt::print("{}\n", object.dump(-1, ' ', false, Json::error_handler_t::replace));
  std::fflush(stdout);
}

Json sizes_json(const fovea::Shape& shape) {
  return Json(std::vector<std::int64_t>(shape.begin(), shape.end()));
}

Json count_json(double count) {
  return std::abs(count) < kExact ? Json(static_cast<std::int64_t>(count)) : Json(count);
}

Table::Table(std::vector<std::string> header, std::size_t left_columns)
    : left_columns_(left_columns) {
  rows_.push_back(std::move(header));
}

void Table::add(std::vector<std::string> row) {
  rows_.push_back(std::move(row));
}

void Table::print() const {
  std::vector<std::size_t> widths(rows_.front().size(), 0);
  for (const auto& row : rows_) {
    for (std::size_t column = 0; column < row.size(); ++column) {
      widths[column] = std::max(widths[column], row[column].size());
    }
  }
  for (const auto& row : rows_) {
    std::string line;
    for (std::size_t column = 0; column < row.size(); ++column) {
      if (column > 0) line += "  ";
      line += column < left_columns_ ? fmt::format("{:<{}}", row[column], widths[column])
                                     : fmt::format("{:>{}}", row[column], widths[column]);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    fmt::print("{}\n", line);
  }
}

std::vector<std::int64_t> class_counts(const fovea::data::Dataset& dataset) {
  std::vector<std::int64_t> counts(dataset.classes().size());
  const fovea::Shape shape = dataset.sample_shape();
  std::vector<std::int64_t> labels(
      static_cast<std::size_t>(dataset.has_masks() ? shape.numel() / shape[0] : 1));
  for (std::int64_t i = 0; i < dataset.size(); ++i) {
    if (dataset.has_masks())
      dataset.read_mask(i, labels);
    else
      labels[0] = dataset.label(i);
    for (const std::int64_t label : labels)
      if (label != fovea::data::kIgnored) ++counts.at(static_cast<std::size_t>(label));
  }
  return counts;
}

double seconds_now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

void require_png(const std::string& path) {
  std::string name = path;
  std::transform(name.begin(), name.end(), name.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  if (!name.ends_with(".png"))
    throw Misuse(fmt::format("'{}' does not end in .png, the one format that is written", path));
}

}  // namespace cli
