// Correlation and convolution of real single-channel signals x and w of one to three dimensions.
//
//   correlate: y[p] = sum over j of x[p + first + j] w[j]
//   convolve:  y[p] = sum over j of x[p + first - j] w[j]       for 0 <= p < count
//
// x is zero outside; or, with a period n, both are folded to n places and x repeats them. `first`,
// `count` and `period` make every mode: full, same, valid, circular, and what a gradient needs; so
// the two are closed under differentiation:
//   correlate: dx = convolve(g, w) from -first, dw = correlate(x, g) from first
//   convolve:  dx = correlate(g, w) from -first, dw = correlate(g, x) from -first.
// A convolution is computed as the correlation with the reversed w.
#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "core/check.h"
#include "core/dispatch.h"
#include "fovea/executor.h"
#include "kernels/correlate.h"
#include "ops/checks.h"
#include "ops/families.h"
#include "ops/fft.h"

namespace fovea::ops {
namespace {

using Sizes = std::array<std::int64_t, 3>;

// The last axes of three; those that are not there get `missing`.
Sizes three(const Shape& values, std::int64_t missing) {
  Sizes sizes;
  sizes.fill(missing);
  for (int i = 0; i < values.rank(); ++i) {
    sizes[static_cast<std::size_t>(3 - values.rank() + i)] = values[i];
  }
  return sizes;
}

std::int64_t product(const Sizes& sizes) {
  return sizes[0] * sizes[1] * sizes[2];
}

std::int64_t modulo(std::int64_t value, std::int64_t n) {
  const std::int64_t rest = value % n;
  return rest < 0 ? rest + n : rest;
}

// y[p] = sum over j of x[p + first + j] w[j], on row-major memory.
template <class T>
struct Correlation {
  const T* x;
  const T* w;
  T* y;
  Sizes signal, kernel, first, count;
  Sizes period;  // zeros: linear
};

// Adds `values` times `scale` into one period.
template <class T>
void fold(const T* values, const Sizes& sizes, T scale, const Sizes& period, T* plane) {
  for (std::int64_t i0 = 0; i0 < sizes[0]; ++i0) {
    for (std::int64_t i1 = 0; i1 < sizes[1]; ++i1) {
      T* row = plane + (i0 % period[0] * period[1] + i1 % period[1]) * period[2];
      for (std::int64_t i2 = 0; i2 < sizes[2]; ++i2) row[i2 % period[2]] += scale * *values++;
    }
  }
}

// ---- direct

// What the places first .. first + reached of a signal hold, its surroundings included.
template <class T>
void copy_reached(const T* x, const Correlation<T>& job, const Sizes& reached, T* out) {
  constexpr std::int64_t kOutside = -1;
  std::array<std::vector<std::int64_t>, 3> cells;
  for (std::size_t a = 0; a < 3; ++a) {
    for (std::int64_t i = 0; i < reached[a]; ++i) {
      const std::int64_t cell = job.first[a] + i;
      const bool inside = cell >= 0 && cell < job.signal[a];
      const std::int64_t repeated = job.period[a] == 0 ? kOutside : modulo(cell, job.period[a]);
      cells[a].push_back(inside ? cell : repeated);
    }
  }
  for (const std::int64_t i0 : cells[0]) {
    for (const std::int64_t i1 : cells[1]) {
      const bool outside = i0 == kOutside || i1 == kOutside;
      const T* row = outside ? x : x + (i0 * job.signal[1] + i1) * job.signal[2];
      for (const std::int64_t i2 : cells[2]) *out++ = outside || i2 == kOutside ? T(0) : row[i2];
    }
  }
}

// The same problem over one period of the signal, which `memory` then holds.
template <class T>
Correlation<T> folded(const Correlation<T>& job, std::vector<T>& memory) {
  if (job.period == job.signal || product(job.period) == 0) return job;
  memory.assign(static_cast<std::size_t>(Shape(job.period).numel()), T(0));
  fold(job.x, job.signal, T(1), job.period, memory.data());
  Correlation<T> result = job;
  result.x = memory.data();
  result.signal = job.period;
  return result;
}

template <class T>
void run_direct(const Correlation<T>& given) {
  constexpr std::int64_t kProductsPerTask = 1 << 18;
  std::vector<T> period;
  const Correlation<T> job = folded(given, period);
  Sizes reached;
  for (std::size_t a = 0; a < 3; ++a) reached[a] = job.count[a] + job.kernel[a] - 1;
  const Workspace memory(static_cast<std::size_t>(Shape(reached).numel()) * sizeof(T));
  T* padded = memory.as<T>();
  copy_reached(job.x, job, reached, padded);
  const std::int64_t taps = product(job.kernel);
  const std::int64_t grain = std::max<std::int64_t>(64, kProductsPerTask / taps);
  const std::int64_t cells = product(job.count);
  parallel_ranges(cells, grain, [&](std::int64_t begin, std::int64_t end) {
    std::fill(job.y + begin, job.y + end, T(0));
    while (begin < end) {
      const std::int64_t p2 = begin % job.count[2];
      const std::int64_t p1 = begin / job.count[2] % job.count[1];
      const std::int64_t p0 = begin / job.count[2] / job.count[1];
      const std::int64_t run = std::min(job.count[2] - p2, end - begin);
      for (std::int64_t j0 = 0; j0 < job.kernel[0]; ++j0) {
        for (std::int64_t j1 = 0; j1 < job.kernel[1]; ++j1) {
          const T* from = padded + ((p0 + j0) * reached[1] + p1 + j1) * reached[2] + p2;
          const T* weights = job.w + (j0 * job.kernel[1] + j1) * job.kernel[2];
          kernels::correlate_row(from, weights, job.kernel[2], job.y + begin, run);
        }
      }
      begin += run;
    }
  });
}

// ---- fft

// The period of a circular correlation; of a linear one, the least at which what wraps around falls
// outside of the result.
std::int64_t transform_length(std::int64_t signal, std::int64_t kernel, std::int64_t first,
                              std::int64_t count, std::int64_t period) {
  if (period != 0) return period;
  return kernels::fast_fft_length(
      std::max<std::int64_t>({1, first + count + kernel - 1, signal - first}));
}

// A power of two near |x| / |w|, which gives both signals one size: they share a transform, where
// the rounding of the larger would drown the smaller.
template <class T>
T balance(const Correlation<T>& job) {
  const auto norm = [](const T* values, std::int64_t count) {
    double sum = 0;
    for (std::int64_t i = 0; i < count; ++i) {
      sum += static_cast<double>(values[i]) * static_cast<double>(values[i]);
    }
    return std::sqrt(sum);
  };
  const double ratio = norm(job.x, product(job.signal)) / norm(job.w, product(job.kernel));
  const auto scale = static_cast<T>(std::exp2(std::round(std::log2(ratio))));
  return std::isnormal(scale) && std::isnormal(1 / scale) ? scale : T(1);
}

// From the transform Z of x + i s w to that of the correlation, X conj(W):
//   X[k] = (Z[k] + conj(Z[-k])) / 2, W[k] = (Z[k] - conj(Z[-k])) / (2 i s).
template <class T>
void multiply_spectra(const kernels::Planes<T>& z, const Sizes& period, T factor) {
  const auto place = [&](std::int64_t k0, std::int64_t k1, std::int64_t k2) {
    return (k0 * period[1] + k1) * period[2] + k2;
  };
  const auto mirrored = [&](std::int64_t k, std::size_t axis) {
    return k == 0 ? 0 : period[axis] - k;
  };
  for (std::int64_t k0 = 0; k0 < period[0]; ++k0) {
    for (std::int64_t k1 = 0; k1 < period[1]; ++k1) {
      for (std::int64_t k2 = 0; k2 < period[2]; ++k2) {
        const std::int64_t at = place(k0, k1, k2);
        const std::int64_t opposite = place(mirrored(k0, 0), mirrored(k1, 1), mirrored(k2, 2));
        if (opposite < at) continue;
        const T x_re = z.re[at] + z.re[opposite];
        const T x_im = z.im[at] - z.im[opposite];
        const T w_re = z.im[at] + z.im[opposite];
        const T w_im = z.re[opposite] - z.re[at];
        const T y_re = (x_re * w_re + x_im * w_im) * factor;
        const T y_im = (x_im * w_re - x_re * w_im) * factor;
        z.re[at] = z.re[opposite] = y_re;
        z.im[at] = y_im;
        z.im[opposite] = -y_im;
      }
    }
  }
}

template <class T>
Sizes transform_sizes(const Correlation<T>& job) {
  Sizes period;
  for (std::size_t a = 0; a < 3; ++a) {
    period[a] =
        transform_length(job.signal[a], job.kernel[a], job.first[a], job.count[a], job.period[a]);
  }
  return period;
}

template <class T>
void run_fft(const Correlation<T>& job) {
  const Sizes period = transform_sizes(job);
  const std::int64_t points = Shape(period).numel();
  const Shape axes{0, 1, 2};
  const Workspace memory(2 * static_cast<std::size_t>(points) * sizeof(T));
  const kernels::Planes<T> z{memory.as<T>(), memory.as<T>() + points};
  std::fill_n(z.re, 2 * points, T(0));
  const T scale = balance(job);
  fold(job.x, job.signal, T(1), period, z.re);
  fold(job.w, job.kernel, scale, period, z.im);
  transform(z, Shape(period), axes, false);
  // Both spectra come with a factor of two, and the inverse transform with one of `points`.
  multiply_spectra(z, period, static_cast<T>(0.25 / static_cast<double>(points)) / scale);
  transform(z, Shape(period), axes, true);
  T* y = job.y;
  for (std::int64_t p0 = 0; p0 < job.count[0]; ++p0) {
    for (std::int64_t p1 = 0; p1 < job.count[1]; ++p1) {
      const T* row = z.re + (modulo(p0 + job.first[0], period[0]) * period[1] +
                             modulo(p1 + job.first[1], period[1])) *
                                period[2];
      for (std::int64_t p2 = 0; p2 < job.count[2]; ++p2) {
        *y++ = row[modulo(p2 + job.first[2], period[2])];
      }
    }
  }
}

// ---- the choice

// Estimated from sizes alone: a point of the transforms costs about as much as kPointCost products
// for each doubling of the length (measured with AVX-512: 0.8 ns against 0.015 to 0.025 ns).
template <class T>
bool use_fft(const Correlation<T>& job, std::string_view method) {
  if (method != "auto") return method == "fft";
  constexpr double kPointCost = 45;
  const auto values = [](const Sizes& sizes) {
    return static_cast<double>(sizes[0]) * static_cast<double>(sizes[1]) *
           static_cast<double>(sizes[2]);
  };
  const double points = values(transform_sizes(job));
  return values(job.count) * values(job.kernel) > kPointCost * points * (1 + std::log2(points));
}

// ---- the operators

// Where the correlation with the reversed kernel begins that is a convolution from `first`.
Shape first_of_reversed(Shape first, const Shape& kernel) {
  for (int i = 0; i < first.rank(); ++i) first[i] -= kernel[i] - 1;
  return first;
}

std::vector<TensorSpec> infer(std::string_view op, Specs inputs, const Attributes& attributes) {
  constexpr std::int64_t kLimit = std::int64_t{1} << 40;  // sums of sizes fit with room
  require_floating(op, inputs[0], "the signal");
  require_same_dtype(op, inputs[0], inputs[1]);
  const Shape& signal = inputs[0].shape;
  FOVEA_CHECK(signal.rank() >= 1 && signal.rank() <= 3,
              "{}: the signal is {}, but needs one to three axes, which are all spatial: there are "
              "no channels here. For batches and channels use conv1d, conv2d or conv3d.",
              op, signal);
  require_rank(op, inputs[1], "the kernel", signal.rank());
  const std::string& method = attributes.text("method");
  FOVEA_CHECK(method == "auto" || method == "direct" || method == "fft",
              "{}: there is no method '{}'; the names are auto, direct, fft", op, method);
  const Shape& count = attributes.integers("count");
  FOVEA_ASSERT(count.rank() == signal.rank());
  for (int i = 0; i < signal.rank(); ++i) {
    FOVEA_CHECK(signal[i] > 0 && inputs[1].shape[i] > 0 && count[i] > 0,
                "{}: signal {} and kernel {} give a result of {}; nothing may be empty", op, signal,
                inputs[1].shape, count);
    FOVEA_CHECK(signal[i] < kLimit && inputs[1].shape[i] < kLimit && count[i] < kLimit,
                "{}: signal {}, kernel {} or result {} is longer than 2^40", op, signal,
                inputs[1].shape, count);
  }
  Shape{count.numel(), inputs[1].numel()}.numel();  // throws where products cannot be counted
  return {make_spec(count, inputs[0].dtype)};
}

template <bool kReversed>
std::vector<TensorSpec> infer_call(Specs inputs, const Attributes& attributes) {
  return infer(kReversed ? "convolve" : "correlate", inputs, attributes);
}

template <class T, bool kReversed>
void run_method(const Tensor& signal, const Tensor& kernel, const Attributes& attributes,
                Tensor& result) {
  std::vector<T> weights(kernel.data<T>(), kernel.data<T>() + kernel.numel());
  if (kReversed) std::reverse(weights.begin(), weights.end());
  const Shape& first = attributes.integers("first");
  const Correlation<T> job{
      .x = signal.data<T>(),
      .w = weights.data(),
      .y = writable<T>(result),
      .signal = three(signal.shape(), 1),
      .kernel = three(kernel.shape(), 1),
      .first = three(kReversed ? first_of_reversed(first, kernel.shape()) : first, 0),
      .count = three(result.shape(), 1),
      .period =
          three(attributes.integers("period"), attributes.integers("period").empty() ? 0 : 1)};
  if (use_fft(job, attributes.text("method"))) {
    run_fft(job);
  } else {
    run_direct(job);
  }
}

template <bool kReversed>
void run_call(Inputs inputs, const Attributes& attributes, Outputs outputs) {
  const Tensor signal = dense(inputs[0], Layout::row_major);
  const Tensor kernel = dense(inputs[1], Layout::row_major);
  dispatch_floating(signal.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    run_method<T, kReversed>(signal, kernel, attributes, outputs[0]);
  });
}

Shape negated(Shape values) {
  for (std::int64_t& value : values) value = -value;
  return values;
}

template <bool kReversed>
std::vector<Tensor> backward_call(const BackwardCall& call) {
  const Tensor& g = call.grads[0];
  const Tensor& x = call.inputs[0];
  const Tensor& w = call.inputs[1];
  const Shape& first = call.attributes.integers("first");
  const auto from = [&](const Shape& start, const TensorSpec& of) {
    return call.attributes.with("first", start).with("count", of.shape);
  };
  std::vector<Tensor> grads(2);
  if (call.needs_grad[0]) {
    grads[0] =
        apply1(kReversed ? correlate : convolve, {g, w}, from(negated(first), call.input_specs[0]));
  }
  if (call.needs_grad[1]) {
    grads[1] = kReversed ? apply1(correlate, {g, x}, from(negated(first), call.input_specs[1]))
                         : apply1(correlate, {x, g}, from(first, call.input_specs[1]));
  }
  return grads;
}

OpCost cost_call(Specs inputs, Specs outputs, const Attributes&) {
  OpCost cost{.multiply_adds = outputs[0].numel() * inputs[1].numel(), .bytes = 0};
  for (const TensorSpec& spec : {inputs[0], inputs[1], outputs[0]}) {
    cost.bytes += static_cast<std::int64_t>(spec.bytes());
  }
  return cost;
}

}  // namespace

const OpDef correlate = {.name = "correlate",
                         .infer = infer_call<false>,
                         .run = run_call<false>,
                         .backward = backward_call<false>,
                         .saves = {.inputs = 0b11, .outputs = 0},
                         .cost = cost_call,
                         .field = global_field};

const OpDef convolve = {.name = "convolve",
                        .infer = infer_call<true>,
                        .run = run_call<true>,
                        .backward = backward_call<true>,
                        .saves = {.inputs = 0b11, .outputs = 0},
                        .cost = cost_call,
                        .field = global_field};

}  // namespace fovea::ops
