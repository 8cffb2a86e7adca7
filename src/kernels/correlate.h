// The inner loop of correlating single-channel signals: the lanes are neighbouring outputs.
#pragma once

#include <cstdint>

namespace fovea::kernels {

// y[p] += sum over j < taps of x[p + j] * w[j], for p < count.
void correlate_row(const float* x, const float* w, std::int64_t taps, float* y, std::int64_t count);
void correlate_row(const double* x, const double* w, std::int64_t taps, double* y,
                   std::int64_t count);

}  // namespace fovea::kernels
