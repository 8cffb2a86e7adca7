// Normalisation over the rows of channels-last data, column by column: batch, group and instance
// normalisation as one computation.
#pragma once

#include <cstdint>

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

// y = (x - mean) / sqrt(variance + eps) w + b, w and b [columns] or undefined. Mean and variance
// [outer, groups] are computed and filled in.
void normalize(const ColumnNorm& shape, double eps, const Tensor& x, const Tensor& w,
               const Tensor& b, Tensor& mean, Tensor& variance, Tensor& y);
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

}  // namespace fovea::ops
