// fovea evaluate: accuracy and loss of a trained network on a data set.
#include <fmt/format.h>

#include <memory>

#include "commands.h"
#include "scoring.h"
#include "support.h"

namespace cli {
namespace {

using fovea::data::Split;

struct EvaluateOptions {
  std::string model;
  std::string data;
  Split split = Split::test;
  std::int64_t batch = 256;
  std::string plan_file;
  bool json = false;
};

void evaluate(const EvaluateOptions& options) {
  use_plan_file(options.plan_file);
  const fovea::nn::Model model = load_model(options.model);
  const auto dataset = fovea::data::open(options.data, options.split);
  check_fits(model, *dataset, options.data);
  const Score total = score(model, dataset, options.batch);
  if (options.json) {
    print_json(
        {{"accuracy", total.accuracy()}, {"loss", total.loss()}, {"samples", total.samples}});
    return;
  }
  fmt::print("accuracy {:.2f} %  loss {:.4f}  samples {}\n", 100 * total.accuracy(), total.loss(),
             grouped(total.samples));
}

}  // namespace

Action evaluate_command(CLI::App& app) {
  const auto options = std::make_shared<EvaluateOptions>();
  app.add_option("model", options->model, "A .fovea file")->required()->type_name("MODEL");
  add_data(app, options->data);
  add_split(app, options->split);
  app.add_option("--batch", options->batch, "Samples at a time")
      ->check(whole_number(1))
      ->capture_default_str()
      ->type_name("N");
  add_threads(app);
  add_plan_file(app, options->plan_file);
  app.add_flag("--json", options->json, "Print one JSON object: accuracy, loss, samples");
  app.footer("Example:\n  fovea evaluate lenet5.fovea --data fashion-mnist");
  return [options] { evaluate(*options); };
}

}  // namespace cli
