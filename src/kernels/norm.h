// Normalisation on raw dense memory. T is float or double; sums are kept in double.
//
// "columns": each column c has a mean and factors of its own (batch, group and instance
// normalisation of channels-last data). "row": one mean for a whole row (layer normalisation).
// Those that take raw numbers alone are overloads: GCC exports such specialisations of templates.
#pragma once

#include <cstdint>

#include "kernels/epilogue.h"

namespace fovea::kernels {

// Rows of contiguous elements, without gaps.
struct NormRows {
  std::int64_t rows = 0;
  std::int64_t columns = 0;
};

// sums[c] += x - pivot[c] and squares[c] += (x - pivot[c])^2, over all rows.
template <class T>
void column_moments(const NormRows& shape, const T* x, const T* pivot, double* sums,
                    double* squares);
// sums[c] += g and products[c] += g (x - mean[c]), over all rows.
template <class T>
void column_products(const NormRows& shape, const T* g, const T* x, const T* mean, double* sums,
                     double* products);
// The same of passed = g where low < y < high, otherwise 0, which is written.
template <class T>
struct Passed {
  const T* y = nullptr;
  T low = 0;
  T high = 0;
  T* passed = nullptr;
};
template <class T>
void passed_products(const NormRows& shape, const T* g, const T* x, const T* mean,
                     const Passed<T>& through, double* sums, double* products);
// y = (x - mean[c]) scale[c] + shift[c], and then the epilogue.
template <class T>
void normalize_columns(const NormRows& shape, const T* x, const T* mean, const T* scale,
                       const T* shift, const Epilogue<T>& epilogue, T* y);
// dx = g a[c] + (x - mean[c]) b[c] + d[c]; g may be dx. `streamed`: as in stream.h.
template <class T>
void gradient_columns(const NormRows& shape, const T* g, const T* x, const T* mean, const T* a,
                      const T* b, const T* d, bool streamed, T* dx);

struct RowSums {
  double first = 0;
  double second = 0;
};

// The sums of x - pivot and of its square.
template <class T>
RowSums row_moments(std::int64_t count, const T* x, T pivot);
// The sums of g w and of g w (x - mean).
// Here and below a null w stands for ones.
template <class T>
RowSums row_products(std::int64_t count, const T* g, const T* x, const T* w, T mean);
// y = (x - mean) inverse w[c] + b[c], w and b both there or both null
void normalize_row(std::int64_t count, const float* x, float mean, float inverse, const float* w,
                   const float* b, float* y);
void normalize_row(std::int64_t count, const double* x, double mean, double inverse,
                   const double* w, const double* b, double* y);
// dx = g w[c] a + (x - mean) b + d
void gradient_row(std::int64_t count, const float* g, const float* x, const float* w, float mean,
                  float a, float b, float d, float* dx);
void gradient_row(std::int64_t count, const double* g, const double* x, const double* w,
                  double mean, double a, double b, double d, double* dx);
// sums[c] += g and products[c] += g (x - mean[r]) inverse[r] over the rows r, which lie `stride`
// apart.
template <class T>
void weight_gradients(const NormRows& shape, std::int64_t stride, const T* g, const T* x,
                      const T* mean, const T* inverse, double* sums, double* products);

}  // namespace fovea::kernels
