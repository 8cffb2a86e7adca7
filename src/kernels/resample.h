// Interpolation on raw channels-last memory: each output cell is a weighted sum of a few input
// cells, the product of one choice per axis. T is float or double.
#pragma once

#include <array>
#include <cstdint>

namespace fovea::kernels {

// One axis: output o reads input cells[o * taps + t] with weights[o * taps + t].
struct ResampleAxis {
  const std::int32_t* cells = nullptr;
  const double* weights = nullptr;
  std::int64_t taps = 1;  // 1 or 2
  std::int64_t outputs = 1;
  std::int64_t inputs = 1;
};

struct ResamplePlane {
  std::array<ResampleAxis, 3> axes;
  std::int64_t channels = 1;

  std::int64_t outputs() const { return axes[0].outputs * axes[1].outputs * axes[2].outputs; }
  std::int64_t inputs() const { return axes[0].inputs * axes[1].inputs * axes[2].inputs; }
};

// Output cells [first, last) of all samples in a row: x [N, inputs, C] -> y [N, outputs, C].
// `streamed`: as in stream.h.
template <class T>
void resample(const ResamplePlane& plane, bool streamed, std::int64_t first, std::int64_t last,
              const T* x, T* y);

}  // namespace fovea::kernels
