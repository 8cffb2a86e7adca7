// fovea bench: its subcommands, and the options that they share. To add one: its function in
// bench.h and a line in the list below.
#include "bench.h"

#include <fmt/format.h>

#include <memory>

#include "support.h"

namespace cli {
namespace {

struct SubcommandDef {
  const char* name;
  const char* summary;
  Action (*declare)(CLI::App& app);
};

constexpr SubcommandDef kSubcommands[] = {
    {"conv", "Convolutions, against the machine's limits", bench_conv_command},
    {"plan", "What `auto` chooses for convolutions, against the fastest measured",
     bench_plan_command},
    {"scaling", "How the cost of a convolution grows with its sizes and the threads",
     bench_scaling_command},
    {"errors", "How exact each algorithm is, against `reference`", bench_errors_command},
    {"ops", "Operators bound by memory, against a memory copy", bench_ops_command},
    {"train", "One training step of a network", bench_train_command},
    {"infer", "One inference of a network", bench_infer_command},
};

}  // namespace

void add_bench_options(CLI::App& app, BenchOptions& options, bool peers) {
  app.add_option("--threads", options.threads,
                 "Threads to use, one number or several, as 1,2 (default: FOVEA_THREADS, or every "
                 "core)")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->check(whole_number(1, 1024))
      ->type_name("N[,N..]");
  app.add_option("--time", options.seconds, "Seconds of timed calls per measurement")
      ->check(number_above_zero())
      ->capture_default_str()
      ->type_name("SECONDS");
  if (peers) {
    app.add_flag("--peers", options.peers,
                 "Also time other libraries, side by side in the program fovea-peers");
  }
  app.add_flag("--json", options.json, "Print one JSON object per measurement");
}

std::vector<std::string> peer_arguments(const BenchOptions& options) {
  return {"--threads", std::to_string(fovea::num_threads()), "--time",
          fmt::format("{}", options.seconds)};
}

Action bench_command(CLI::App& app) {
  const auto chosen = std::make_shared<Action>();
  app.require_subcommand(1);
  for (const SubcommandDef& command : kSubcommands) {
    CLI::App* parser = app.add_subcommand(command.name, command.summary);
    parser->callback([chosen, action = command.declare(*parser)] { *chosen = action; });
  }
  app.footer(
      "Examples:\n  fovea bench conv mb16ic64ih56oc64kh3ph1\n"
      "  fovea bench train lenet5_1998 --batch 64");
  return [chosen] { (*chosen)(); };
}

}  // namespace cli
