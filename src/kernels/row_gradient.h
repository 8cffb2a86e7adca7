// The inner loop of the weights' gradient where groups are a vector or a few wide: sums over the
// places of some rows.
#pragma once

#include <cstdint>

#include "kernels/group_product.h"

namespace fovea::kernels {

// sums[c * channel_step + k * lanes + j] += the sum over rows r and places p, in their order, of
// rows[r][cell(p, k) * inner.cell_values + c] * gradients[r][p * gradient_step + j], where cell(p,
// k) is none of the padding. `inner` is in line, and taps follow each other forward.
template <class T>
struct RowGradient {
  InnerAxis inner;
  const T* const* rows;       // [row_count]
  const T* const* gradients;  // [row_count]
  std::int64_t row_count = 0;
  std::int64_t source = 0;    // first channel of the rows
  std::int64_t channels = 0;  // a multiple of kGradientChannels
  std::int64_t gradient = 0;  // first channel of the gradients: one vector
  std::int64_t gradient_step = 0;
  T* sums;  // aligned
  std::int64_t channel_step = 0;
};
inline constexpr std::int64_t kGradientChannels = 4;
template <class T>
void row_gradient(const RowGradient<T>& job);

}  // namespace fovea::kernels
