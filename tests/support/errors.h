// Checks of messages: the error that a call ends with, and what a text must say.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

#include "fovea/error.h"

namespace fovea::testing {

// The message of the Error that `call` must throw; any other end is a failure of the test.
template <class Call>
std::string error_of(Call&& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  } catch (const std::exception& error) {
    ADD_FAILURE() << "expected fovea::Error, got: " << error.what();
    return "";
  }
  ADD_FAILURE() << "expected fovea::Error, but nothing was thrown";
  return "";
}

inline ::testing::AssertionResult contains(const char*, const char*, const std::string& text,
                                           const std::vector<std::string_view>& parts) {
  for (const std::string_view part : parts) {
    if (text.find(part) == std::string::npos) {
      return ::testing::AssertionFailure() << "'" << part << "' is missing in: " << text;
    }
  }
  return ::testing::AssertionSuccess();
}

}  // namespace fovea::testing

// `text` has each of the parts that follow in it.
#define EXPECT_CONTAINS(text, ...)                                   \
  EXPECT_PRED_FORMAT2(::fovea::testing::contains, std::string(text), \
                      (std::vector<std::string_view>{__VA_ARGS__}))
