// Reversing the order along some axes; its own adjoint.
//
// The axes are walked in memory order, so that both sides are read and written in whole rows.
#include <algorithm>
#include <array>

#include "core/check.h"
#include "core/dispatch.h"
#include "fovea/executor.h"
#include "ops/checks.h"
#include "ops/families.h"

namespace fovea::ops {
namespace {

std::array<bool, kMaxRank> reversed_axes(const Shape& shape, const Attributes& attributes) {
  std::array<bool, kMaxRank> reversed{};
  for (const std::int64_t axis : attributes.integers("axes")) {
    const int place = normalize_axis(static_cast<int>(axis), shape.rank(), "flip");
    FOVEA_CHECK(!reversed[static_cast<std::size_t>(place)], "flip: axis {} is named twice in {}",
                axis, attributes.integers("axes"));
    reversed[static_cast<std::size_t>(place)] = true;
  }
  return reversed;
}

std::vector<TensorSpec> infer_flip(Specs inputs, const Attributes& attributes) {
  const TensorSpec& input = inputs[0];
  reversed_axes(input.shape, attributes);
  return {{input.shape, input.dtype, strides_like(input.shape, input.strides)}};
}

// One axis: its size, and how far its neighbours are from each other.
struct Walk {
  std::int64_t size = 1;
  std::int64_t from = 0;  // negative where reversed
  std::int64_t to = 1;
};

void run_flip(Inputs inputs, const Attributes& attributes, Outputs outputs) {
  const Tensor& input = inputs[0];
  Tensor& output = outputs[0];
  const Shape& shape = input.shape();
  const auto reversed = reversed_axes(shape, attributes);
  if (output.numel() == 0) return;
  std::vector<Walk> walk;
  std::int64_t start = 0;
  for (int axis = 0; axis < shape.rank(); ++axis) {
    if (shape[axis] == 1) continue;
    const std::int64_t step = input.strides()[axis];
    const bool backwards = reversed[static_cast<std::size_t>(axis)];
    if (backwards) start += (shape[axis] - 1) * step;
    walk.push_back({shape[axis], backwards ? -step : step, output.strides()[axis]});
  }
  std::stable_sort(walk.begin(), walk.end(),
                   [](const Walk& a, const Walk& b) { return a.to > b.to; });
  const Walk inner = walk.empty() ? Walk{} : walk.back();
  if (!walk.empty()) walk.pop_back();
  dispatch_all(input.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    const T* in = input.data<T>() + start;
    T* out = writable<T>(output);
    const std::int64_t grain = std::max<std::int64_t>(1, (1 << 14) / inner.size);
    parallel_ranges(output.numel() / inner.size, grain, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t row = begin; row < end; ++row) {
        const T* from = in;
        T* to = out;
        std::int64_t rest = row;
        for (auto axis = walk.rbegin(); axis != walk.rend(); ++axis) {
          from += rest % axis->size * axis->from;
          to += rest % axis->size * axis->to;
          rest /= axis->size;
        }
        if (inner.from == 1 && inner.to == 1) {
          std::copy_n(from, inner.size, to);
        } else {
          for (std::int64_t i = 0; i < inner.size; ++i) to[i * inner.to] = from[i * inner.from];
        }
      }
    });
  });
}

std::vector<Tensor> gradient_of_flip(const BackwardCall& call) {
  return {apply1(flip, {call.grads[0]}, call.attributes)};
}

}  // namespace

const OpDef flip = {
    .name = "flip", .infer = infer_flip, .run = run_flip, .backward = gradient_of_flip};

}  // namespace fovea::ops
