// What the subcommands of `fovea bench` share.
#pragma once

#include <fovea/fovea.h>
#include <CLI/CLI.hpp>
#include <cstdint>
#include <string>
#include <vector>

#include "commands.h"

namespace cli {

struct BenchOptions {
  std::vector<int> threads;  // empty: as the library would choose
  double seconds = 0.5;      // of timed calls, per measurement
  bool peers = false;
  bool json = false;
};
// `peers`: whether other libraries can be timed too.
void add_bench_options(CLI::App& app, BenchOptions& options, bool peers = true);

// Calls measure() once for each number of threads asked for, with that number set.
template <class Measure>
void for_threads(const BenchOptions& options, const Measure& measure) {
  if (options.threads.empty()) return measure();
  for (const int count : options.threads) {
    fovea::set_num_threads(count);
    measure();
  }
}

// The arguments of fovea-peers that mirror these options and the number of threads now set.
std::vector<std::string> peer_arguments(const BenchOptions& options);

Action bench_conv_command(CLI::App& app);
Action bench_errors_command(CLI::App& app);
Action bench_ops_command(CLI::App& app);
Action bench_plan_command(CLI::App& app);
Action bench_scaling_command(CLI::App& app);
Action bench_train_command(CLI::App& app);
Action bench_infer_command(CLI::App& app);

}  // namespace cli
