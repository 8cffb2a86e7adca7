// Pooling on raw channels-last memory [N, spatial..., C]; every inner loop runs over channels.
//
// Which cells a window reads is given by one table per spatial dimension; missing dimensions have
// size one and stand in front. The cells of a window are walked in row-major order, so the first
// maximum is the one NumPy would name.
#pragma once

#include <array>
#include <cstdint>

namespace fovea::kernels {

struct PoolAxis {
  const std::int32_t* cells = nullptr;   // of tap 0 of output 0: input cell, or negative outside it
  const std::int64_t* counts = nullptr;  // of each output: its factor of what a mean divides by
  std::int64_t tap_step = 1;             // to the entry of the next tap, and of the next output
  std::int64_t output_step = 1;
  std::int64_t taps = 1;
  std::int64_t outputs = 1;
  std::int64_t inputs = 1;

  std::int32_t at(std::int64_t tap, std::int64_t output) const {
    return cells[tap * tap_step + output * output_step];
  }
};

// The windows over one sample.
struct PoolPlane {
  std::array<PoolAxis, 3> axes;
  std::int64_t channels = 1;

  std::int64_t taps() const { return axes[0].taps * axes[1].taps * axes[2].taps; }
  std::int64_t outputs() const { return axes[0].outputs * axes[1].outputs * axes[2].outputs; }
  std::int64_t inputs() const { return axes[0].inputs * axes[1].inputs * axes[2].inputs; }
  // What the mean over a window divides by: one of row `row` over the outer two axes.
  std::int64_t divisor(std::int64_t row, std::int64_t output) const {
    return axes[0].counts[row / axes[1].outputs] * axes[1].counts[row % axes[1].outputs] *
           axes[2].counts[output];
  }
};

// Output cells [first, last) of all samples in a row: x [N, inputs, C] -> y, positions [N, outputs,
// C], which may be null. A NaN wins over any number, as in PyTorch. T is float or double.
template <class T>
void max_pool(const PoolPlane& plane, std::int64_t first, std::int64_t last, const T* x, T* y,
              std::int64_t* positions);

// Its gradient for one sample and channels [first, last): g, positions [outputs, C] -> dx [inputs,
// C]. A position outside of its window gets nothing.
template <class T>
void max_pool_backward(const PoolPlane& plane, std::int64_t first, std::int64_t last, const T* g,
                       const std::int64_t* positions, T* dx);

// Sum over each window, divided by the product of its axes' counts.
template <class T>
void avg_pool(const PoolPlane& plane, std::int64_t first, std::int64_t last, const T* x, T* y);

// The adjoint of avg_pool for one sample and channels [first, last): g [outputs, C] -> dx [inputs,
// C].
template <class T>
void avg_pool_backward(const PoolPlane& plane, std::int64_t first, std::int64_t last, const T* g,
                       T* dx);

// The p-norm (sum |x|^p)^(1/p) of each window, p > 0.
template <class T>
void lp_pool(const PoolPlane& plane, double p, std::int64_t first, std::int64_t last, const T* x,
             T* y);

// Its gradient for one sample and channels [first, last): dx gets g y^(1-p) |x|^(p-1) sign(x) from
// each window that reads it, and nothing where y is zero.
template <class T>
void lp_pool_backward(const PoolPlane& plane, double p, std::int64_t first, std::int64_t last,
                      const T* g, const T* x, const T* y, T* dx);

}  // namespace fovea::kernels
