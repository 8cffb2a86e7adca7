// fovea-peers: Fovea and other libraries, timed side by side in one process. Prints one JSON object
// a line. `fovea bench ... --peers` calls it; it is a program of its own so that the others depend
// on no peer.
#include <fmt/format.h>
#include <fovea/fovea.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>
#include <string>

#include "commands.h"

namespace peers {

void add_measuring(CLI::App& app, Measuring& measuring) {
  app.add_option("--threads", measuring.threads, "Threads of each side (default: Fovea's)")
      ->check(CLI::Range(1, 1024))
      ->type_name("N");
  app.add_option("--time", measuring.seconds, "Seconds for each side of one measurement")
      ->check(CLI::PositiveNumber)
      ->capture_default_str()
      ->type_name("SECONDS");
  app.add_option("--plan-file", measuring.plan_file, "Lets it choose Fovea's algorithms")
      ->type_name("FILE");
}

int apply_settings(const Measuring& measuring) {
  if (!measuring.plan_file.empty())
    fovea::use_plan_file(fovea::load_plan_file(measuring.plan_file));
  if (measuring.threads > 0) fovea::set_num_threads(measuring.threads);
  return fovea::num_threads();
}

}  // namespace peers

namespace {

constexpr int kFailed = 1;
constexpr int kMisuse = 2;

struct CommandDef {
  const char* name;
  const char* summary;
  peers::Action (*declare)(CLI::App& app);  // null: built without the peer
  const char* package;
};

#if FOVEA_WITH_ONEDNN
constexpr auto kConv = peers::conv_command;
#else
constexpr peers::Action (*kConv)(CLI::App&) = nullptr;
#endif
#if FOVEA_WITH_TORCH
constexpr auto kTrain = peers::train_command;
constexpr auto kInfer = peers::infer_command;
#else
constexpr peers::Action (*kTrain)(CLI::App&) = nullptr;
constexpr peers::Action (*kInfer)(CLI::App&) = nullptr;
#endif

constexpr CommandDef kCommands[] = {
    {"conv", "Convolutions against oneDNN", kConv, "libdnnl-dev"},
    {"train", "A training step against libtorch", kTrain, "libtorch-dev"},
    {"infer", "Inference against libtorch", kInfer, "libtorch-dev"},
};

peers::Action declare(const CommandDef& command, CLI::App& parser) {
  if (command.declare != nullptr) return command.declare(parser);
  parser.allow_extras();
  return [&command] {
    throw fovea::Error(fmt::format(
        "fovea-peers was built without {}, which '{}' needs; install it with ./dev setup --peers "
        "and build again",
        command.package, command.name));
  };
}

int fail(int code, const std::string& message) {
  fmt::print(stderr, "fovea-peers: {}\n", message);
  return code;
}

int run(int argc, char** argv) {
  CLI::App app("Times Fovea and other libraries side by side.", "fovea-peers");
  app.require_subcommand(1);
  peers::Action chosen;
  for (const CommandDef& command : kCommands) {
    CLI::App* parser = app.add_subcommand(command.name, command.summary);
    parser->callback([&chosen, action = declare(command, *parser)] { chosen = action; });
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);  // help
    return fail(kMisuse, error.what());
  }
  chosen();
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const std::exception& error) {
    return fail(kFailed, error.what());
  }
}
