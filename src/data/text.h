// Text, line by line, and the numbers in it.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace fovea::data {

// Takes the first line, without its end, off `rest`.
std::string_view take_line(std::string_view& rest);
// Takes what stands before the first `separator`, or all, off `rest`.
std::string_view take_until(std::string_view& rest, char separator);
// Without blanks at both ends.
std::string_view trimmed(std::string_view text);
// Without regard to the case of letters A to Z.
bool equal_words(std::string_view a, std::string_view b);

// The number that all of `text` is, in the notation of C, whatever the locale; nothing if it is
// none.
std::optional<double> number_of(std::string_view text);

}  // namespace fovea::data
