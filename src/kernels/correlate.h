// The inner loop of correlating single-channel signals: the lanes are neighbouring outputs.
#pragma once

#include <cstdint>

namespace fovea::kernels {

// y[p] += sum over j < taps of x[p + j] * w[j], for p < count. T is float or double.
template <class T>
void correlate_row(const T* x, const T* w, std::int64_t taps, T* y, std::int64_t count);

}  // namespace fovea::kernels
