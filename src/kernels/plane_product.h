// The inner loops of convolutions with few channels, on raw memory: a vector runs along the
// positions of a row, and every channel has rows (planes) of its own. A strip is one vector of
// positions.
#pragma once

#include <cstdint>

namespace fovea::kernels {

inline constexpr int kMaxPlanes = 8;  // output channels of one product
inline constexpr int kMaxStrips = 8;  // of one product, and taps of one gradient

// Sizes of the register tile for this many planes on the SIMD target in use.
struct StripTile {
  int lanes = 0;   // positions of a strip
  int strips = 0;  // of a product, at most kMaxStrips
  int taps = 0;    // of one strip gradient
};
template <class T>
StripTile strip_tile(int planes);

// out[(s * planes + p) * lanes + i] = start[p] + sum over t of weights[t * planes + p] *
// sources[s][offsets[t] + i], added up in the order of t. A whole vector is read however many
// positions there are. T is float or double.
template <class T>
struct StripProduct {
  const T* const* sources;      // [strip_tile().strips]
  const std::int64_t* offsets;  // [taps]
  std::int64_t taps;
  const T* weights;  // [taps][planes]
  const T* start;    // [planes], or null for zeros
  T* out;            // [strips][planes][lanes]
  int planes;        // at most kMaxPlanes
};
template <class T>
void strip_product(const StripProduct<T>& job);

// sums[(t * planes + p) * lanes + i] += sum over q of gradients[q][p * plane_step + i] *
// sources[q][offsets[t] + i], in the order of q, for the first widths[q] lanes i; the others are
// neither read nor changed.
template <class T>
struct StripGradient {
  const T* const* sources;      // [count]
  const T* const* gradients;    // [count]
  const std::int32_t* widths;   // [count]
  std::int64_t count;           // of strips
  std::int64_t plane_step;      // between the gradients of two planes
  const std::int64_t* offsets;  // [strip_tile().taps]
  T* sums;                      // [strip_tile().taps][planes][lanes]
  int planes;
};
template <class T>
void strip_gradient(const StripGradient<T>& job);

// out[i] = the sum of lanes of sums[i * lanes ...] for i < count.
void sum_lanes(std::int64_t count, const float* sums, float* out);
void sum_lanes(std::int64_t count, const double* sums, double* out);

}  // namespace fovea::kernels
