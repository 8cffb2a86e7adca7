// The matrix of a convolution, as text and as JSON: what `fovea conv --matrix` and `--patches` add.
#pragma once

#include <fovea/fovea.h>
#include <string>
#include <vector>

namespace cli {

struct MatrixOptions {
  bool matrix = false;
  bool patches = false;
  bool average = false;         // over all shifts
  std::vector<double> weights;  // numbers instead of names, where there are any
};

// Throws Misuse if the problem has no such matrix that one could read.
void check_matrices(const fovea::ConvProblem& problem, const MatrixOptions& options);
// After that, prints them.
void show_matrices(const fovea::ConvProblem& problem, const MatrixOptions& options, bool json);

}  // namespace cli
