#include "fovea/chart.h"

#include <gtest/gtest.h>

#include <cstddef>
#include <string>
#include <utility>

#include "support/errors.h"

namespace fovea::explain {
namespace {

using testing::error_of;

std::size_t count(const std::string& text, const std::string& part) {
  std::size_t found = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1))
    ++found;
  return found;
}

TEST(Chart, DrawsLinesWithTheirExpectationsAndRings) {
  const ChartLine line = {.name = "a<b",
                          .points = {{.x = 1, .y = 2, .note = "first"},
                                     {.x = 2, .y = 9, .marked = true, .note = "second"}},
                          .expected = {2, 4}};
  const std::string svg = chart_svg(
      "growth", {{.title = "p", .x = "n", .y = "ms", .lines = {line}}}, {"dashed: ideal"});
  EXPECT_TRUE(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
  EXPECT_EQ(count(svg, "stroke-dasharray"), 1U);
  EXPECT_EQ(count(svg, "class=\"ring\""), 1U);
  EXPECT_EQ(count(svg, "<title>second</title>"), 1U);
  EXPECT_EQ(count(svg, ">a&lt;b<"), 1U);
  EXPECT_EQ(count(svg, "a<b"), 0U);
}

TEST(Chart, LogarithmsNeedPositiveNumbers) {
  const auto chart = [](ChartLine line) {
    return chart_svg("", {{.title = "p", .x = "n", .y = "ms", .lines = {std::move(line)}}}, {});
  };
  EXPECT_CONTAINS(error_of([&] { chart({.name = "cost", .points = {{.x = 0, .y = 1}}}); }),
                  "'cost'", "positive");
  EXPECT_CONTAINS(error_of([&] {
                    chart({.name = "cost", .points = {{.x = 1, .y = 1}}, .expected = {1, 2}});
                  }),
                  "1 points", "2 expected");
  EXPECT_TRUE(chart({.name = "alone", .points = {{.x = 1, .y = 1}}}).ends_with("</svg>\n"));
}

}  // namespace
}  // namespace fovea::explain
