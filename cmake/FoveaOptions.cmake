# Compiler settings of everything built here, as two interface targets:
#   fovea_options  warnings, reproducible arithmetic, sanitizers;
#   fovea_simd     the baseline CPU and which SIMD targets Highway compiles.

if(PROJECT_IS_TOP_LEVEL AND NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "Build type" FORCE)
endif()

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)

find_program(CCACHE_PROGRAM ccache)
if(CCACHE_PROGRAM AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CCACHE_PROGRAM})
endif()

add_library(fovea_options INTERFACE)
target_compile_options(fovea_options INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion
  # Whether a*b+c is fused is the source's decision (hn::MulAdd), not the compiler's: results are the
  # same for every compiler and optimization level.
  -ffp-contract=off)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # GCC 12 reports these inside its own standard library once everything is inlined.
  target_compile_options(fovea_options INTERFACE
    -Wno-restrict -Wno-maybe-uninitialized -Wno-stringop-overflow -Wno-array-bounds)
endif()
if(FOVEA_WERROR)
  target_compile_options(fovea_options INTERFACE -Werror)
endif()

if(FOVEA_SANITIZE STREQUAL "address")
  set(sanitize_flags -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer)
elseif(FOVEA_SANITIZE STREQUAL "thread")
  set(sanitize_flags -fsanitize=thread -fno-omit-frame-pointer)
elseif(FOVEA_SANITIZE STREQUAL "fuzzer")
  if(NOT CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
    message(FATAL_ERROR "FOVEA_SANITIZE=fuzzer needs Clang, which has libFuzzer")
  endif()
  set(sanitize_flags -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all
                     -fno-omit-frame-pointer)
elseif(FOVEA_SANITIZE)
  message(FATAL_ERROR
    "FOVEA_SANITIZE is '${FOVEA_SANITIZE}'; it can be empty, address, thread or fuzzer")
endif()
if(FOVEA_SANITIZE)
  target_compile_definitions(fovea_options INTERFACE _GLIBCXX_ASSERTIONS)
  target_compile_options(fovea_options INTERFACE ${sanitize_flags})
  target_link_options(fovea_options INTERFACE ${sanitize_flags})
endif()

# x86-64-v2 (SSE4.2) is the least CPU served. Highway adds AVX2 and AVX-512 versions of every kernel
# and picks at run time; its other targets would only lengthen the build.
add_library(fovea_simd INTERFACE)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|amd64|AMD64)$")
  target_compile_options(fovea_simd INTERFACE -msse4.2)
  target_compile_definitions(fovea_simd INTERFACE
    "HWY_DISABLED_TARGETS=(HWY_SSSE3|HWY_AVX3_DL)" HWY_DISABLE_PCLMUL_AES)
endif()
# One SIMD target is enough where kernels are not what is tested: for races and for parsers.
if(FOVEA_SANITIZE MATCHES "^(thread|fuzzer)$")
  target_compile_definitions(fovea_simd INTERFACE HWY_COMPILE_ONLY_STATIC)
endif()
