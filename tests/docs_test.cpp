// docs/lectures.md names tests: each of them must exist.
#include <gtest/gtest.h>

#include <regex>
#include <set>
#include <string>

#include "support/files.h"

namespace fovea::testing {
namespace {

std::set<std::string> names_of_all_tests() {
  std::set<std::string> names;
  const auto& program = *::testing::UnitTest::GetInstance();
  for (int i = 0; i < program.total_test_suite_count(); ++i) {
    const ::testing::TestSuite& suite = *program.GetTestSuite(i);
    for (int j = 0; j < suite.total_test_count(); ++j) {
      names.insert(std::string(suite.name()) + '.' + suite.GetTestInfo(j)->name());
    }
  }
  return names;
}

// Every `Suite.Name` of a text.
std::set<std::string> tests_named_in(const std::string& text) {
  static const std::regex kTest("`([A-Z][A-Za-z0-9]*\\.[A-Z][A-Za-z0-9]*)`");
  std::set<std::string> names;
  for (auto it = std::sregex_iterator(text.begin(), text.end(), kTest);
       it != std::sregex_iterator(); ++it) {
    names.insert((*it)[1]);
  }
  return names;
}

TEST(Docs, EveryTestNamedInTheListOfLecturesExists) {
  const std::string text = read_file(FOVEA_SOURCE_DIR "/docs/lectures.md");
  const std::set<std::string> named = tests_named_in(text);
  EXPECT_GT(named.size(), 40U);
  const std::set<std::string> known = names_of_all_tests();
  for (const std::string& name : named) EXPECT_TRUE(known.contains(name)) << name;
}

TEST(Docs, EveryLectureTestIsNamedInTheList) {
  const std::string text = read_file(FOVEA_SOURCE_DIR "/docs/lectures.md");
  const std::set<std::string> named = tests_named_in(text);
  for (const std::string& name : names_of_all_tests()) {
    EXPECT_TRUE(!name.starts_with("Lecture") || named.contains(name)) << name;
  }
}

}  // namespace
}  // namespace fovea::testing
