// Learning-rate schedules, as functions of progress: nothing to keep, nothing to resume.
//
// To add one: a name in Schedule::Kind and a case here.
#include <cmath>
#include <numbers>
#include <string_view>

#include "core/check.h"
#include "fovea/optim.h"
#include "optim/parameters.h"

namespace fovea::optim {
namespace {

// From `start` to `end` along half a cosine, for t from 0 to 1.
double along_cosine(double start, double end, double t) {
  return end + (start - end) * (1 + std::cos(std::numbers::pi * t)) / 2;
}

// `t`: progress within what follows the rise. Milestones are places in the whole.
double after_rise(const Schedule& schedule, double progress, double t) {
  switch (schedule.kind) {
    case Schedule::Kind::constant:
      return schedule.peak;
    case Schedule::Kind::step: {
      double rate = schedule.peak;
      for (const double milestone : schedule.milestones)
        if (progress >= milestone) rate *= schedule.step_factor;
      return rate;
    }
    case Schedule::Kind::linear:
      return schedule.peak * (1 - t);
    case Schedule::Kind::cosine:
      return along_cosine(schedule.peak, 0, t);
    case Schedule::Kind::one_cycle:
      return along_cosine(schedule.peak,
                          schedule.peak / schedule.start_factor / schedule.final_factor, t);
  }
  FOVEA_ASSERT(false);
}

}  // namespace

double learning_rate(const Schedule& schedule, double progress) {
  const auto require = [](std::string_view option, double value, bool valid,
                          std::string_view range) {
    require_number("learning_rate", option, value, valid, range);
  };
  const bool one_cycle = schedule.kind == Schedule::Kind::one_cycle;
  const double rise = schedule.warmup.value_or(one_cycle ? 0.3 : 0.0);
  require("progress", progress, progress >= 0 && progress <= 1, "between 0 and 1");
  require("peak", schedule.peak, schedule.peak >= 0, "at least 0");
  require("warmup", rise, rise >= 0 && rise <= 1, "between 0 and 1");
  require("start_factor", schedule.start_factor, schedule.start_factor > 0, "above 0");
  require("final_factor", schedule.final_factor, schedule.final_factor > 0, "above 0");
  require("step_factor", schedule.step_factor, schedule.step_factor >= 0, "at least 0");
  const double start = schedule.peak / schedule.start_factor;
  if (progress < rise) {
    const double t = progress / rise;
    return one_cycle ? along_cosine(start, schedule.peak, t) : start + (schedule.peak - start) * t;
  }
  if (rise == 1) return schedule.peak;
  return after_rise(schedule, progress, (progress - rise) / (1 - rise));
}

}  // namespace fovea::optim
