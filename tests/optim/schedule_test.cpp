// Learning-rate schedules at the places where their values are known.
#include <gtest/gtest.h>

#include "fovea/optim.h"
#include "support/errors.h"

namespace fovea::optim {
namespace {

using Kind = Schedule::Kind;
using testing::error_of;

TEST(Schedule, ConstantStays) {
  const Schedule schedule = {.kind = Kind::constant, .peak = 0.1};
  for (const double progress : {0.0, 0.3, 1.0}) EXPECT_EQ(learning_rate(schedule, progress), 0.1);
}

TEST(Schedule, CosineFallsFromThePeakToZero) {
  const Schedule schedule = {.kind = Kind::cosine, .peak = 0.1};
  EXPECT_DOUBLE_EQ(learning_rate(schedule, 0), 0.1);
  EXPECT_DOUBLE_EQ(learning_rate(schedule, 0.5), 0.05);
  EXPECT_DOUBLE_EQ(learning_rate(schedule, 1.0 / 3), 0.075);
  EXPECT_NEAR(learning_rate(schedule, 1), 0, 1e-17);
}

TEST(Schedule, OneCycleRisesAndFalls) {
  const Schedule schedule = {.kind = Kind::one_cycle,
                             .peak = 0.1,
                             .warmup = 0.25,
                             .start_factor = 25,
                             .final_factor = 1e4};
  EXPECT_DOUBLE_EQ(learning_rate(schedule, 0), 0.1 / 25);
  EXPECT_DOUBLE_EQ(learning_rate(schedule, 0.125), (0.1 / 25 + 0.1) / 2);
  EXPECT_DOUBLE_EQ(learning_rate(schedule, 0.25), 0.1);
  EXPECT_DOUBLE_EQ(learning_rate(schedule, 0.625), (0.1 + 0.1 / 25 / 1e4) / 2);
  EXPECT_DOUBLE_EQ(learning_rate(schedule, 1), 0.1 / 25 / 1e4);
}

TEST(Schedule, OneCycleMayOnlyRiseOrOnlyFall) {
  const Schedule falls = {.kind = Kind::one_cycle, .peak = 0.1, .warmup = 0};
  EXPECT_DOUBLE_EQ(learning_rate(falls, 0), 0.1);
  const Schedule rises = {.kind = Kind::one_cycle, .peak = 0.1, .warmup = 1};
  EXPECT_DOUBLE_EQ(learning_rate(rises, 0), 0.1 / 25);
  EXPECT_DOUBLE_EQ(learning_rate(rises, 1), 0.1);
}

TEST(Schedule, StepsFallAtMilestones) {
  const Schedule schedule = {
      .kind = Kind::step, .peak = 0.4, .milestones = {0.25, 0.5}, .step_factor = 0.5};
  EXPECT_EQ(learning_rate(schedule, 0), 0.4);
  EXPECT_EQ(learning_rate(schedule, 0.24), 0.4);
  EXPECT_EQ(learning_rate(schedule, 0.25), 0.2);
  EXPECT_EQ(learning_rate(schedule, 1), 0.1);
}

TEST(Schedule, LinearFallsToZero) {
  const Schedule schedule = {.kind = Kind::linear, .peak = 0.4};
  EXPECT_EQ(learning_rate(schedule, 0), 0.4);
  EXPECT_EQ(learning_rate(schedule, 0.75), 0.1);
  EXPECT_EQ(learning_rate(schedule, 1), 0);
}

TEST(Schedule, AnyMayWarmUp) {
  for (const Kind kind : {Kind::constant, Kind::step, Kind::linear, Kind::cosine}) {
    const Schedule schedule = {.kind = kind, .peak = 0.5, .warmup = 0.2, .start_factor = 5};
    EXPECT_DOUBLE_EQ(learning_rate(schedule, 0), 0.1);
    EXPECT_DOUBLE_EQ(learning_rate(schedule, 0.1), 0.3);
    EXPECT_DOUBLE_EQ(learning_rate(schedule, 0.2), 0.5);
  }
  const Schedule cosine = {.kind = Kind::cosine, .peak = 0.5, .warmup = 0.2};
  EXPECT_DOUBLE_EQ(learning_rate(cosine, 0.6), 0.25);  // the middle of what is left
  const Schedule steps = {.kind = Kind::step, .peak = 0.5, .warmup = 0.2, .milestones = {0.5}};
  EXPECT_DOUBLE_EQ(learning_rate(steps, 0.49), 0.5);
  EXPECT_DOUBLE_EQ(learning_rate(steps, 0.51), 0.05);
}

TEST(Schedule, ErrorsNameOptionAndRange) {
  EXPECT_CONTAINS(error_of([] { learning_rate({}, 1.5); }), "progress is 1.5", "between 0 and 1");
  EXPECT_CONTAINS(error_of([] { learning_rate({.peak = -1}, 0); }), "peak");
  EXPECT_CONTAINS(error_of([] { learning_rate({.kind = Kind::one_cycle, .warmup = 2}, 0); }),
                  "warmup");
  EXPECT_CONTAINS(error_of([] { learning_rate({.kind = Kind::one_cycle, .start_factor = 0}, 0); }),
                  "start_factor");
  EXPECT_CONTAINS(error_of([] { learning_rate({.kind = Kind::one_cycle, .final_factor = 0}, 0); }),
                  "final_factor");
}

}  // namespace
}  // namespace fovea::optim
