// fovea info: the version, what it runs on, and what it knows.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <memory>

#include "commands.h"
#include "support.h"

namespace cli {
namespace {

#if defined(__clang__)
constexpr const char* kCompiler = "clang " __clang_version__;
#else
constexpr const char* kCompiler = "gcc " __VERSION__;
#endif

template <class List>
std::vector<std::string> names(const List& list) {
  std::vector<std::string> out;
  for (const auto& entry : list) out.emplace_back(entry.name);
  return out;
}

void info(bool json) {
  const Json facts = {{"version", fovea::version()},
                      {"simd", fovea::simd_target()},
                      {"simd_targets", fovea::simd_targets()},
                      {"threads", fovea::num_threads()},
                      {"compiler", kCompiler},
                      {"networks", names(fovea::models::list())},
                      {"data_sets", names(fovea::data::sources())},
                      {"algorithms", names(fovea::algorithms())}};
  if (json) {
    print_json(facts);
    return;
  }
  for (const auto& [key, value] : facts.items()) {
    std::string text = value.is_string() ? value.get<std::string>() : value.dump();
    if (value.is_array())
      text = fmt::format("{}", fmt::join(value.get<std::vector<std::string>>(), ", "));
    fmt::print("{:<13} {}\n", key, text);
  }
}

}  // namespace

Action info_command(CLI::App& app) {
  const auto json = std::make_shared<bool>(false);
  add_threads(app);
  app.add_flag("--json", *json, "Print one JSON object");
  app.footer("Example:\n  fovea info");
  return [json] { info(*json); };
}

}  // namespace cli
