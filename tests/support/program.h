// The program as its users meet it: run as a process, judged by its output and its exit code.
#pragma once

#include <gtest/gtest.h>
#include <sys/wait.h>

#include <array>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "support/files.h"

namespace fovea::testing {

using Json = nlohmann::json;

struct Result {
  int code = -1;
  std::string out;
  std::string err;
};

// Runs `PROGRAM ARGUMENTS` through the shell; `environment` is set in front: "FOVEA_THREADS=2".
inline Result run_program(const std::string& program, const std::string& arguments,
                          const std::string& environment = "") {
  const TempFolder folder;
  const std::string command =
      environment + " '" + program + "' " + arguments + " 2>'" + (folder / "err") + "'";
  Result result;
  FILE* pipe = popen(command.c_str(), "r");
  if (pipe == nullptr) return result;
  std::array<char, 4096> buffer{};
  while (const std::size_t count = std::fread(buffer.data(), 1, buffer.size(), pipe)) {
    result.out.append(buffer.data(), count);
  }
  const int status = pclose(pipe);
  result.code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  result.err = read_file(folder / "err");
  return result;
}

inline Result run(const std::string& arguments, const std::string& environment = "") {
  return run_program(FOVEA_PROGRAM, arguments, environment);
}

// One object per line.
inline std::vector<Json> lines_of(const std::string& text) {
  std::vector<Json> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(Json::parse(line));
  return lines;
}

inline void expect_keys(const Json& object, const std::vector<std::string>& keys) {
  for (const std::string& key : keys) EXPECT_TRUE(object.contains(key)) << key << " in " << object;
}

}  // namespace fovea::testing
