// How the work of a call is cut into tasks: from the problem alone, for the cut decides the bits of
// a sum, and these must not depend on the number of threads.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>

namespace fovea::conv {

// At most so many as keep some sixteen cores busy and start quickly.
inline constexpr std::int64_t kTasks = 32;

// As many as have `least` multiply-adds each, which should take some microseconds.
inline std::int64_t tasks_for(double multiply_adds, double least = 1 << 20) {
  return static_cast<std::int64_t>(
      std::clamp(multiply_adds / least, 1.0, static_cast<double>(kTasks)));
}

// A power of two of them, which most numbers of cores divide.
inline std::int64_t even_tasks_for(double multiply_adds, double least = 1 << 18) {
  const std::int64_t tasks = tasks_for(multiply_adds, least);
  return static_cast<std::int64_t>(std::bit_floor(static_cast<std::uint64_t>(tasks)));
}

}  // namespace fovea::conv
