// The parts of `direct`, each in a file of its own: forward and backward_data in direct.cpp, of few
// input channels in direct_joined.cpp and direct_folded.cpp; backward_weights in
// direct_weights.cpp, of few positions in direct_assembled.cpp and of 1x1 in direct_flat.cpp;
// groups of a vector or two in direct_groups.cpp, direct_group_pairs.cpp and
// direct_group_weights.cpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "conv/algorithms.h"
#include "conv/axes.h"
#include "conv/packed_weights.h"
#include "conv/patch_grid.h"
#include "conv/tasks.h"

namespace fovea::conv {

ConvCost direct_cost(const ConvProblem& problem, Pass pass);

// Whether forward has so few input channels that the taps of a row of the kernel are joined to one
// run.
bool joins_rows(const ConvProblem& problem);
template <class T>
void forward_joined(const ConvProblem& problem, const ConvArgs& args);

// One tap that reads every cell in order.
bool is_flat(const ConvProblem& problem);

inline std::vector<std::int64_t> multiples(std::int64_t count, std::int64_t step) {
  std::vector<std::int64_t> values;
  for (std::int64_t i = 0; i < count; ++i) values.push_back(i * step);
  return values;
}

// Whether forward or backward_data goes by copies of the rows of each group.
template <class T>
bool stages_groups(const ConvProblem& problem, Pass pass);
template <class T>
void run_groups(const ConvProblem& problem, Pass pass, const ConvArgs& args);

// Whether backward_data, if it goes by copies, computes the results of all remainders of the stride
// at once.
template <class T>
bool pairs_groups(const ConvProblem& problem);
// With the grids of the remainders, how they read the weights, and these in the order of the grids.
template <class T>
void run_group_pairs(const ConvProblem& problem, const ConvArgs& args,
                     const std::vector<PatchGrid>& phases, const std::vector<WeightView>& views,
                     const T* packed);

// Whether backward_data has so few input channels that it is computed by folding.
template <class T>
bool folds(const ConvProblem& problem);
std::int64_t folded_values(const ConvProblem& problem);  // of its memory
template <class T>
void backward_data_folded(const ConvProblem& problem, const ConvArgs& args);

// Whether backward_weights has so few positions that it is assembled channel by channel.
template <class T>
bool assembles(const ConvProblem& problem);
template <class T>
std::size_t assembled_workspace(const ConvProblem& problem);
template <class T>
void backward_weights_assembled(const ConvProblem& problem, const ConvArgs& args);

// Whether backward_weights goes by copies of the rows of each group.
template <class T>
bool copies_group_rows(const ConvProblem& problem);
template <class T>
std::size_t group_weights_workspace(const ConvProblem& problem);
template <class T>
void backward_weights_groups(const ConvProblem& problem, const ConvArgs& args);

// Whether backward_weights is a product of two matrices as they lie in memory.
template <class T>
bool gradient_is_flat(const ConvProblem& problem);
template <class T>
std::size_t flat_workspace(const ConvProblem& problem);
template <class T>
void backward_weights_flat(const ConvProblem& problem, const ConvArgs& args);

// Whether, with one tap, the lanes of backward_weights run along input channels.
template <class T>
bool swaps_sides(const ConvProblem& problem);
template <class T>
void backward_weights(const ConvProblem& problem, const ConvArgs& args);
template <class T>
std::size_t backward_weights_workspace(const ConvProblem& problem);

}  // namespace fovea::conv
