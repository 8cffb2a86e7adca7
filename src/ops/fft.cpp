// The discrete Fourier transform as an operator: (re, im) -> (re, im), along some axes, without a
// factor:
//   X[k] = sum over j of x[j] e^(-+ 2 pi i j k / n)    (inverse: +)
// Its adjoint is the same operator with the other sign, so it can be differentiated again.
//
// Sequences are gathered a few at a time into [length][sequences], transformed there as lanes of
// vectors, and put back.
#include "ops/fft.h"

#include <algorithm>

#include "core/check.h"
#include "core/dispatch.h"
#include "core/storage.h"
#include "fovea/executor.h"
#include "ops/checks.h"
#include "ops/families.h"

namespace fovea::ops {
namespace {

constexpr std::int64_t kSequences = 16;  // gathered at a time
constexpr std::int64_t kValuesPerTask = 1 << 14;

// All sequences along one axis of a row-major array: sequence c starts at begin(c).
struct Sequences {
  std::int64_t length = 1;
  std::int64_t step = 1;  // between neighbours of one sequence
  std::int64_t count = 1;

  std::int64_t begin(std::int64_t c) const { return c / step * length * step + c % step; }
};

Sequences sequences_along(const Shape& shape, int axis) {
  Sequences sequences{.length = shape[axis]};
  for (int i = axis + 1; i < shape.rank(); ++i) sequences.step *= shape[i];
  sequences.count = shape.numel() / sequences.length;
  return sequences;
}

template <class T>
void run_plan(const kernels::Fft<T>& plan, const kernels::Planes<T>& data, std::int64_t count,
              T* work, bool inverse) {
  if (inverse) {
    plan.inverse(data, count, work);
  } else {
    plan.forward(data, count, work);
  }
}

// Calls f(place in the array, place in the gathered block) for sequences [first, first + count).
// The inner loop is along what is contiguous in the array.
template <class F>
void for_each_element(const Sequences& sequences, std::int64_t first, std::int64_t count,
                      const F& f) {
  if (sequences.step == 1) {
    for (std::int64_t c = 0; c < count; ++c) {
      const std::int64_t begin = sequences.begin(first + c);
      for (std::int64_t j = 0; j < sequences.length; ++j) f(begin + j, j * count + c);
    }
    return;
  }
  for (std::int64_t j = 0; j < sequences.length; ++j) {
    for (std::int64_t c = 0; c < count; ++c) {
      f(sequences.begin(first + c) + j * sequences.step, j * count + c);
    }
  }
}

template <class T>
void transform_block(const kernels::Fft<T>& plan, const kernels::Planes<T>& data,
                     const Sequences& sequences, std::int64_t first, std::int64_t count,
                     bool inverse) {
  const std::int64_t values = sequences.length * count;
  const Workspace memory(static_cast<std::size_t>(2 * values + plan.workspace(count)) * sizeof(T));
  const kernels::Planes<T> block{memory.as<T>(), memory.as<T>() + values};
  for_each_element(sequences, first, count, [&](std::int64_t from, std::int64_t to) {
    block.re[to] = data.re[from];
    block.im[to] = data.im[from];
  });
  run_plan(plan, block, count, memory.as<T>() + 2 * values, inverse);
  for_each_element(sequences, first, count, [&](std::int64_t to, std::int64_t from) {
    data.re[to] = block.re[from];
    data.im[to] = block.im[from];
  });
}

template <class T>
void transform_axis(const kernels::Planes<T>& data, const Sequences& sequences, bool inverse) {
  if (sequences.length == 1) return;
  const auto plan = kernels::fft_plan<T>(sequences.length);
  // A few sequences side by side already lie as the plan wants them.
  if (sequences.count <= kSequences && sequences.step == sequences.count) {
    const Workspace memory(static_cast<std::size_t>(plan->workspace(sequences.count)) * sizeof(T));
    run_plan(*plan, data, sequences.count, memory.as<T>(), inverse);
    return;
  }
  const std::int64_t blocks =
      std::max<std::int64_t>(1, kValuesPerTask / (kSequences * sequences.length));
  parallel_ranges(sequences.count, blocks * kSequences, [&](std::int64_t first, std::int64_t last) {
    for (; first < last; first += kSequences) {
      transform_block(*plan, data, sequences, first, std::min(kSequences, last - first), inverse);
    }
  });
}

std::vector<TensorSpec> infer_fft(Specs inputs, const Attributes& attributes) {
  require_floating("fft", inputs[0], "real part");
  require_same_dtype("fft", inputs[0], inputs[1]);
  require_same_shape("fft", inputs[0], "the real part", inputs[1], "the imaginary part");
  const Shape& shape = inputs[0].shape;
  Shape seen;
  for (const std::int64_t axis : attributes.integers("axes")) {
    FOVEA_CHECK(axis >= 0 && axis < shape.rank(), "fft: there is no axis {} in {}", axis, shape);
    FOVEA_CHECK(std::find(seen.begin(), seen.end(), axis) == seen.end(),
                "fft: axis {} is named twice", axis);
    FOVEA_CHECK(shape[static_cast<int>(axis)] > 0, "fft: axis {} of {} has no elements", axis,
                shape);
    seen.push_back(axis);
  }
  const TensorSpec output = make_spec(shape, inputs[0].dtype);
  return {output, output};
}

void run_fft(Inputs inputs, const Attributes& attributes, Outputs outputs) {
  for (std::size_t i = 0; i < 2; ++i) outputs[i].copy_from(inputs[i]);
  if (outputs[0].numel() == 0) return;
  dispatch_floating(inputs[0].dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    transform<T>({writable<T>(outputs[0]), writable<T>(outputs[1])}, outputs[0].shape(),
                 attributes.integers("axes"), attributes.flag("inverse"));
  });
}

std::vector<Tensor> backward_fft(const BackwardCall& call) {
  std::vector<Tensor> grads;
  for (const Tensor& grad : call.grads) {
    const TensorSpec& spec = call.input_specs[0];
    grads.push_back(grad.defined() ? grad : Tensor::zeros(spec.shape, spec.dtype));
  }
  return apply(fft, std::move(grads),
               call.attributes.with("inverse", !call.attributes.flag("inverse")));
}

}  // namespace

template <class T>
void transform(const kernels::Planes<T>& data, const Shape& shape, const Shape& axes,
               bool inverse) {
  for (const std::int64_t axis : axes) {
    transform_axis(data, sequences_along(shape, static_cast<int>(axis)), inverse);
  }
}
template void transform(const kernels::Planes<float>&, const Shape&, const Shape&, bool);
template void transform(const kernels::Planes<double>&, const Shape&, const Shape&, bool);

const OpDef fft = {.name = "fft",
                   .infer = infer_fft,
                   .run = run_fft,
                   .backward = backward_fft,
                   .field = global_field};

}  // namespace fovea::ops
