// Text from files that are not trusted, made fit for messages.
#pragma once

#include <string>
#include <string_view>

namespace fovea {

// UTF-8, in which control characters, which could drive a terminal, and bytes that are no UTF-8 are
// written as \xNN.
std::string printable(std::string_view text);

}  // namespace fovea
