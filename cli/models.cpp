// fovea models: the networks there are, and what each costs, from shapes alone.
#include <fmt/format.h>

#include <memory>

#include "commands.h"
#include "support.h"

namespace cli {
namespace {

namespace explain = fovea::explain;
namespace models = fovea::models;

explain::NetworkReport report_of(const fovea::nn::Model& model) {
  fovea::Shape batch = {1};
  for (const std::int64_t size : model.info.input) batch.push_back(size);
  return explain::inspect(model.module(), batch);
}

void print_models(bool json) {
  Table table({"network", "what", "input", "parameters", "multiply-adds"}, 2);
  for (const models::ModelDef& def : models::list()) {
    const fovea::nn::Model model = models::sketch(def.name);
    const explain::NetworkReport report = report_of(model);
    if (json) {
      print_json({{"network", def.name},
                  {"what", def.summary},
                  {"input", sizes_json(model.info.input)},
                  {"output", sizes_json(report.layers.back().output)},
                  {"parameters", report.parameters},
                  {"multiply_adds", report.multiply_adds}});
    } else {
      table.add({std::string(def.name), std::string(def.summary), join_sizes(model.info.input),
                 grouped(report.parameters), grouped(report.multiply_adds)});
    }
  }
  if (json) return;
  table.print();
  fmt::print(
      "multiply-adds: for one sample of that input. Training adapts the first and the last layer "
      "to "
      "the data\n");
}

}  // namespace

Action models_command(CLI::App& app) {
  const auto json = std::make_shared<bool>(false);
  app.add_flag("--json", *json, "Print one JSON object per network");
  app.footer("Example:\n  fovea models");
  return [json] { print_models(*json); };
}

}  // namespace cli
