// Dropout [D section 6]: y = x m / (1 - p), each m being 0 with probability p and otherwise 1.
//
// m is a pure function of (seed, stream) and of the element's number, counted in N, spatial..., C
// order whatever the memory order is; that order is also the output's, so that images and feature
// maps are walked as they lie. Being linear, dropout is its own derivative: with the same
// attributes it meets the same m.
#include <algorithm>
#include <cmath>

#include "core/check.h"
#include "core/dispatch.h"
#include "fovea/executor.h"
#include "kernels/random_drop.h"
#include "kernels/stream.h"
#include "ops/checks.h"
#include "ops/families.h"

namespace fovea::ops {
namespace {

constexpr std::int64_t kPerBlock = 4;  // numbers that one call of philox gives
constexpr std::int64_t kGrain = 8192;  // blocks of one task

std::vector<TensorSpec> infer_dropout(Specs inputs, const Attributes& attributes) {
  require_floating("dropout", inputs[0]);
  const double p = attributes.number("p");
  FOVEA_CHECK(p >= 0 && p < 1, "dropout: the probability is {}, but must be in [0, 1)", p);
  return {make_spec(inputs[0].shape, inputs[0].dtype, Layout::channels_last)};
}

void run_dropout(Inputs inputs, const Attributes& attributes, Outputs outputs) {
  const double p = attributes.number("p");
  if (p == 0) return copy_elements(inputs[0], outputs[0]);
  const kernels::DropRule rule = {
      .seed = static_cast<std::uint64_t>(attributes.integer("seed")),
      .stream = static_cast<std::uint64_t>(attributes.integer("stream")),
      .threshold = static_cast<std::uint64_t>(std::ceil(std::ldexp(p, 32)))};
  const Tensor input = dense(inputs[0], Layout::channels_last);
  const std::int64_t count = input.numel();
  dispatch_floating(input.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    const T* x = input.data<T>();
    T* y = writable<T>(outputs[0]);
    const T factor = static_cast<T>(1 / (1 - p));
    // From half the usual size on: results that have to wait for the cache hold up the stores of
    // random numbers behind them.
    const std::size_t bytes = 2 * static_cast<std::size_t>(count) * sizeof(T);
    const bool streamed = kernels::is_streamed(y, 2 * bytes, kGrain * kPerBlock * sizeof(T));
    parallel_ranges((count + kPerBlock - 1) / kPerBlock, kGrain,
                    [&](std::int64_t first, std::int64_t last) {
                      const std::int64_t begin = first * kPerBlock;
                      const std::int64_t size = std::min(count, last * kPerBlock) - begin;
                      kernels::drop(rule, static_cast<std::uint64_t>(first), size, factor,
                                    x + begin, y + begin, streamed);
                    });
  });
}

std::vector<Tensor> dropout_backward(const BackwardCall& call) {
  return {apply1(dropout, {call.grads[0]}, call.attributes)};
}

}  // namespace

const OpDef dropout = {
    .name = "dropout", .infer = infer_dropout, .run = run_dropout, .backward = dropout_backward};

}  // namespace fovea::ops
