// Learning-rate schedules, as functions of progress: nothing to keep, nothing to resume.
//
// To add one: a name in Schedule::Kind and a case here.
#include <cmath>
#include <numbers>

#include "core/check.h"
#include "fovea/optim.h"
#include "optim/parameters.h"

namespace fovea::optim {
namespace {

// From `start` to `end` along half a cosine, for t from 0 to 1.
double along_cosine(double start, double end, double t) {
  return end + (start - end) * (1 + std::cos(std::numbers::pi * t)) / 2;
}

double one_cycle(const Schedule& schedule, double progress) {
  const double start = schedule.peak / schedule.start_factor;
  const double rise = schedule.warmup;
  if (progress < rise) return along_cosine(start, schedule.peak, progress / rise);
  if (rise == 1) return schedule.peak;
  return along_cosine(schedule.peak, start / schedule.final_factor, (progress - rise) / (1 - rise));
}

}  // namespace

double learning_rate(const Schedule& schedule, double progress) {
  const auto require = [](std::string_view option, double value, bool valid,
                          std::string_view range) {
    require_number("learning_rate", option, value, valid, range);
  };
  require("progress", progress, progress >= 0 && progress <= 1, "between 0 and 1");
  require("peak", schedule.peak, schedule.peak >= 0, "at least 0");
  switch (schedule.kind) {
    case Schedule::Kind::constant:
      return schedule.peak;
    case Schedule::Kind::cosine:
      return along_cosine(schedule.peak, 0, progress);
    case Schedule::Kind::one_cycle:
      require("warmup", schedule.warmup, schedule.warmup >= 0 && schedule.warmup <= 1,
              "between 0 and 1");
      require("start_factor", schedule.start_factor, schedule.start_factor > 0, "above 0");
      require("final_factor", schedule.final_factor, schedule.final_factor > 0, "above 0");
      return one_cycle(schedule, progress);
  }
  FOVEA_ASSERT(false);
}

}  // namespace fovea::optim
