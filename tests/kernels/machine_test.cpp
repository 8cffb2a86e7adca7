// The measured limits of the machine: only what must hold on any machine, at any load.
#include <gtest/gtest.h>

#include <cmath>

#include "fovea/machine.h"
#include "fovea/memory.h"
#include "support/errors.h"
#include "support/settings.h"

namespace fovea {
namespace {

TEST(Machine, SpeedsArePositiveOnEveryTargetAndType) {
  testing::for_simd_targets([] {
    for (const DType dtype : {DType::float32, DType::float64}) {
      const MachineSpeed speed = measure_machine(dtype);
      EXPECT_TRUE(std::isfinite(speed.peak_gflops) && speed.peak_gflops > 0) << speed.peak_gflops;
      EXPECT_TRUE(std::isfinite(speed.copy_gbytes) && speed.copy_gbytes > 0) << speed.copy_gbytes;
    }
  });
}

TEST(Machine, LeavesNothingInTheTensorCache) {
  const MemoryStats before = memory_stats();
  measure_machine();
  const MemoryStats after = memory_stats();
  EXPECT_EQ(after.in_use, before.in_use);
  EXPECT_EQ(after.cached, before.cached);
  EXPECT_EQ(after.high_water, before.high_water);
}

TEST(Machine, RefusesIntegers) {
  EXPECT_CONTAINS(testing::error_of([] { measure_machine(DType::int64); }), "int64");
}

}  // namespace
}  // namespace fovea
