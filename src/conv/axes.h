// A problem of one to three dimensions seen as one of three, and small helpers that algorithms
// share.
#pragma once

#include <array>

#include "core/check.h"
#include "fovea/conv.h"
#include "kernels/stream.h"

namespace fovea::conv {

inline std::int64_t ceil_div(std::int64_t a, std::int64_t b) {
  return (a + b - 1) / b;
}

// Whether to write a result around the caches, which about as many bytes are read for. Each value
// is a sum of `terms`. Some dozens of them leave the time to write to memory, while reading the
// lines that are overwritten would show; beside hundreds it would not.
inline bool bypasses_caches(const void* result, std::int64_t bytes, std::int64_t row_bytes,
                            std::int64_t terms = 0) {
  const std::size_t times = terms < 24 || terms > 256 ? 2 : 4;
  return kernels::is_streamed(result, times * static_cast<std::size_t>(bytes),
                              static_cast<std::size_t>(row_bytes));
}

// The axes of a problem, with axes of one cell in front of those it has.
inline std::array<ConvAxis, 3> three_axes(const ConvProblem& problem) {
  std::array<ConvAxis, 3> axes;
  for (int i = 0; i < problem.dims; ++i) {
    axes[static_cast<std::size_t>(3 - problem.dims + i)] =
        problem.axes[static_cast<std::size_t>(i)];
  }
  return axes;
}

inline std::array<std::int64_t, 3> input_sizes(const std::array<ConvAxis, 3>& axes) {
  return {axes[0].input, axes[1].input, axes[2].input};
}
inline std::array<std::int64_t, 3> output_sizes(const std::array<ConvAxis, 3>& axes) {
  return {axes[0].output(), axes[1].output(), axes[2].output()};
}

// The shape of what a pass computes.
inline Shape result_shape(const ConvProblem& problem, Pass pass) {
  switch (pass) {
    case Pass::forward:
      return problem.output_shape();
    case Pass::backward_data:
      return problem.input_shape();
    case Pass::backward_weights:
      return problem.weight_shape();
  }
  FOVEA_ASSERT(false);
}

// Every multiplication once, every tensor moved once.
inline ConvCost least_cost(const ConvProblem& problem, Pass) {
  const double values = static_cast<double>(problem.input_shape().numel()) +
                        static_cast<double>(problem.weight_shape().numel()) +
                        static_cast<double>(problem.output_shape().numel());
  return {.multiply_adds = static_cast<double>(problem.multiply_adds()),
          .bytes = values * static_cast<double>(size_of(problem.dtype))};
}

}  // namespace fovea::conv
