// See recipe.h. Values are checked and converted by the options themselves, so a recipe can say
// what the command line can, and nothing else.
#include "recipe.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <set>
#include <string_view>
#include <vector>

#include "commands.h"
#include "train_settings.h"

namespace cli {
namespace {

constexpr std::size_t kLongestLine = 4096;

std::string trimmed(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r";
  const std::size_t first = text.find_first_not_of(kSpace);
  if (first == std::string_view::npos) return {};
  return std::string(text.substr(first, text.find_last_not_of(kSpace) - first + 1));
}

class Recipe {
 public:
  Recipe(const std::string& path, CLI::App& app)
      : path_(path), app_(app), names_(setting_names()) {}

  void apply() {
    std::ifstream file(path_);
    if (!file) throw fovea::Error(fmt::format("cannot read '{}': {}", path_, std::strerror(errno)));
    std::string line;
    while (std::getline(file, line)) {
      ++line_;
      if (line.size() > kLongestLine) fail("is too long for a recipe");
      line = trimmed(std::string_view(line).substr(0, line.find('#')));
      if (!line.empty()) set(line);
    }
    if (file.bad()) throw fovea::Error(fmt::format("cannot read '{}'", path_));
  }

 private:
  void set(const std::string& line) {
    const std::size_t equals = line.find('=');
    if (equals == std::string::npos) fail("is not NAME = VALUE");
    const std::string name = trimmed(std::string_view(line).substr(0, equals));
    const std::string value = trimmed(std::string_view(line).substr(equals + 1));
    if (std::find(names_.begin(), names_.end(), name) == names_.end())
      fail(fmt::format("there is no setting '{}'; there are: {}", name, fmt::join(names_, ", ")));
    if (!seen_.insert(name).second) fail(fmt::format("{} is set twice", name));
    if (value.empty()) fail(fmt::format("{} has no value", name));
    CLI::Option* option = app_.get_option(name == "network" ? name : "--" + name);
    if (option->count() > 0) return;  // the command line has the last word
    try {
      option->add_result(value);
      option->run_callback();
    } catch (const CLI::ParseError& error) {
      fail(error.what());
    }
  }

  [[noreturn]] void fail(const std::string& why) const {
    throw Misuse(fmt::format("'{}', line {}: {}", path_, line_, why));
  }

  const std::string& path_;
  CLI::App& app_;
  const std::vector<std::string> names_;
  std::set<std::string> seen_;
  int line_ = 0;
};

}  // namespace

void apply_recipe(const std::string& path, CLI::App& app) {
  Recipe(path, app).apply();
}

}  // namespace cli
