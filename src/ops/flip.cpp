// Reversing the order along some axes, and kernels seen from the other side; each its own adjoint.
//
// The axes are walked in memory order, so that both sides are read and written in whole rows. A
// mirrored kernel is kept with the weights until they change, and what algorithms derive from it
// (packing) is kept with it.
#include <algorithm>
#include <array>

#include "core/check.h"
#include "core/dispatch.h"
#include "fovea/executor.h"
#include "ops/checks.h"
#include "ops/families.h"

namespace fovea::ops {
namespace {

using Reversed = std::array<bool, kMaxRank>;

Reversed reversed_axes(const Shape& shape, const Attributes& attributes) {
  Reversed reversed{};
  for (const std::int64_t axis : attributes.integers("axes")) {
    const int place = normalize_axis(axis, shape.rank(), "flip");
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

// Both of one shape.
void copy_reversed(const Tensor& input, const Reversed& reversed, Tensor& output) {
  const Shape& shape = input.shape();
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

void run_flip(Inputs inputs, const Attributes& attributes, Outputs outputs) {
  copy_reversed(inputs[0], reversed_axes(inputs[0].shape(), attributes), outputs[0]);
}

std::vector<Tensor> gradient_of_flip(const BackwardCall& call) {
  return {apply1(flip, {call.grads[0]}, call.attributes)};
}

// Along space, a cell may come from any place.
OpField field_of_flip(Specs inputs, const Attributes& attributes) {
  const auto reversed = reversed_axes(inputs[0].shape, attributes);
  return {.global = std::find(reversed.begin() + 2, reversed.end(), true) != reversed.end(),
          .window = {},
          .stride = {},
          .before = {}};
}

// ---- mirror: weights [O, C/groups, kernel...], their kernels backwards if "reverse", their
// channels exchanged within each group, [C, O/groups, kernel...], if "exchange"; kept if "keep"

std::vector<TensorSpec> infer_mirror(Specs inputs, const Attributes& attributes) {
  const TensorSpec& w = inputs[0];
  const std::int64_t groups = attributes.integer("groups");
  FOVEA_CHECK(w.shape.rank() >= 3 && groups >= 1 && w.shape[0] % groups == 0,
              "mirror: weights [C_out, C_in/groups, kernel...] with groups={} are needed, but the "
              "shape is {}",
              groups, w.shape);
  Shape shape = w.shape;
  if (attributes.flag("exchange")) {
    shape[0] = w.shape[1] * groups;
    shape[1] = w.shape[0] / groups;
  }
  return {make_spec(shape, w.dtype)};
}

void run_mirror(Inputs inputs, const Attributes& attributes, Outputs outputs) {
  const Shape& w = inputs[0].shape();
  const Strides& steps = inputs[0].strides();
  const std::int64_t groups = attributes.integer("groups");
  Shape shape = {groups, w[0] / groups, w[1]};
  Strides from = {w[0] / groups * steps[0], steps[0], steps[1]};
  if (attributes.flag("exchange")) {
    std::swap(shape[1], shape[2]);
    std::swap(from[1], from[2]);
  }
  Reversed reversed{};
  for (int axis = 2; axis < w.rank(); ++axis) {
    reversed[static_cast<std::size_t>(shape.rank())] = attributes.flag("reverse");
    shape.push_back(w[axis]);
    from.push_back(steps[axis]);
  }
  Tensor mirrored = view::strided(outputs[0], 0, shape, strides_of(shape, Layout::row_major));
  copy_reversed(view::strided(inputs[0], 0, shape, from), reversed, mirrored);
}

// What was kept with the weights, or is kept from now on; undefined where nothing can be kept.
Tensor kept_mirror(const Tensor& weights, const Attributes& attributes) {
  Storage& storage = *weights.impl()->storage;
  Derived* const derived = storage.derived();
  if (derived == nullptr || !attributes.flag("keep")) return {};
  constexpr std::int64_t kKind = 1 << 20;  // of no order of weights that an algorithm derives
  Derived::Key key{kKind,
                   static_cast<std::int64_t>(weights.dtype()),
                   weights.impl()->offset,
                   attributes.integer("groups"),
                   attributes.flag("reverse") ? 1 : 0,
                   attributes.flag("exchange") ? 1 : 0};
  std::size_t place = 6;
  for (int axis = 0; axis < weights.rank(); ++axis) {
    key[place++] = weights.shape()[axis];
    key[place++] = weights.strides()[axis];
  }
  const std::uint64_t version = storage.version();
  auto kept = std::static_pointer_cast<const Tensor>(derived->find(key, version));
  if (kept == nullptr) {
    const TensorSpec spec = spec_of(weights);
    Tensor mirrored = allocate_tensor(infer_mirror({&spec, 1}, attributes).front());
    run_mirror({&weights, 1}, attributes, {&mirrored, 1});
    kept = std::make_shared<const Tensor>(std::move(mirrored));
    derived->keep(key, version, kept);
  }
  // A handle of its own, which the tape may write on.
  return view::strided(*kept, 0, kept->shape(), kept->strides());
}

std::vector<Tensor> gradient_of_mirror(const BackwardCall& call) {
  return {apply1(mirror, {call.grads[0]}, call.attributes.with("keep", false))};
}

OpField field_of_mirror(Specs, const Attributes& attributes) {
  return {.global = attributes.flag("reverse"), .window = {}, .stride = {}, .before = {}};
}

}  // namespace

const OpDef mirror = {.name = "mirror",
                      .infer = infer_mirror,
                      .run = run_mirror,
                      .view = kept_mirror,
                      .backward = gradient_of_mirror,
                      .field = field_of_mirror};

const OpDef flip = {.name = "flip",
                    .infer = infer_flip,
                    .run = run_flip,
                    .backward = gradient_of_flip,
                    .field = field_of_flip};

}  // namespace fovea::ops
