// fovea conv --matrix and --patches, as their users meet them.
#include <gtest/gtest.h>

#include "support/errors.h"
#include "support/program.h"

namespace fovea {
namespace {

using testing::Json;
using testing::lines_of;
using testing::Result;
using testing::run;

TEST(ConvMatrix, PrintsNamesAndDots) {
  const Result result = run("conv ic1iw4oc1kw3pw1 --matrix --patches");
  ASSERT_EQ(result.code, 0) << result.err;
  EXPECT_CONTAINS(result.out, "4 x 4 matrix W", "w0 to w2",
                  "  w1 w2  .  .\n  w0 w1 w2  .\n   . w0 w1 w2\n   .  . w0 w1\n", "4 x 3 matrix X",
                  "   . x0 x1\n  x0 x1 x2\n  x1 x2 x3\n  x2 x3  .\n");
}

TEST(ConvMatrix, AveragesOverShifts) {
  const Result names = run("conv ic1iw4oc1kw3pw1 --matrix --average-over-shifts");
  ASSERT_EQ(names.code, 0) << names.err;
  EXPECT_CONTAINS(names.out, "      w1 0.75w2      . 0.75w0\n");
  const Result numbers =
      run("conv ic1iw4oc1kw3pw1 --matrix --average-over-shifts --weights 4,1,-8 --json");
  ASSERT_EQ(numbers.code, 0) << numbers.err;
  const std::vector<Json> lines = lines_of(numbers.out);
  ASSERT_EQ(lines.size(), 3U);
  EXPECT_EQ(lines[1]["entries"][0], Json({"1", "-8", "0", "0"}));
  EXPECT_EQ(lines[2]["entries"][0], Json({"1", "-6", "0", "3"}));
}

TEST(ConvMatrix, MisuseIsNamed) {
  const auto misuse = [](const std::string& arguments) {
    const Result result = run("conv " + arguments);
    EXPECT_EQ(result.code, 2) << arguments;
    EXPECT_EQ(result.out, "") << arguments;  // not the report first
    return result.err;
  };
  EXPECT_CONTAINS(misuse("ic1ih30oc1kh3 --matrix"), "784 x 900", "64 x 64");
  EXPECT_CONTAINS(misuse("ic1iw4oc1kw3 --matrix --average-over-shifts"), "as many outputs");
  EXPECT_CONTAINS(misuse("ic1iw4oc1kw3 --matrix --weights 1,2"), "2 numbers", "3");
  EXPECT_CONTAINS(misuse("ic1iw4oc1kw3 --average-over-shifts"), "--matrix");
}

}  // namespace
}  // namespace fovea
