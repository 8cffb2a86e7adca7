// A matrix turned round, as the weight gradient needs it: its sums have the output channels in
// front, a weight has them at the back.
#pragma once

#include <cstdint>

namespace fovea::kernels {

// out[j * out_step + i] = rows[i][j] for i < count and j < width.
template <class T>
void transpose(const T* const* rows, std::int64_t count, std::int64_t width, T* out,
               std::int64_t out_step);

}  // namespace fovea::kernels
