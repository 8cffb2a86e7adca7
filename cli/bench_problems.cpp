// See bench_problems.h. To add a suite: a file in bench/suites.
#include "bench_problems.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <iostream>
#include <sstream>

#include "commands.h"
#include "support.h"

namespace cli {
namespace {

using fovea::ConvProblem;

constexpr std::int64_t kMostOccurrences = 1'000'000;

// Without the comment, which starts with # at the beginning of a word, and without blanks around.
std::string without_comment(std::string line) {
  constexpr const char* kBlanks = " \t\r";
  for (std::size_t at = line.find('#'); at != std::string::npos; at = line.find('#', at + 1)) {
    if (at > 0 && line[at - 1] != ' ' && line[at - 1] != '\t') continue;
    line.resize(at);
    break;
  }
  const std::size_t first = line.find_first_not_of(kBlanks);
  if (first == std::string::npos) return {};
  return line.substr(first, line.find_last_not_of(kBlanks) + 1 - first);
}

// "3*DESCRIPTOR" or "DESCRIPTOR". A * in the name of a layer is none.
CountedProblem parse_counted(const std::string& text) {
  const std::size_t star = std::min(text.find('*'), text.find('"'));
  if (star == std::string::npos || text[star] != '*') return {1, ConvProblem::parse(text)};
  std::int64_t count = 0;
  const char* const end = text.data() + star;
  const auto [after, error] = std::from_chars(text.data(), end, count);
  if (error != std::errc() || after != end || count < 1 || count > kMostOccurrences) {
    throw fovea::Error(
        fmt::format("'{}' is no number of occurrences; before the * there must be a whole number "
                    "from 1 to {}, as in 3*ic64ih56oc64kh3ph1",
                    text.substr(0, star), kMostOccurrences));
  }
  return {count, ConvProblem::parse(text.substr(star + 1))};
}

std::vector<CountedProblem> read_problems(std::istream& stream, const std::string& source) {
  constexpr int kMostLines = 100'000;
  constexpr std::streamsize kLongestLine = 4096;
  std::vector<CountedProblem> problems;
  std::vector<char> buffer(kLongestLine);
  for (int number = 1; stream.getline(buffer.data(), kLongestLine); ++number) {
    if (number > kMostLines) {
      throw fovea::Error(fmt::format("{}: more than {} lines", source, kMostLines));
    }
    const std::string line = without_comment(buffer.data());
    if (line.empty()) continue;
    try {
      problems.push_back(parse_counted(line));
    } catch (const fovea::Error& error) {
      throw fovea::Error(fmt::format("{}, line {}: {}", source, number, error.what()));
    }
  }
  if (!stream.eof()) {
    throw fovea::Error(fmt::format("{}: cannot be read, or a line is longer than {} characters",
                                   source, kLongestLine - 1));
  }
  if (problems.empty()) throw fovea::Error(source + ": there is no problem in it");
  return problems;
}

}  // namespace

std::vector<std::string_view> suite_names() {
  std::vector<std::string_view> names;
  for (const Suite& suite : suites()) names.push_back(suite.name);
  return names;
}

std::vector<CountedProblem> problems_of_suite(const std::string& name) {
  const std::span<const Suite> known = suites();
  const auto found =
      std::find_if(known.begin(), known.end(), [&](const Suite& one) { return one.name == name; });
  if (found == known.end()) {
    throw Misuse(fmt::format("--suite: there is no suite '{}'; known: {}", name,
                             fmt::join(suite_names(), ", ")));
  }
  std::istringstream stream{std::string(found->text)};
  return read_problems(stream, "suite " + name);
}

std::vector<CountedProblem> problems_of_file(const std::string& path) {
  if (path == "-") return read_problems(std::cin, "standard input");
  std::ifstream stream(path);
  if (!stream) throw fovea::Error(fmt::format("--problems: cannot open '{}'", path));
  return read_problems(stream, path);
}

std::vector<CountedProblem> problems_of_descriptors(const std::vector<std::string>& descriptors) {
  std::vector<CountedProblem> problems;
  for (const std::string& descriptor : descriptors) {
    try {
      problems.push_back(parse_counted(descriptor));
    } catch (const fovea::Error& error) {
      throw Misuse(error.what());
    }
  }
  return problems;
}

void add_passes(CLI::App& app, ProblemOptions& options) {
  app.add_option("--passes", options.passes,
                 "Passes: fwd, bwd_d, bwd_w, or their long names (default: all)")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->type_name("NAME[,NAME..]");
}

void add_problems(CLI::App& app, ProblemOptions& options, const std::string& otherwise) {
  auto* descriptors =
      app.add_option("descriptors", options.descriptors,
                     fmt::format("Problems, as oneDNN's benchdnn writes them; `fovea conv --help` "
                                 "explains the letters (default: {})",
                                 otherwise))
          ->type_name("DESCRIPTOR");
  auto* problems =
      app.add_option("--problems", options.file,
                     "File with a problem in each line, - for standard input; 3*DESCRIPTOR occurs "
                     "three times, # starts a comment")
          ->excludes(descriptors)
          ->type_name("FILE");
  app.add_option("--suite", options.suite,
                 fmt::format("The convolutions of a network, each as often as it occurs: {}",
                             fmt::join(suite_names(), ", ")))
      ->excludes(descriptors)
      ->excludes(problems)
      ->type_name("NAME");
  add_passes(app, options);
  app.add_option("--mb", options.batches, "Batch sizes, in place of the problems' own")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->check(whole_number(1, 1 << 20))
      ->type_name("N[,N..]");
}

std::vector<CountedProblem> chosen_problems(const ProblemOptions& options) {
  std::vector<CountedProblem> problems = !options.suite.empty() ? problems_of_suite(options.suite)
                                         : !options.file.empty()
                                             ? problems_of_file(options.file)
                                             : problems_of_descriptors(options.descriptors);
  if (options.batches.empty()) return problems;
  std::vector<CountedProblem> all;
  for (const std::int64_t batch : options.batches) {
    for (CountedProblem& counted : problems) {
      counted.problem.batch = batch;
      counted.problem.validate();
      all.push_back(counted);
    }
  }
  return all;
}

std::vector<CountedProblem> problems_or_all_suites(const ProblemOptions& options) {
  if (options.any()) return chosen_problems(options);
  std::vector<CountedProblem> all;
  for (const std::string_view name : suite_names()) {
    ProblemOptions suite = options;
    suite.suite = name;
    for (const CountedProblem& counted : chosen_problems(suite)) all.push_back(counted);
  }
  return all;
}

std::vector<fovea::Pass> chosen_passes(const ProblemOptions& options) {
  if (options.passes.empty()) return {fovea::kPasses.begin(), fovea::kPasses.end()};
  std::vector<fovea::Pass> passes;
  for (const std::string& name : options.passes) passes.push_back(parse_pass(name, "--passes"));
  return passes;
}

}  // namespace cli
