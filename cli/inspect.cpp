// fovea inspect: a network operator by operator, from shapes alone.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <memory>
#include <string>

#include "commands.h"
#include "support.h"

namespace cli {
namespace {

namespace explain = fovea::explain;

struct InspectOptions {
  std::string model;
  std::string input;
  std::int64_t batch = 1;
  std::string graph;  // a file for the picture; empty: none
  bool json = false;
};

// `input`: of one sample, or empty for the network's own. Weights are not needed.
fovea::nn::Model find_model(const std::string& name, const fovea::Shape& input) {
  for (const auto& model : fovea::models::list()) {
    if (model.name == name) return fovea::models::sketch(name, {.input = input});
  }
  if (is_description(name)) return fovea::models::read_network(name, {.input = input});
  if (!names_a_file(name)) {
    throw Misuse(
        fmt::format("'{}' is neither a file nor a network; {}", name, known_network()(name)));
  }
  try {
    return load_model(name);
  } catch (const fovea::Error& error) {
    if (name.ends_with(".fovea")) throw;
    throw fovea::Error(std::string(error.what()) + kTextAdvice);
  }
}

std::string centre_text(const explain::ReceptiveField& field) {
  return field.global ? "" : fmt::format("{:g}", fmt::join(field.centre, "x"));
}

Json layer_json(const explain::LayerReport& layer) {
  return {{"path", layer.path},
          {"operation", layer.operation},
          {"layer", layer.layer},
          {"output", sizes_json(layer.output)},
          {"parameters", layer.parameters},
          {"multiply_adds", layer.multiply_adds},
          {"output_bytes", layer.output_bytes},
          {"receptive_field",
           {{"size", sizes_json(layer.field.size)},
            {"stride", sizes_json(layer.field.stride)},
            {"centre", layer.field.centre},
            {"global", layer.field.global}}}};
}

void print_lines(const explain::NetworkReport& report) {
  for (const auto& layer : report.layers) print_json(layer_json(layer));
  print_json({{"total", true},
              {"input", sizes_json(report.input)},
              {"parameters", report.parameters},
              {"multiply_adds", report.multiply_adds},
              {"parameter_bytes", report.parameter_bytes},
              {"activation_bytes", report.activation_bytes}});
}

void print_table(const explain::NetworkReport& report) {
  Table table({"layer", "what", "output", "parameters", "multiply-adds", "memory", "field",
               "stride", "centre"},
              3);
  table.add({"", "input", join_sizes(report.input), "", "", "", "", "", ""});
  for (const auto& layer : report.layers) {
    const explain::ReceptiveField& field = layer.field;
    table.add({layer.path, layer.layer.empty() ? layer.operation : layer.layer,
               join_sizes(layer.output), grouped(layer.parameters), grouped(layer.multiply_adds),
               readable_bytes(static_cast<double>(layer.output_bytes)),
               field.global ? "all" : join_sizes(field.size),
               field.global ? "" : join_sizes(field.stride), centre_text(field)});
  }
  table.print();
  fmt::print(
      "total: {} parameters ({}), {} multiply-adds, {} of activations\n",
      grouped(report.parameters), readable_bytes(static_cast<double>(report.parameter_bytes)),
      grouped(report.multiply_adds), readable_bytes(static_cast<double>(report.activation_bytes)));
  fmt::print(
      "field: the input cells that one output cell sees; stride: between the fields of neighbours; "
      "centre: of "
      "the first one's\n");
}

void inspect(const InspectOptions& options) {
  const fovea::Shape asked =
      options.input.empty() ? fovea::Shape() : parse_sizes(options.input, "--input");
  if (asked.rank() + 1 > fovea::kMaxRank)
    throw Misuse("--input: too many sizes; write C x spatial, such as 1x28x28");
  const fovea::nn::Model model = find_model(options.model, asked);
  const fovea::Shape sample = asked.empty() ? model.info.input : asked;
  fovea::Shape shape = {options.batch};
  for (const std::int64_t size : sample) shape.push_back(size);
  const explain::NetworkReport report = [&] {
    try {
      return explain::inspect(model.module(), shape);
    } catch (const fovea::Error& error) {
      throw fovea::Error(fmt::format("{} reads samples of {} (channels first), not of {}: {}",
                                     options.model, join_sizes(model.info.input),
                                     join_sizes(sample), error.what()));
    }
  }();
  if (!options.graph.empty()) fovea::write_text(options.graph, explain::graph_svg(report));
  if (options.json) {
    print_lines(report);
    return;
  }
  print_table(report);
  for (const std::string& how : model.info.adapted) fmt::print("adapted: {}\n", how);
}

}  // namespace

Action inspect_command(CLI::App& app) {
  const auto options = std::make_shared<InspectOptions>();
  app.add_option("model", options->model,
                 "A .fovea file, the name of a network, or a .net file that describes one")
      ->required()
      ->type_name("MODEL");
  app.add_option("--input", options->input,
                 "Sizes of one sample, channels first (default: the network's own)")
      ->type_name("1x28x28");
  app.add_option("--batch", options->batch, "Samples at a time")
      ->check(whole_number(1))
      ->capture_default_str()
      ->type_name("N");
  app.add_option("--graph", options->graph, "Write a picture of the graph to this file, as SVG")
      ->type_name("FILE.svg");
  app.add_flag("--json", options->json,
               "Print one JSON object per operator, then one with the totals");
  app.footer("Example:\n  fovea inspect lenet5 --input 1x28x28");
  return [options] { inspect(*options); };
}

}  // namespace cli
