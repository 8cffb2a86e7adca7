# Embeds the suites of `fovea bench conv` in the program: one entry for each file of bench/suites,
# in the order of their names.
function(fovea_embed_suites target)
  file(GLOB suite_files CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/bench/suites/*.txt)
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${suite_files})
  set(entries "")
  foreach(suite_file IN LISTS suite_files)
    cmake_path(GET suite_file STEM name)
    file(READ ${suite_file} text)
    string(APPEND entries "    {\"${name}\", R\"suite(${text})suite\"},\n")
  endforeach()
  set(source ${PROJECT_BINARY_DIR}/generated/suites.cpp)
  file(CONFIGURE OUTPUT ${source} @ONLY CONTENT [[
// Generated from bench/suites.
#include "bench_problems.h"

namespace cli {
namespace {

constexpr Suite kSuites[] = {
@entries@};

}  // namespace

std::span<const Suite> suites() {
  return kSuites;
}

}  // namespace cli
]])
  target_sources(${target} PRIVATE ${source})
endfunction()
