// The commands of the program. To add one: its file, with a function that declares its options and
// returns what to do, that function's declaration here, and a line in main.cpp's list.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <stdexcept>
#include <string>

namespace cli {

// Declares options on the command's parser; the result runs after everything was parsed.
using Action = std::function<void()>;

Action train_command(CLI::App& app);
Action evaluate_command(CLI::App& app);
Action predict_command(CLI::App& app);
Action sample_command(CLI::App& app);
Action data_command(CLI::App& app);
Action models_command(CLI::App& app);
Action inspect_command(CLI::App& app);
Action conv_command(CLI::App& app);
Action filter_command(CLI::App& app);
Action bench_command(CLI::App& app);
Action info_command(CLI::App& app);

// The command line makes no sense: exit code 2, where everything else that fails gives 1.
class Misuse : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

}  // namespace cli
