// See conv_search.h.
#include "conv_search.h"

#include <fmt/format.h>

#include <filesystem>

#include "support.h"

namespace cli {
namespace {

using fovea::PlanEntry;

// What `auto` takes without a plan file.
std::string_view predicted(const PlanEntry& entry, const fovea::SearchOptions& options) {
  return fovea::make_plan(
             entry.problem, entry.pass,
             {.precision = options.precision, .workspace_limit = options.workspace_limit})
      .algorithm;
}

void print_timings(const std::vector<PlanEntry>& timed, std::string_view predicted) {
  fmt::print("{}: {}{}\n", fovea::name(timed.front().pass), timed.front().algorithm,
             timed.front().algorithm == predicted
                 ? ", as predicted"
                 : fmt::format(", where {} was predicted", predicted));
  Table table({"  algorithm", "measured"}, 1);
  for (const PlanEntry& entry : timed)
    table.add({"  " + entry.algorithm, readable_seconds(entry.seconds)});
  table.print();
}

Json timings_json(const std::vector<PlanEntry>& timed, std::string_view predicted) {
  Json list = Json::array();
  for (const PlanEntry& entry : timed)
    list.push_back({{"algorithm", entry.algorithm}, {"seconds", entry.seconds}});
  return {{"pass", fovea::name(timed.front().pass)},
          {"fastest", timed.front().algorithm},
          {"predicted", predicted},
          {"measured", list}};
}

}  // namespace

void search_passes(const fovea::ConvProblem& problem, const std::vector<fovea::Pass>& passes,
                   const fovea::SearchOptions& options, const std::string& path, bool json) {
  const bool is_there = !path.empty() && std::filesystem::exists(path);
  fovea::PlanFile file = is_there ? fovea::load_plan_file(path) : fovea::PlanFile::here();
  for (const fovea::Pass pass : passes) {
    const std::vector<PlanEntry> timed = fovea::time_algorithms(problem, pass, options);
    file.set(timed.front());
    const std::string_view taken = predicted(timed.front(), options);
    if (json)
      print_json(timings_json(timed, taken));
    else
      print_timings(timed, taken);
  }
  if (path.empty()) return;
  fovea::save_plan_file(file, path);
  if (!json) fmt::print("{}: {} plans, for --plan-file\n", path, file.entries.size());
}

}  // namespace cli
