// fovea bench train and fovea bench infer: the median time of a whole training step (forward, loss,
// backward, update) or of one inference, on a batch of random images.
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <fovea/fovea.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

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
  std::string input;  // sizes of one image; empty: the network's own
  std::string plan_file;
};

fovea::Shape input_of(const NetworkOptions& options) {
  if (options.input.empty()) return {};
  const fovea::Shape shape = parse_sizes(options.input, "--input");
  if (shape.rank() != 3) {
    throw Misuse(
        fmt::format("--input: {} has {} sizes, expected 3: CxHxW", options.input, shape.rank()));
  }
  return shape;
}

Json measure_here(const NetworkOptions& options) {
  bench::NetworkWork work(options.network, options.batch, input_of(options));
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
    fmt::print("  memory: {}, {} takes {}\n", readable_bytes(result.at("peak_bytes").get<double>()),
               result.at("peer").get<std::string>(),
               readable_bytes(result.at("peer_peak_bytes").get<double>()));
  }
}

// The arguments of fovea-peers.
std::vector<std::string> arguments_of(const NetworkOptions& options) {
  std::vector<std::string> arguments = {options.mode, options.network, "--batch",
                                        std::to_string(options.batch)};
  for (std::string& argument : peer_arguments(options.common)) arguments.push_back(argument);
  const fovea::Shape input = input_of(options);
  if (!input.empty())
    arguments.insert(arguments.end(), {"--input", fmt::format("{}", fmt::join(input, ","))});
  if (!options.plan_file.empty())
    arguments.insert(arguments.end(), {"--plan-file", options.plan_file});
  return arguments;
}

// What a side takes, in a process of its own.
Json peak_bytes(const NetworkOptions& options, const std::string& side) {
  std::vector<std::string> arguments = arguments_of(options);
  arguments.insert(arguments.end(), {"--memory", side});
  Json bytes;
  run_peers(arguments, "", [&](const Json& result) { bytes = result.at("peak_bytes"); });
  return bytes;
}

void measure_with_peers(const NetworkOptions& options) {
  Json timed;
  run_peers(arguments_of(options), "", [&](const Json& result) { timed = result; });
  const auto peer = timed.at("peer").get<std::string>();  // ends in its layout
  timed["peak_bytes"] = peak_bytes(options, "fovea");
  timed["peer_peak_bytes"] = peak_bytes(options, peer.substr(peer.rfind(' ') + 1));
  report(options, timed);
}

void measure(const NetworkOptions& options) {
  use_plan_file(options.plan_file);
  for_threads(options.common, [&] {
    if (options.common.peers) {
      measure_with_peers(options);
    } else {
      report(options, measure_here(options));
    }
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
  app.add_option("--input", options->input,
                 "Sizes of one image, channels first (default: the network's own)")
      ->type_name("3x32x32");
  add_plan_file(app, options->plan_file);
  add_bench_options(app, options->common);
  app.footer(
      fmt::format("Examples:\n  fovea bench {0} lenet5 --batch {1} --peers\n"
                  "  fovea bench {0} resnet18 --input 3x32x32 --batch {1}",
                  mode, batch));
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
