# Finds what the build needs. A missing piece is reported with the Debian package that brings it.

set(missing_packages "")

# fovea_find(<package> <target> <Debian package>): find_package that notes what is missing.
macro(fovea_find package target debian_package)
  find_package(${package} QUIET)
  if(NOT TARGET ${target})
    list(APPEND missing_packages ${debian_package})
  endif()
endmacro()

set(THREADS_PREFER_PTHREAD_FLAG ON)
find_package(Threads REQUIRED)
fovea_find(hwy hwy::hwy libhwy-dev)
fovea_find(fmt fmt::fmt libfmt-dev)
fovea_find(PNG PNG::PNG libpng-dev)
fovea_find(ZLIB ZLIB::ZLIB zlib1g-dev)
fovea_find(nlohmann_json nlohmann_json::nlohmann_json nlohmann-json3-dev)
fovea_find(TBB TBB::tbb libtbb-dev)

if(FOVEA_BUILD_PROGRAM)
  fovea_find(CLI11 CLI11::CLI11 libcli11-dev)
endif()
if(FOVEA_BUILD_TESTS)
  fovea_find(GTest GTest::gtest_main libgtest-dev)
  fovea_find(rapidcheck rapidcheck librapidcheck-dev)
endif()
if(FOVEA_BUILD_BENCH)
  fovea_find(benchmark benchmark::benchmark libbenchmark-dev)
endif()

if(missing_packages)
  list(JOIN missing_packages " " missing_packages)
  message(FATAL_ERROR
    "Not found, by Debian package: ${missing_packages}\n"
    "Run ./dev setup, or: sudo apt-get install ${missing_packages}")
endif()
