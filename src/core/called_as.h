// Errors of what is made of other operators.
#pragma once

#include <fmt/format.h>

#include <string_view>

#include "core/check.h"

namespace fovea {

// body(); the message of an error in it begins with the name of what the user called.
template <class Body>
auto called_as(std::string_view name, const Body& body) {
  try {
    return body();
  } catch (const Error& error) {
    throw_error(fmt::format("{}: {}", name, error.what()));
  }
}

}  // namespace fovea
