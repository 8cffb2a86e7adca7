// fovea-peers, the separate program that times Fovea and other libraries side by side. It is run as
// a process: what it links would disturb this one.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "support.h"

namespace cli {

// Runs it with these arguments and `input` on its standard input, and hands over each object that
// it prints, as it comes. Throws Error where it is missing, fails, or prints something else.
void run_peers(const std::vector<std::string>& arguments, const std::string& input,
               const std::function<void(const Json&)>& each);

}  // namespace cli
