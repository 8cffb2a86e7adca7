// The convolutions that `fovea bench conv` measures: from descriptors, files and suites.
#pragma once

#include <fovea/fovea.h>
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

}  // namespace cli
