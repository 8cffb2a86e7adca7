// fovea data: what a data set holds, read through to the end: samples, classes, shape, statistics,
// and what is broken. `fovea data preview` is in data_preview.cpp.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <memory>
#include <numeric>
#include <utility>

#include "data.h"
#include "support.h"

namespace cli {
namespace {

namespace data = fovea::data;
using data::Split;

constexpr Split kSplits[] = {Split::train, Split::validation, Split::test};
constexpr std::size_t kNamedBroken = 20;  // all of them with --json

struct DataOptions {
  std::string source;
  bool json = false;
};

// Where nothing is said of broken samples, all are found, and the first is no reason to stop.
std::string finding_all(const std::string& source) {
  if (source.find("broken=", source.rfind('?')) != std::string::npos) return source;
  const std::string name = source.substr(0, source.find_first_of(":?"));
  for (const data::SourceDef& def : data::sources()) {
    if (def.name != name) continue;
    for (const data::SourceOption& option : def.options)
      if (option.name == "broken") return with_option(source, "broken=skip");
  }
  return source;
}

using Parts = std::vector<std::pair<Split, std::shared_ptr<const data::Dataset>>>;

Parts open_parts(const std::string& text) {
  const auto source = data::open(text);
  Parts parts;
  for (const Split split : kSplits) {
    if (source->has(split)) parts.emplace_back(split, source->open(split));
  }
  return parts;
}

Json json_of(const Parts& parts, const std::string& source) {
  const data::Dataset& first = *parts.front().second;
  Json json = {{"source", source},
               {"shape", sizes_json(first.sample_shape())},
               {"classes", first.classes()},
               {"mean", first.mean()},
               {"deviation", first.stddev()}};
  for (const auto& [split, dataset] : parts) {
    Json broken = Json::array();
    for (const data::Broken& one : dataset->broken())
      broken.push_back({{"name", one.name}, {"reason", one.reason}});
    json[std::string(data::name(split))] = {
        {"samples", dataset->size()}, {"by_class", class_counts(*dataset)}, {"broken", broken}};
  }
  return json;
}

// One column per split, one row per class.
void print_counts(const Parts& parts) {
  std::vector<std::string> header = {"class"};
  std::vector<std::vector<std::int64_t>> counts;
  for (const auto& [split, dataset] : parts) {
    header.emplace_back(data::name(split));
    counts.push_back(class_counts(*dataset));
  }
  Table table(header, 1);
  const std::vector<std::string>& classes = parts.front().second->classes();
  for (std::size_t label = 0; label < classes.size(); ++label) {
    std::vector<std::string> row = {classes[label]};
    for (const auto& column : counts) row.push_back(grouped(column[label]));
    table.add(row);
  }
  std::vector<std::string> total = {"all"};
  for (const auto& column : counts)
    total.push_back(grouped(std::accumulate(column.begin(), column.end(), std::int64_t{0})));
  table.add(total);
  if (parts.front().second->has_masks()) {
    std::vector<std::string> samples = {"samples"};
    for (const auto& part : parts) samples.push_back(grouped(part.second->size()));
    table.add(samples);
  }
  table.print();
}

void print_broken(const Parts& parts) {
  std::size_t count = 0;
  for (const auto& [split, dataset] : parts) {
    for (const data::Broken& one : dataset->broken()) {
      if (count++ < kNamedBroken) fmt::print("left out, {}: {}\n", data::name(split), one.reason);
    }
  }
  if (count > kNamedBroken) fmt::print("left out as well: {} more\n", count - kNamedBroken);
}

std::size_t broken_count(const Parts& parts) {
  std::size_t count = 0;
  for (const auto& part : parts) count += part.second->broken().size();
  return count;
}

// "0.286", or a list; the first few of many.
std::string numbers(const std::vector<double>& values) {
  constexpr std::size_t kMost = 8;
  std::string text;
  for (std::size_t i = 0; i < values.size() && i < kMost; ++i)
    text += fmt::format("{}{:.4g}", i == 0 ? "" : ", ", values[i]);
  return values.size() > kMost ? text + ", ..." : text;
}

void print_all(const Parts& parts) {
  const data::Dataset& train = *parts.front().second;
  print_counts(parts);
  if (train.has_masks()) fmt::print("counted are the pixels of the masks\n");
  fmt::print("samples of {}; mean {}; deviation {}\n", join_sizes(train.sample_shape()),
             numbers(train.mean()), numbers(train.stddev()));
  print_broken(parts);
}

void show(const DataOptions& options) {
  const std::string source = finding_all(options.source);
  const Parts parts = open_parts(source);
  if (options.json)
    print_json(json_of(parts, options.source));
  else
    print_all(parts);
  if (const std::size_t broken = broken_count(parts); broken > 0 && source != options.source) {
    throw fovea::Error(
        fmt::format("{} of the samples of '{}' cannot be read; broken=skip leaves them out", broken,
                    options.source));
  }
}

std::string list_of_sources() {
  std::string text = "Sources, and the options that may follow as in images:DIR?size=64&seed=2\n";
  for (const data::SourceDef& def : data::sources()) {
    text +=
        fmt::format("  {}{}{}: {}\n", def.name, def.path.empty() ? "" : ":", def.path, def.summary);
    for (const data::SourceOption& option : def.options)
      text += fmt::format("    {}={}: {}\n", option.name, option.values, option.meaning);
  }
  return text;
}

}  // namespace

Action data_command(CLI::App& app) {
  const auto options = std::make_shared<DataOptions>();
  app.add_option("source", options->source, "Needed: the data set, as --data takes it")
      ->check(known_source())
      ->type_name("SOURCE");
  add_threads(app);
  app.add_flag("--json", options->json, "Print one JSON object, with every broken file");
  const auto preview = std::make_shared<Action>();
  CLI::App* parser =
      app.add_subcommand("preview", "Write samples and augmented ones as a sheet of pictures");
  parser->callback([preview, action = data_preview_command(*parser)] { *preview = action; });
  app.footer(list_of_sources() +
             "Examples:\n  fovea data 'images:photos?size=64&validation=0.1&broken=skip'\n"
             "  fovea data preview fashion-mnist --augment flip,crop=3 --out sheet.png");
  return [options, preview] {
    if (*preview) return (*preview)();
    if (options->source.empty()) throw Misuse("source is required");
    show(*options);
  };
}

}  // namespace cli
