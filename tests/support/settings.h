// Process-wide settings, for as long as a test needs them.
#pragma once

#include <gtest/gtest.h>

#include <string>

#include "fovea/executor.h"
#include "fovea/version.h"

namespace fovea::testing {

// A number of threads, for the rest of a scope.
class ThreadGuard {
 public:
  explicit ThreadGuard(int count) : before_(num_threads()) { set_num_threads(count); }
  ~ThreadGuard() { set_num_threads(before_); }

 private:
  int before_;
};

// One SIMD target, for the rest of a scope.
class TargetGuard {
 public:
  explicit TargetGuard(const std::string& name) { set_simd_target(name); }
  ~TargetGuard() { set_simd_target(""); }
};

// Calls body() with 1, 2 and 3 threads.
template <class Body>
void for_thread_counts(const Body& body) {
  const int before = num_threads();
  for (const int count : {1, 2, 3}) {
    set_num_threads(count);
    body();
  }
  set_num_threads(before);
}

// Calls body() on every SIMD target that this CPU and this build share.
template <class Body>
void for_simd_targets(const Body& body) {
  const std::string before = simd_target();
  for (const std::string& target : simd_targets()) {
    SCOPED_TRACE(target);
    set_simd_target(target);
    body();
  }
  // The best target is the first one; only a restriction that was there before is set again.
  set_simd_target(before == simd_targets().front() ? "" : before);
}

}  // namespace fovea::testing
