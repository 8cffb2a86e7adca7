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

# Formats that only some users want: without its library, a reader says so when it is called.
# fovea_format(<FORMAT> <pkg-config module> <Debian package>): with it, FORMAT is in
# optional_formats, and the target fovea_format_FORMAT links the library.
find_package(PkgConfig QUIET)
set(optional_formats "")
macro(fovea_format format module debian_package)
  if(FOVEA_WITH_${format})
    if(PkgConfig_FOUND)
      pkg_check_modules(FOVEA_${format} QUIET IMPORTED_TARGET ${module})
    endif()
    if(TARGET PkgConfig::FOVEA_${format})
      add_library(fovea_format_${format} INTERFACE)
      target_link_libraries(fovea_format_${format} INTERFACE PkgConfig::FOVEA_${format})
      list(APPEND optional_formats ${format})
    else()
      message(STATUS "Fovea is built without ${format}: there is no package ${debian_package}")
    endif()
  endif()
endmacro()

fovea_format(JPEG libjpeg libjpeg62-turbo-dev)
fovea_format(ZIP libzip libzip-dev)
fovea_format(AUDIO sndfile libsndfile1-dev)

if(missing_packages)
  list(JOIN missing_packages " " missing_packages)
  message(FATAL_ERROR
    "Not found, by Debian package: ${missing_packages}\n"
    "Run ./dev setup, or: sudo apt-get install ${missing_packages}")
endif()
