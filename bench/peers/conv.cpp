// fovea-peers conv: convolutions, problem by problem and pass by pass, against oneDNN.
#include <fovea/fovea.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <iostream>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "commands.h"
#include "harness.h"
#include "onednn.h"
#include "report.h"
#include "workload.h"

namespace peers {
namespace {

using fovea::ConvProblem;
using fovea::Pass;
using fovea::Tensor;

struct ConvOptions {
  std::vector<std::string> passes;  // empty: all
  std::string algorithm = "auto";
  std::string precision = "fast";
  std::int64_t workspace_limit = fovea::kNoWorkspaceLimit;
  int pairs = 0;  // 0: against every way of oneDNN
  Measuring measuring;
};

// Elements in the order in which they lie in memory.
std::span<const float> memory_of(const Tensor& tensor) {
  return {tensor.data<float>(), static_cast<std::size_t>(tensor.numel())};
}

fovea::PlanOptions plan_options(const ConvOptions& options) {
  for (const fovea::Precision precision : fovea::kPrecisions) {
    if (options.precision == name(precision)) {
      return {.algorithm = options.algorithm,
              .precision = precision,
              .workspace_limit = options.workspace_limit};
    }
  }
  throw fovea::Error("there is no precision '" + options.precision + "'; known: fast, exact");
}

void compare(const ConvProblem& problem, Pass pass, const ConvOptions& options, int threads) {
  const auto work =
      std::make_shared<bench::ConvWork>(fovea::make_plan(problem, pass, plan_options(options)));
  const std::vector<Way> ways = onednn_ways(problem, pass, work->first(), work->second());
  std::vector<bench::Side> sides = {{"fovea", [work] { work->run(); }}};
  work->run();
  for (const Way& way : ways) {
    if (options.pairs > 0 && way.name != kChannelsLastDirect) continue;
    way.call();
    require_close(memory_of(work->result()), memory_of(way.result()),
                  problem.to_string() + " " + std::string(name(pass)) + ", fovea and " + way.name);
    sides.push_back({way.name, way.call});
  }
  Json report = {{"problem", problem.to_string()},
                 {"pass", name(pass)},
                 {"algorithm", work->plan().algorithm},
                 {"threads", threads}};
  bench::Options measuring = {.seconds = options.measuring.seconds};
  if (options.pairs > 0) measuring.rounds = options.pairs;
  add_times(report, sides, std::string(kChannelsLastDirect), measuring);
  print_json(report);
}

// By their own names, or by those of benchdnn.
std::vector<Pass> parse_passes(const std::vector<std::string>& names) {
  constexpr std::array<std::string_view, 3> kShort = {"fwd", "bwd_d", "bwd_w"};
  if (names.empty()) return {fovea::kPasses.begin(), fovea::kPasses.end()};
  std::vector<Pass> passes;
  for (const std::string& wanted : names) {
    const auto* found = std::find_if(fovea::kPasses.begin(), fovea::kPasses.end(), [&](Pass pass) {
      return wanted == name(pass) || wanted == kShort[static_cast<std::size_t>(pass)];
    });
    if (found == fovea::kPasses.end())
      throw fovea::Error("there is no pass '" + wanted + "'; known: fwd, bwd_d, bwd_w");
    passes.push_back(*found);
  }
  return passes;
}

std::vector<ConvProblem> read_problems(std::istream& in) {
  std::vector<ConvProblem> problems;
  for (std::string line; std::getline(in, line);) {
    if (!line.empty()) problems.push_back(ConvProblem::parse(line));
  }
  return problems;
}

void conv(const ConvOptions& options) {
  const int threads = apply_settings(options.measuring);
  set_onednn_threads(threads);
  const std::vector<Pass> passes = parse_passes(options.passes);
  for (const ConvProblem& problem : read_problems(std::cin)) {
    for (const Pass pass : passes) compare(problem, pass, options, threads);
  }
}

}  // namespace

Action conv_command(CLI::App& app) {
  const auto options = std::make_shared<ConvOptions>();
  app.add_option("--passes", options->passes, "Which passes, separated by commas (default: all)")
      ->delimiter(',')
      ->type_name("NAME");
  app.add_option("--algorithm", options->algorithm, "Force one of Fovea's")->type_name("NAME");
  app.add_option("--precision", options->precision, "fast or exact")->type_name("NAME");
  app.add_option("--workspace-limit", options->workspace_limit, "Of Fovea's, in bytes")
      ->type_name("BYTES");
  app.add_option("--pairs", options->pairs,
                 "Turns of each side, and of channels-last direct alone of oneDNN's ways")
      ->check(CLI::Range(1, 1000))
      ->type_name("N");
  add_measuring(app, options->measuring);
  app.footer(
      "Descriptors come from standard input, one a line:\n"
      "  echo mb16ic64ih56oc64kh3ph1 | fovea-peers conv --passes fwd");
  return [options] { conv(*options); };
}

}  // namespace peers
