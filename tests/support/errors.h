// Checks of error messages.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <string_view>

#include "fovea/error.h"

namespace fovea::testing {

// `body` throws Error whose message has each of `parts` in it.
template <class Body>
void expect_error(const Body& body, std::initializer_list<std::string_view> parts) {
  try {
    body();
  } catch (const Error& error) {
    const std::string message = error.what();
    for (const std::string_view part : parts) {
      EXPECT_NE(message.find(part), std::string::npos)
          << "'" << part << "' is missing in: " << message;
    }
    return;
  }
  ADD_FAILURE() << "no Error was thrown";
}

}  // namespace fovea::testing
