// Text for messages: nothing in it can drive a terminal or is not UTF-8.
#include "core/printable.h"

#include <gtest/gtest.h>

namespace fovea {
namespace {

TEST(Printable, KeepsWhatCanBeShown) {
  for (const char* text : {"", "plain 'text'", "\\x00", "z\u00fcrich \u20ac \U0001f600", "\u00a0",
                           "\ud7ff\ue000", "\U0010ffff"}) {
    EXPECT_EQ(printable(text), text);
  }
}

TEST(Printable, EscapesControlCharacters) {
  EXPECT_EQ(printable("a\x1b[2J\n\x7f"), R"(a\x1b[2J\x0a\x7f)");
  EXPECT_EQ(printable(std::string_view("\0", 1)), R"(\x00)");
  EXPECT_EQ(printable("\u0080\u009f"), R"(\x80\x9f)");
}

TEST(Printable, EscapesWhatIsNotUtf8) {
  EXPECT_EQ(printable("\xff"
                      "a"),
            R"(\xffa)");
  EXPECT_EQ(printable("\x80"), R"(\x80)");          // starts nothing
  EXPECT_EQ(printable("\xe2\x82"), R"(\xe2\x82)");  // ends too early
  EXPECT_EQ(printable("\xe2\x82z"), R"(\xe2\x82z)");
  EXPECT_EQ(printable("\xc0\xaf"), R"(\xc0\xaf)");  // could be shorter
  EXPECT_EQ(printable("\xe0\x9f\xbf"), R"(\xe0\x9f\xbf)");
  EXPECT_EQ(printable("\xf0\x8f\xbf\xbf"), R"(\xf0\x8f\xbf\xbf)");
  EXPECT_EQ(printable("\xed\xa0\x80"), R"(\xed\xa0\x80)");          // half of a pair
  EXPECT_EQ(printable("\xf4\x90\x80\x80"), R"(\xf4\x90\x80\x80)");  // beyond the last character
}

}  // namespace
}  // namespace fovea
