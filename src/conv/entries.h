// Every product of a convolution of one sample, read from the patch table: what the matrix view and
// the algorithms that write patches or matrices out share.
#pragma once

#include <array>

#include "conv/axes.h"
#include "conv/patch_table.h"

namespace fovea::conv {

// One tap of one window: output position, tap and input cell as flat indices of their grids.
struct PatchEntry {
  std::int64_t position = 0;
  std::int64_t tap = 0;
  std::int64_t cell = 0;
};

// Whether every padding cell repeats an input cell (or counts for nothing), so that the entries say
// it all; one constant and means do not.
inline bool copies_cells(PaddingMode mode) {
  return mode != PaddingMode::constant && mode != PaddingMode::mean;
}

// Calls f(PatchEntry) for every tap that reads an input cell, position by position.
template <class F>
void for_each_patch_entry(const ConvProblem& problem, F&& f) {
  const std::array<ConvAxis, 3> axes = three_axes(problem);
  std::array<AxisTable, 3> tables;
  for (std::size_t a = 0; a < 3; ++a) tables[a] = make_axis_table(axes[a], problem.padding_mode);
  std::int64_t position = 0;
  for (int p0 = 0; p0 < tables[0].outputs; ++p0)
    for (int p1 = 0; p1 < tables[1].outputs; ++p1)
      for (int p2 = 0; p2 < tables[2].outputs; ++p2, ++position) {
        std::int64_t tap = 0;
        for (int k0 = 0; k0 < tables[0].taps; ++k0)
          for (int k1 = 0; k1 < tables[1].taps; ++k1)
            for (int k2 = 0; k2 < tables[2].taps; ++k2, ++tap) {
              const std::int64_t i0 = tables[0].at(k0, p0);
              const std::int64_t i1 = tables[1].at(k1, p1);
              const std::int64_t i2 = tables[2].at(k2, p2);
              if (i0 == kPaddingCell || i1 == kPaddingCell || i2 == kPaddingCell) continue;
              f(PatchEntry{position, tap, (i0 * axes[1].input + i1) * axes[2].input + i2});
            }
      }
}

// Calls f(output channel, input channel, index of their kernel) for each kernel of the weights.
template <class F>
void for_each_kernel(const ConvProblem& problem, F&& f) {
  const std::int64_t in = problem.in_channels / problem.groups;
  const std::int64_t out = problem.out_channels / problem.groups;
  for (std::int64_t o = 0; o < problem.out_channels; ++o)
    for (std::int64_t c = 0; c < in; ++c) f(o, o / out * in + c, o * in + c);
}

}  // namespace fovea::conv
