// docs/operators.md has a row for every operator, and no row for anything else.
#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <sstream>
#include <string>

#include "ops/op.h"
#include "support/files.h"

namespace fovea::testing {
namespace {

// The names in backticks in a piece of text.
std::multiset<std::string> quoted(const std::string& text) {
  std::multiset<std::string> names;
  std::size_t open = text.find('`');
  while (open != std::string::npos) {
    const std::size_t close = text.find('`', open + 1);
    names.insert(text.substr(open + 1, close - open - 1));
    open = text.find('`', close + 1);
  }
  return names;
}

TEST(OperatorDocumentation, HasARowForEveryOperatorAndForNothingElse) {
  std::multiset<std::string> documented;
  std::istringstream lines(read_file(FOVEA_SOURCE_DIR "/docs/operators.md"));
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with("| `")) continue;
    EXPECT_EQ(std::count(line.begin(), line.end(), '|') -
                  2 * static_cast<std::ptrdiff_t>(line.find("\\|") != std::string::npos),
              6)
        << "a row has five cells: " << line;
    documented.merge(quoted(line.substr(0, line.find('|', 1))));
  }
  std::multiset<std::string> known;
  for (const OpDef* op : operators()) known.insert(std::string(op->name));
  EXPECT_EQ(documented, known);
}

TEST(OperatorDocumentation, NamesOnlyFunctionsThatExist) {
  const std::string functions = read_file(FOVEA_SOURCE_DIR "/include/fovea/functions.h");
  const std::string page = read_file(FOVEA_SOURCE_DIR "/docs/operators.md");
  const std::string section = page.substr(page.find("## Functions made of operators"));
  ASSERT_FALSE(quoted(section).empty());
  for (const std::string& name : quoted(section)) {
    EXPECT_NE(functions.find("Tensor " + name + "("), std::string::npos) << name;
  }
}

}  // namespace
}  // namespace fovea::testing
