// What several commands share: validators for names on the command line, and how numbers, shapes,
// tables and JSON are printed.
#pragma once

#include <fovea/fovea.h>
#include <CLI/CLI.hpp>
#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

namespace cli {

using Json = nlohmann::ordered_json;

// Validators whose messages list what is known.
CLI::Validator known_network();
CLI::Validator known_source();
// Validators whose messages name the range without its 309 digits.
CLI::Validator whole_number(std::int64_t least, std::int64_t most = INT64_MAX);
CLI::Validator number_above_zero();
CLI::Validator number_of_at_least_zero();
CLI::Validator one_of(std::vector<std::string> words);
// An option whose words stand for values: "sgd" for Method::sgd.
template <class T, class Value>
CLI::Option* add_choice(CLI::App& app, const std::string& name, Value& value,
                        const std::map<std::string, T>& words, const std::string& description) {
  std::vector<std::string> known;
  for (const auto& [word, meaning] : words) known.push_back(word);
  return app
      .add_option_function<std::string>(
          name, [&value, words](const std::string& word) { value = words.at(word); }, description)
      ->check(one_of(std::move(known)))
      ->type_name("NAME");
}
// Declares --threads, --data, --split, --augment, --algorithm, --precision, --workspace-limit and
// --plan-file alike everywhere.
void add_threads(CLI::App& app);
CLI::Option* add_data(CLI::App& app, std::string& source);
// "images:photos?size=64" with one more option, "seed=2".
std::string with_option(const std::string& source, const std::string& option);
void add_split(CLI::App& app, fovea::data::Split& split);
void add_augment(CLI::App& app, std::string& text);
struct AlgorithmOptions {
  std::string algorithm = "auto";
  std::string precision = "fast";
  std::int64_t workspace_limit = fovea::kNoWorkspaceLimit;
  fovea::PlanOptions plan() const;  // refers to this
};
void add_algorithm(CLI::App& app, AlgorithmOptions& options);
// `path` stays empty where none is named. Then use_plan_file(path) takes what it names into use.
CLI::Option* add_plan_file(CLI::App& app, std::string& path);
void use_plan_file(const std::string& path);

// "bwd_d" or "backward_data"; throws Misuse, naming the option, with the names that there are.
fovea::Pass parse_pass(const std::string& text, const std::string& option);

// Whether the name is rather that of a file than of a network.
bool names_a_file(const std::string& name);
inline constexpr const char* kTextAdvice =
    "; the name of a text that describes a network ends in .net";
// Whether the name is that of a text that describes a network: it ends in .net.
bool is_description(const std::string& name);
// One of the list, or the one that such a text describes.
fovea::nn::Model build_network(const std::string& name, const fovea::models::Options& options);

// The network of a .fovea file; messages speak of the file, not of the library's functions.
fovea::nn::Model load_model(const std::string& path);

// The type of a network's parameters, which its input must have too.
fovea::DType parameter_type(const fovea::nn::Model& model);

// Bytes of input, weight and output together.
double tensor_bytes(const fovea::ConvProblem& problem);
// Throws Error, naming the command, if they are more than the machine's memory.
void require_memory(const std::string& command, const fovea::ConvProblem& problem);

// "64x56x56" to numbers of at least `least`; throws Misuse, naming the option.
fovea::Shape parse_sizes(const std::string& text, const std::string& option,
                         std::int64_t least = 1);
std::string join_sizes(const fovea::Shape& shape);  // "64x56x56"

std::string grouped(std::int64_t number);      // "61,706"
std::string grouped(double number);            // the same while exact, then "3.87e+10"
std::string readable_bytes(double bytes);      // "1.5 MiB"
std::string readable_seconds(double seconds);  // "1.3 ms"

// One object on a line of its own, written out at once.
void print_json(const Json& object);
Json sizes_json(const fovea::Shape& shape);
Json count_json(double count);  // an integer while exact

// Columns aligned by content; those named in `left` start at the left, the others are numbers.
class Table {
 public:
  Table(std::vector<std::string> header, std::size_t left_columns);
  void add(std::vector<std::string> row);
  void print() const;

 private:
  std::vector<std::vector<std::string>> rows_;
  std::size_t left_columns_;
};

double seconds_now();  // a steady clock

// How many samples each class has; of masks, how many cells.
std::vector<std::int64_t> class_counts(const fovea::data::Dataset& dataset);

// Throws Misuse unless the name of a picture to be written ends in .png.
void require_png(const std::string& path);

}  // namespace cli
