// fovea bench train and fovea bench infer: the median time of a whole training step (forward, loss,
// backward, update) or of one inference, on a batch of random images.
#include <fmt/format.h>
#include <fovea/fovea.h>

#include <functional>
#include <memory>

#include "bench.h"
#include "harness.h"
#include "peers.h"
#include "support.h"
#include "workload.h"

namespace cli {
namespace {

struct NetworkOptions {
  BenchOptions common;
  std::string mode;  // train or infer
  std::string network;
  std::int64_t batch = 1;
  std::string plan_file;
};

Json measure_here(const NetworkOptions& options) {
  bench::NetworkWork work(options.network, options.batch);
  const bool train = options.mode == "train";
  const std::function<void()> call = [&work, train] {
    if (train) {
      work.train();
    } else {
      work.infer();
    }
  };
  const double seconds =
      bench::median_seconds({{.name = "fovea", .call = call}}, {.seconds = options.common.seconds})
          .front();
  return {{"network", options.network},
          {"batch", options.batch},
          {"threads", fovea::num_threads()},
          {"ms", seconds * 1e3}};
}

void report(const NetworkOptions& options, Json result) {
  const double seconds = result.at("ms").get<double>() * 1e-3;
  result["images_per_second"] = static_cast<double>(options.batch) / seconds;
  if (options.common.json) {
    print_json(result);
    return;
  }
  fmt::print("{} {}, batch {}, {} threads: {} ({:.0f} images/s)\n", options.mode, options.network,
             options.batch, result.at("threads").get<int>(), readable_seconds(seconds),
             result.at("images_per_second").get<double>());
  if (result.contains("peer") && result.at("peer").is_string()) {
    fmt::print("  {}: {}, so fovea is {:.2f} times as fast\n", result.at("peer").get<std::string>(),
               readable_seconds(result.at("peer_ms").get<double>() * 1e-3),
               result.at("ratio").get<double>());
  }
}

void measure(const NetworkOptions& options) {
  use_plan_file(options.plan_file);
  for_threads(options.common, [&] {
    if (!options.common.peers) return report(options, measure_here(options));
    std::vector<std::string> arguments = {options.mode, options.network, "--batch",
                                          std::to_string(options.batch)};
    for (std::string& argument : peer_arguments(options.common)) arguments.push_back(argument);
    if (!options.plan_file.empty())
      arguments.insert(arguments.end(), {"--plan-file", options.plan_file});
    run_peers(arguments, "", [&](const Json& result) { report(options, result); });
  });
}

Action network_command(CLI::App& app, const std::string& mode, std::int64_t batch) {
  const auto options = std::make_shared<NetworkOptions>();
  options->mode = mode;
  options->batch = batch;
  app.add_option("network", options->network, "Its name")
      ->required()
      ->check(known_network())
      ->type_name("NETWORK");
  app.add_option("--batch", options->batch, "Images at once")
      ->check(whole_number(1, 1 << 20))
      ->capture_default_str()
      ->type_name("N");
  add_plan_file(app, options->plan_file);
  add_bench_options(app, options->common);
  app.footer(fmt::format("Example:\n  fovea bench {} lenet5 --batch {} --peers", mode, batch));
  return [options] { measure(*options); };
}

}  // namespace

Action bench_train_command(CLI::App& app) {
  return network_command(app, "train", 64);
}

Action bench_infer_command(CLI::App& app) {
  return network_command(app, "infer", 1);
}

}  // namespace cli
