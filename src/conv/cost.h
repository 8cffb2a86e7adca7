// What a pass costs, in processor cycles of one core: a model with few constants, by which `auto`
// compares algorithms and winograd its tiles.
//
// A pass takes as long as its arithmetic, or as its bytes take from memory, whichever is longer;
// what has to be transformed first is added to the arithmetic. Cycles of one core, because the
// choice must not depend on the number of threads.
#pragma once

#include <cstdint>

#include "fovea/conv.h"

namespace fovea::conv {

// The SIMD target in use, for values of one type. Measured on Zen 5; what counts are the ratios.
struct CoreModel {
  std::int64_t lanes = 1;
  double multiply_adds = 1;      // per cycle, in a register tile that is full
  double direct_share = 0.92;    // of that, which `direct` reaches
  double winograd_share = 0.85;  // and the products of `winograd`, which read more from caches
  double point_cycles = 5;       // to transform one vector at one point, forth or back
  double memory_bytes = 6;       // per cycle, of one of two cores that both read
  double cache_bytes = 24;       // per cycle, from the last-level cache
};
CoreModel core_model(DType dtype);

// Of `direct`.
double direct_cycles(const ConvProblem& problem, Pass pass);

}  // namespace fovea::conv
