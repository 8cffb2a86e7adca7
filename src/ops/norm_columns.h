// Normalisation over the rows of channels-last data, column by column: batch, group and instance
// normalisation as one computation.
#pragma once

#include <cstdint>
#include <limits>

#include "fovea/tensor.h"

namespace fovea::ops {

// Dense memory seen as [outer, rows, columns], the columns in `groups` of equal size. Each (outer,
// group) has a mean and a variance of its own, over its rows and columns. Batch normalisation has
// one outer and a group per channel; group normalisation has samples outside.
struct ColumnNorm {
  std::int64_t outer = 1;
  std::int64_t rows = 1;
  std::int64_t columns = 1;
  std::int64_t groups = 1;

  std::int64_t group_columns() const { return columns / groups; }
};

// What follows: a residual, laid out as y or undefined, is added, and results are kept in bounds.
struct NormEpilogue {
  Tensor residual = {};
  double low = -std::numeric_limits<double>::infinity();
  double high = std::numeric_limits<double>::infinity();
};

// y = (x - mean) / sqrt(variance + eps) w + b, w and b [columns] or undefined, and then the
// epilogue. Mean and variance [outer, groups] are computed and filled in.
void normalize(const ColumnNorm& shape, double eps, const Tensor& x, const Tensor& w,
               const Tensor& b, Tensor& mean, Tensor& variance, Tensor& y,
               const NormEpilogue& epilogue = {});
// The same with mean and variance given.
void normalize_with(const ColumnNorm& shape, double eps, const Tensor& x, const Tensor& w,
                    const Tensor& b, const Tensor& mean, const Tensor& variance, Tensor& y);

// Gradients of x, w and b. With `fixed`, mean and variance did not depend on x.
struct ColumnNormGradients {
  Tensor& dx;
  Tensor& dw;
  Tensor& db;
};
void normalize_backward(const ColumnNorm& shape, double eps, bool fixed, const Tensor& g,
                        const Tensor& x, const Tensor& w, const Tensor& mean,
                        const Tensor& variance, const ColumnNormGradients& gradients);

// The same behind an epilogue with bounds, whose results were y: g passes where low < y < high.
struct BoundedGradient {
  const Tensor& y;
  double low;
  double high;
  Tensor* passed;  // that gradient, laid out as y: of the residual; may be null
};
void normalize_backward(const ColumnNorm& shape, double eps, const Tensor& g, const Tensor& x,
                        const Tensor& w, const Tensor& mean, const Tensor& variance,
                        const BoundedGradient& bounded, const ColumnNormGradients& gradients);

}  // namespace fovea::ops
