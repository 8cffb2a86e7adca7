// oneDNN's ways of computing one pass of a convolution: two memory layouts, two algorithms.
#pragma once

#include <fovea/fovea.h>

#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace peers {

// The way that `ratio` is taken against.
inline constexpr std::string_view kChannelsLastDirect = "onednn nhwc direct";

struct Way {
  std::string name;                       // "onednn nhwc direct"
  std::function<void()> call;             // computes once, in oneDNN's own layouts
  std::function<fovea::Tensor()> result;  // what was computed, in the layout of run_conv
};

// Those of the four that oneDNN supports, on copies of `first` and `second`: flat tensors in the
// layout of run_conv. Copies and reorders happen here, outside of `call`. Empty for float64, which
// oneDNN does not have.
std::vector<Way> onednn_ways(const fovea::ConvProblem& problem, fovea::Pass pass,
                             const fovea::Tensor& first, const fovea::Tensor& second);

// Of oneDNN's pool, for ways made afterwards.
void set_onednn_threads(int count);

}  // namespace peers
