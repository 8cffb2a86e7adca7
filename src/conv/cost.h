// What a pass costs, in processor cycles of one core: a model with few constants, by which `auto`
// compares algorithms and winograd its tiles.
//
// A pass takes as long as its arithmetic, or as its bytes take to come and go, whichever is longer,
// and a part of the other; what has to be transformed first is added to the arithmetic. Cycles of
// one core, because the choice must not depend on the number of threads.
#pragma once

#include <cstdint>

#include "fovea/conv.h"

namespace fovea::conv {

// The SIMD target in use, for values of one type. Measured on Zen 5; what counts are the ratios.
struct CoreModel {
  std::int64_t lanes = 1;
  double multiply_adds = 1;      // per cycle, in a register tile that is full
  double memory_bytes = 6;       // per cycle, of one of two cores that both read
  double cache_bytes = 24;       // per cycle, from the last-level cache
  double cache_size = 12 << 20;  // what is larger does not stay there
  double start_cycles = 5000;    // to start a pass: tables, tasks, memory

  // To read so many bytes that are read again and again, or were just written.
  double read_cycles(double bytes) const {
    return bytes / (bytes > cache_size ? memory_bytes : cache_bytes);
  }
};
CoreModel core_model(DType dtype);

// Channels of one group, as factors of a cost.
inline double inputs_of_group(const ConvProblem& problem) {
  const std::int64_t channels = problem.in_channels / problem.groups;
  return static_cast<double>(channels);
}
inline double outputs_of_group(const ConvProblem& problem) {
  const std::int64_t channels = problem.out_channels / problem.groups;
  return static_cast<double>(channels);
}

// The start; and `arithmetic` cycles, or those that `bytes` take to come and go, as said above.
double pass_cycles(const CoreModel& model, double arithmetic, double bytes);
// To write a padded copy of so many bytes, or to fold it back.
double padding_cycles(double bytes, DType dtype);

}  // namespace fovea::conv
