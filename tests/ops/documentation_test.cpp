// docs/operators.md has a row for every operator, and no row for anything else; it names every
// option.
#include <gtest/gtest.h>

#include <algorithm>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

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

// The fields of `struct name {...};` in a header.
std::set<std::string> fields_of(const std::string& header, const std::string& name) {
  const std::size_t begin = header.find("struct " + name + " {");
  EXPECT_NE(begin, std::string::npos) << name;
  std::set<std::string> fields;
  std::istringstream lines(header.substr(begin, header.find("};", begin) - begin));
  static const std::regex kField(R"(^  [\w:]+ (\w+)( =.*)?;.*)");
  std::smatch found;
  for (std::string line; std::getline(lines, line);) {
    if (std::regex_match(line, found, kField)) fields.insert(found[1]);
  }
  return fields;
}

// The words of the options in the row that begins with `operator`.
std::set<std::string> options_of(const std::string& page, const std::string& op) {
  const std::size_t begin = page.find("| `" + op + "`");
  EXPECT_NE(begin, std::string::npos) << op;
  const std::string row = page.substr(begin, page.find('\n', begin) - begin);
  // The last cell but one; each ends in a bar.
  const std::size_t last = row.rfind('|', row.rfind('|') - 1);
  const std::size_t options = row.rfind('|', last - 1);
  static const std::regex kWord(R"(\w+)");
  const std::string cell = row.substr(options, last - options);
  std::set<std::string> words;
  for (std::sregex_iterator word(cell.begin(), cell.end(), kWord), end; word != end; ++word)
    words.insert(word->str());
  return words;
}

TEST(OperatorDocumentation, NamesEveryOption) {
  const std::vector<std::pair<std::string, std::vector<std::string>>> rows_of_options = {
      {"ConvOptions", {"conv"}},
      {"ConvTransposeOptions", {"conv_transpose"}},
      {"WindowOptions", {"unfold"}},
      {"LocallyConnectedOptions", {"local_product", "unfold"}},
      {"PadOptions", {"pad"}},
      {"PoolOptions", {"max_pool"}},
      {"AvgPoolOptions", {"avg_pool"}},
      {"LpPoolOptions", {"lp_pool"}},
      {"ResponseNormOptions", {"local_response_norm"}},
      {"UpsampleOptions", {"upsample"}}};
  const std::string header = read_file(FOVEA_SOURCE_DIR "/include/fovea/functions.h");
  const std::string page = read_file(FOVEA_SOURCE_DIR "/docs/operators.md");
  for (const auto& [options, rows] : rows_of_options) {
    std::set<std::string> documented;
    for (const std::string& row : rows) documented.merge(options_of(page, row));
    const std::set<std::string> fields = fields_of(header, options);
    EXPECT_FALSE(fields.empty()) << options;
    for (const std::string& field : fields)
      EXPECT_TRUE(documented.contains(field)) << options << "::" << field;
  }
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
