// docs/algorithms.md has a row for every algorithm, in the order in which they are asked.
#include <gtest/gtest.h>

#include <algorithm>
#include <sstream>
#include <string>
#include <vector>

#include "fovea/conv.h"
#include "support/files.h"

namespace fovea::testing {
namespace {

TEST(AlgorithmDocumentation, HasARowForEveryAlgorithmInTheOrderOfAsking) {
  std::vector<std::string> documented;
  std::istringstream lines(read_file(FOVEA_SOURCE_DIR "/docs/algorithms.md"));
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with("| `")) continue;
    EXPECT_EQ(std::count(line.begin(), line.end(), '|'), 7) << "a row has six cells: " << line;
    documented.push_back(line.substr(3, line.find('`', 3) - 3));
  }
  std::vector<std::string> known;
  for (const ConvAlgorithmInfo& algorithm : algorithms()) known.emplace_back(algorithm.name);
  EXPECT_EQ(documented, known);
}

}  // namespace
}  // namespace fovea::testing
