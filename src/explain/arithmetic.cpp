// The arithmetic of one convolution: its parameters, beside those of layers that share no weights
// [B, C, E], and the input cells that a stride leaves unread.
#include <algorithm>
#include <unordered_map>

#include "fovea/explain.h"

namespace fovea::explain {
namespace {

// Input cells of one dimension that some window reads. Tap k of window p reads cell p * stride +
// offset, offset = k * dilation - before; so the taps of one residue of the stride each cover a run
// of quotients, in rising order.
std::int64_t cells_read(const ConvAxis& axis) {
  std::unordered_map<std::int64_t, std::int64_t> next_free;  // quotient, by residue
  std::int64_t count = 0;
  for (std::int64_t tap = 0; tap < axis.kernel; ++tap) {
    const std::int64_t offset = tap * axis.dilation - axis.padding.before;
    const std::int64_t residue = ((offset % axis.stride) + axis.stride) % axis.stride;
    if (residue >= axis.input) continue;
    const std::int64_t quotient = (offset - residue) / axis.stride;
    const std::int64_t beyond_input = (axis.input - 1 - residue) / axis.stride + 1;
    const std::int64_t end = std::min(quotient + axis.output(), beyond_input);
    std::int64_t& free = next_free.try_emplace(residue, 0).first->second;
    const std::int64_t begin = std::max(quotient, free);
    if (begin >= end) continue;
    count += end - begin;
    free = end;
  }
  return count;
}

}  // namespace

ConvArithmetic arithmetic(const ConvProblem& problem) {
  problem.validate();
  ConvArithmetic out;
  out.weights = problem.weight_shape().numel();
  out.multiply_adds = static_cast<double>(problem.multiply_adds());
  const double per_sample =
      static_cast<double>(problem.output_positions()) / static_cast<double>(problem.batch);
  std::int64_t read = 1;
  out.positions = 1;
  for (int d = 0; d < problem.dims; ++d) {
    const ConvAxis& axis = problem.axes[static_cast<std::size_t>(d)];
    out.positions *= axis.input;
    read *= cells_read(axis);
  }
  out.unread = out.positions - read;
  out.locally_connected = per_sample * static_cast<double>(out.weights);
  out.fully_connected = per_sample * static_cast<double>(problem.out_channels) *
                        static_cast<double>(problem.in_channels) *
                        static_cast<double>(out.positions);
  out.fully_connected_multiply_adds = out.fully_connected * static_cast<double>(problem.batch);
  return out;
}

}  // namespace fovea::explain
