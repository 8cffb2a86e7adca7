// The three ways in which Winograd's passes run, and the cost by which tiles are chosen.
#pragma once

#include <cstddef>

#include "conv/algorithms.h"
#include "conv/axes.h"
#include "kernels/winograd.h"

namespace fovea::conv {

// Forward, and backward_data as a forward pass with the flipped kernel.
template <class T>
void winograd_product(const ConvProblem& problem, Pass pass, const ConvArgs& args,
                      const kernels::WinogradTile& tile);
template <class T>
std::size_t winograd_product_workspace(const ConvProblem& problem, Pass pass,
                                       const kernels::WinogradTile& tile);

// The same where the convolution has groups.
template <class T>
void winograd_bundles(const ConvProblem& problem, Pass pass, const ConvArgs& args,
                      const kernels::WinogradTile& tile);
template <class T>
std::size_t winograd_bundles_workspace(const ConvProblem& problem, Pass pass,
                                       const kernels::WinogradTile& tile);

// backward_weights.
template <class T>
void winograd_gradient(const ConvProblem& problem, const ConvArgs& args,
                       const kernels::WinogradTile& tile);
template <class T>
std::size_t winograd_gradient_workspace(const ConvProblem& problem,
                                        const kernels::WinogradTile& tile);

}  // namespace fovea::conv
