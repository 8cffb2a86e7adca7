// Functions of one variable and their slopes on contiguous raw memory. T is float or double.
#pragma once

#include <cstdint>

namespace fovea::kernels {

enum class Curve : std::uint8_t {
  abs,
  clamp,  // to [a, b]
  pow,    // x^a
  erf,
  leaky_relu,  // a x below zero
  elu,         // a (e^x - 1) below zero
  gelu,        // x Phi(x)
  silu,        // x sigmoid(x)
  hardswish,   // x clamp(x / 6 + 1/2, 0, 1)
  softplus,    // log(1 + e^x)
  relu6,       // clamp(x, 0, 6), flat at both ends
};

struct CurveParameters {
  double a = 0;
  double b = 0;
};

// y[i] = f(x[i]); y may be x.
template <class T>
void curve(Curve f, const CurveParameters& parameters, std::int64_t count, const T* x, T* y);
// dx[i] = g[i] f'(x[i])
template <class T>
void curve_backward(Curve f, const CurveParameters& parameters, std::int64_t count, const T* g,
                    const T* x, T* dx);

}  // namespace fovea::kernels
