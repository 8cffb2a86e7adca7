// Random convolution problems, and running one pass on plain memory.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "fovea/conv.h"
#include "fovea/random.h"

namespace fovea::testing {

// Small problems of every kind: one to three dimensions, groups, strides, dilations, asymmetric
// padding in every mode, odd sizes. The same for the same number.
ConvProblem random_problem(std::uint64_t number, DType dtype = DType::float32);

// The three tensors of a convolution as plain channels-last memory: x, w, y.
template <class T>
struct ConvBuffers {
  std::vector<T> x, w, y;
};
// Values in [-1, 1).
template <class T>
ConvBuffers<T> random_buffers(const ConvProblem& problem, std::uint64_t seed);

// What one pass computes from the other two.
template <class T>
std::vector<T> run_pass(const ConvProblem& problem, Pass pass, std::string_view algorithm,
                        const ConvBuffers<T>& buffers);

// How many products one element of the pass's result adds up, at most.
// Descriptor of a problem whose pass the algorithm accepts; empty if none of a few is.
std::string problem_for(std::string_view algorithm, Pass pass);

std::int64_t reduction_length(const ConvProblem& problem, Pass pass);

}  // namespace fovea::testing
