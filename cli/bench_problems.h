// The convolutions that `fovea bench conv` measures: from descriptors, files and suites.
#pragma once

#include <fovea/fovea.h>
#include <CLI/CLI.hpp>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace cli {

// A problem, and how often it occurs in its network.
struct CountedProblem {
  std::int64_t count = 1;
  fovea::ConvProblem problem;
};

// The convolutions of a network, as text: a file of bench/suites, embedded when the program is
// built.
struct Suite {
  std::string_view name;
  std::string_view text;
};
std::span<const Suite> suites();
std::vector<std::string_view> suite_names();

// Throws Misuse, with the names that there are.
std::vector<CountedProblem> problems_of_suite(const std::string& name);
// One problem a line, "3*DESCRIPTOR" where it occurs three times; # starts a comment. `path` - is
// standard input. Throws Error that names the line.
std::vector<CountedProblem> problems_of_file(const std::string& path);
// Throws Misuse.
std::vector<CountedProblem> problems_of_descriptors(const std::vector<std::string>& descriptors);

// Which problems and passes a command is to measure.
struct ProblemOptions {
  std::vector<std::string> descriptors;
  std::string file;
  std::string suite;
  std::vector<std::int64_t> batches;  // in place of the problems' own
  std::vector<std::string> passes;    // empty: all

  bool any() const { return !descriptors.empty() || !file.empty() || !suite.empty(); }
};
// `otherwise` says what is measured where no problem is named.
void add_problems(CLI::App& app, ProblemOptions& options, const std::string& otherwise);
// --passes alone.
void add_passes(CLI::App& app, ProblemOptions& options);
// Each problem that is named with each of the batches.
std::vector<CountedProblem> chosen_problems(const ProblemOptions& options);
// Those of all suites where none is named.
std::vector<CountedProblem> problems_or_all_suites(const ProblemOptions& options);
std::vector<fovea::Pass> chosen_passes(const ProblemOptions& options);

}  // namespace cli
