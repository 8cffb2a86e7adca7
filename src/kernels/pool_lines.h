// Pooling of few channels, which fill one vector or a part of it, so that what surrounds each
// window counts: its cells are listed once per row of windows, and a mean is first summed down the
// input rows, where neighbouring cells are one run, then along them.
#pragma once

#include "kernels/pool.h"

namespace fovea::kernels {

// Whether a cell's channels fit one vector of the SIMD target in use, so that the functions below
// are the faster ones. They compute what those of pool.h do, for all channels.
template <class T>
bool pools_by_lines(const PoolPlane& plane);

template <class T>
void max_pool_lines(const PoolPlane& plane, std::int64_t first, std::int64_t last, const T* x, T* y,
                    std::int64_t* positions);
template <class T>
void avg_pool_lines(const PoolPlane& plane, std::int64_t first, std::int64_t last, const T* x,
                    T* y);
template <class T>
void avg_pool_lines_backward(const PoolPlane& plane, const T* g, T* dx);

}  // namespace fovea::kernels
