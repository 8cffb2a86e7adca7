// fovea, the program: reads the command line, runs one command, and turns what went wrong into one
// line on stderr and an exit code: 0 done, 1 failed, 2 misuse, 128 + N stopped by signal N.
#include <fmt/format.h>
#include <fovea/fovea.h>
#include <CLI/CLI.hpp>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <exception>
#include <string>
#include <system_error>

#include "commands.h"
#include "interrupt.h"

namespace {

constexpr int kDone = 0;
constexpr int kFailed = 1;
constexpr int kMisuse = 2;

struct CommandDef {
  const char* name;
  const char* summary;
  cli::Action (*declare)(CLI::App& app);
};

constexpr CommandDef kCommands[] = {
    {"train", "Train a network on a data set", cli::train_command},
    {"evaluate", "Measure a trained network on a data set", cli::evaluate_command},
    {"predict", "Name what is on an image", cli::predict_command},
    {"sample", "Write one sample of a data set as an image", cli::sample_command},
    {"data", "Show what a data set holds, and which of its files are broken", cli::data_command},
    {"models", "List the networks with their parameters and multiply-adds", cli::models_command},
    {"inspect", "Show a network's shapes, parameters, cost and receptive fields",
     cli::inspect_command},
    {"conv", "Explain one convolution: its arithmetic, cost and algorithms", cli::conv_command},
    {"filter", "Filter an image: blur it, find its edges, look for a pattern", cli::filter_command},
    {"bench", "Measure convolutions and networks against what the machine can do",
     cli::bench_command},
    {"info", "Show the version and what the library runs on", cli::info_command},
};

int fail(int code, const std::string& message) {
  fmt::print(stderr, "fovea: {}\n", message);
  return code;
}

int misuse(const CLI::App& app, const std::string& message) {
  std::string command = "fovea";
  for (auto chosen = app.get_subcommands(); !chosen.empty();
       chosen = chosen.front()->get_subcommands()) {
    command += " " + chosen.front()->get_name();
  }
  return fail(kMisuse, fmt::format("{} (see {} --help)", message, command));
}

bool is_command(const std::string& word) {
  for (const CommandDef& command : kCommands) {
    if (word == command.name) return true;
  }
  return false;
}

int run(int argc, char** argv) {
  CLI::App app("Convolutional networks on the CPU: train them, use them, look inside.", "fovea");
  app.require_subcommand(1);
  app.set_version_flag("--version", fovea::version());
  app.footer("Example:\n  fovea train lenet5 --data fashion-mnist --epochs 10 --out lenet5.fovea");
  cli::Action chosen;
  for (const CommandDef& command : kCommands) {
    CLI::App* parser = app.add_subcommand(command.name, command.summary);
    parser->callback([&chosen, action = command.declare(*parser)] { chosen = action; });
  }
  if (const std::string word = argc > 1 ? argv[1] : "-"; word[0] != '-' && !is_command(word)) {
    return misuse(app, fmt::format("there is no command '{}'", word));
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);  // help and version
    return misuse(app, error.what());
  }
  try {
    chosen();
  } catch (const cli::Misuse& error) {
    return misuse(app, error.what());
  }
  if (std::fflush(stdout) != 0) {
    throw std::system_error(errno, std::generic_category(), "cannot write to standard output");
  }
  return kDone;
}

}  // namespace

int main(int argc, char** argv) {
  // A file that may not grow is an error of write(), as a full disk is.
  std::signal(SIGXFSZ, SIG_IGN);
  try {
    return run(argc, argv);
  } catch (const cli::Interrupted& stopped) {
    return fail(stopped.exit_code(), stopped.what());
  } catch (const std::bad_alloc&) {
    return fail(kFailed, "out of memory");
  } catch (const std::exception& error) {
    return fail(kFailed, error.what());
  }
}
