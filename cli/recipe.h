// Recipes: the settings of a training in a file.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

namespace cli {

// Reads lines of `NAME = VALUE`, named as the options of `fovea train` that decide its result;
// # starts a comment, a flag has the value true. Gives each to its option of `app`, unless the
// command line has it. Throws Misuse, with file and line, for what an option refuses and for names
// that are unknown or there twice.
void apply_recipe(const std::string& path, CLI::App& app);

}  // namespace cli
