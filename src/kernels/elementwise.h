// Element-wise inner loops on raw memory. T is float or double.
#pragma once

#include <cstdint>
#include <string_view>

namespace fovea::kernels {

enum class Unary : std::uint8_t { neg, exp, log, sqrt, relu, sigmoid, tanh };

// The *_backward ones take (g, y): the gradient of the output and the output.
enum class Binary : std::uint8_t {
  add,
  sub,
  mul,
  div,
  maximum,  // NaN if either is
  minimum,  // the same
  above,    // 1 where a > b, 1/2 where they are equal, else 0
  equal,    // 1 or 0
  relu_backward,
  sigmoid_backward,
  tanh_backward
};

// Rows of contiguous elements. An operand that repeats contributes one element to a whole row.
struct RowBlock {
  std::int64_t rows = 1;
  std::int64_t columns = 0;
  std::int64_t out_stride = 0;  // from row to row, in elements
  std::int64_t a_stride = 0;
  std::int64_t b_stride = 0;
  bool a_repeats = false;
  bool b_repeats = false;
};

// out[r][i] = op(a[r][i]); out may be a, with equal strides.
template <class T>
void unary(Unary op, const RowBlock& block, const T* a, T* out);
// out[r][i] = op(a[r][i], b[r][i])
template <class T>
void binary(Binary op, const RowBlock& block, const T* a, const T* b, T* out);

}  // namespace fovea::kernels
