// The commands of fovea-peers: each declares its options and returns what to do.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <string>

namespace peers {

using Action = std::function<void()>;

Action conv_command(CLI::App& app);   // built where oneDNN is
Action train_command(CLI::App& app);  // built where libtorch is
Action infer_command(CLI::App& app);

// Of one measurement, declared alike everywhere.
struct Measuring {
  int threads = 0;        // 0: as many as Fovea takes by itself
  double seconds = 0.5;   // for each side
  std::string plan_file;  // for Fovea's algorithms; may be empty
};
void add_measuring(CLI::App& app, Measuring& measuring);
// Sets Fovea's threads and plan file; returns the number of threads, for the peer.
int apply_settings(const Measuring& measuring);

}  // namespace peers
