// Local response normalisation on raw channels-last rows. T is float or double.
#pragma once

#include <cstdint>

namespace fovea::kernels {

// d[c] = k + alpha / size times the sum of x^2 over channels [c - size / 2, c + (size - 1) / 2].
struct ResponseNorm {
  std::int64_t size = 5;
  double alpha = 1e-4;
  double beta = 0.75;
  double k = 2;
};

// y = x d^-beta for rows of `channels` elements.
template <class T>
void response_norm(const ResponseNorm& norm, std::int64_t rows, std::int64_t channels, const T* x,
                   T* y);
// dx[c] = g d^-beta - 2 alpha beta / size x times the sum of g x d^(-beta - 1) over the channels
// whose window holds c.
template <class T>
void response_norm_backward(const ResponseNorm& norm, std::int64_t rows, std::int64_t channels,
                            const T* g, const T* x, T* dx);

}  // namespace fovea::kernels
