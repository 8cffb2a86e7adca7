// `im2col`: the patches of a sample written out as a matrix X, one row per output position and one
// column per tap and channel, and a plain matrix product behind it [B, D section 2.1]:
//   y = X w^T,   dX = g w, which is folded back into dx,   dw = g^T X.
// What `direct` spares itself, memory first of all, can be read off here.
#include <algorithm>
#include <vector>

#include "conv/algorithms.h"
#include "conv/axes.h"
#include "conv/entries.h"
#include "conv/epilogue.h"
#include "core/dispatch.h"
#include "fovea/executor.h"

namespace fovea::conv {
namespace {

constexpr double kMaxBytes = 1 << 28;

// One sample and one group of the product.
struct Sizes {
  explicit Sizes(const ConvProblem& problem)
      : positions(problem.output_positions() / problem.batch),
        cells(problem.input_shape().numel() / problem.batch / problem.in_channels),
        taps(problem.taps()),
        in(problem.in_channels / problem.groups),
        out(problem.out_channels / problem.groups) {}
  std::int64_t columns() const { return taps * in; }
  std::int64_t positions, cells, taps;
  std::int64_t in, out;  // channels of one group
};

// In double, which no size overflows.
double patch_bytes(const ConvProblem& problem) {
  const Sizes sizes(problem);
  return static_cast<double>(sizes.positions) * static_cast<double>(sizes.columns()) *
         static_cast<double>(size_of(problem.dtype));
}

// The weights of one group as [tap * in + c][o], which puts the longest loop inside.
template <class T>
std::vector<T> transposed(const Sizes& sizes, const T* weights) {
  std::vector<T> result(static_cast<std::size_t>(sizes.columns() * sizes.out));
  for (std::int64_t o = 0; o < sizes.out; ++o)
    for (std::int64_t c = 0; c < sizes.in; ++c)
      for (std::int64_t tap = 0; tap < sizes.taps; ++tap) {
        result[static_cast<std::size_t>((tap * sizes.in + c) * sizes.out + o)] = *weights++;
      }
  return result;
}

template <class T>
void add_transposed(const Sizes& sizes, const std::vector<T>& from, T* weights) {
  for (std::int64_t o = 0; o < sizes.out; ++o)
    for (std::int64_t c = 0; c < sizes.in; ++c)
      for (std::int64_t tap = 0; tap < sizes.taps; ++tap) {
        *weights++ += from[static_cast<std::size_t>((tap * sizes.in + c) * sizes.out + o)];
      }
}

// The three passes of one group of one sample; x, y, dx and g point at its first channel.
template <class T>
class Group {
 public:
  explicit Group(const ConvProblem& problem)
      : problem_(problem),
        sizes_(problem),
        patches_(static_cast<std::size_t>(sizes_.positions * sizes_.columns())) {}

  void forward(const T* x, const T* w, const T* bias, T* y) {
    unfold(x);
    const std::vector<T> weights = transposed(sizes_, w);
    for_each_in_parallel(sizes_.positions, sizes_.columns(), [&](std::int64_t p) {
      T* out = y + p * problem_.out_channels;
      for (std::int64_t o = 0; o < sizes_.out; ++o) out[o] = bias == nullptr ? T(0) : bias[o];
      for (std::int64_t k = 0; k < sizes_.columns(); ++k) {
        const T value = row(p)[k];
        const T* factors = weights.data() + k * sizes_.out;
        for (std::int64_t o = 0; o < sizes_.out; ++o) out[o] += value * factors[o];
      }
    });
  }

  // Adds to dx.
  void backward_data(const T* g, const T* w, T* dx) {
    const std::vector<T> weights = transposed(sizes_, w);
    for_each_in_parallel(sizes_.positions, sizes_.columns(), [&](std::int64_t p) {
      const T* gradient = g + p * problem_.out_channels;
      for (std::int64_t k = 0; k < sizes_.columns(); ++k) {
        const T* factors = weights.data() + k * sizes_.out;
        T sum = 0;
        for (std::int64_t o = 0; o < sizes_.out; ++o) sum += gradient[o] * factors[o];
        row(p)[k] = sum;
      }
    });
    for_each_patch_entry(problem_, [&](const PatchEntry& entry) {
      const T* from = row(entry.position) + entry.tap * sizes_.in;
      T* to = dx + entry.cell * problem_.in_channels;
      for (std::int64_t c = 0; c < sizes_.in; ++c) to[c] += from[c];
    });
  }

  // Adds to dw.
  void backward_weights(const T* x, const T* g, T* dw) {
    unfold(x);
    std::vector<T> sum(static_cast<std::size_t>(sizes_.columns() * sizes_.out), T(0));
    for_each_in_parallel(sizes_.columns(), sizes_.positions, [&](std::int64_t k) {
      T* out = sum.data() + k * sizes_.out;
      for (std::int64_t p = 0; p < sizes_.positions; ++p) {
        const T value = row(p)[k];
        const T* gradient = g + p * problem_.out_channels;
        for (std::int64_t o = 0; o < sizes_.out; ++o) out[o] += value * gradient[o];
      }
    });
    add_transposed(sizes_, sum, dw);
  }

 private:
  // Calls body(i) for `count` rows of the product, each of `length` times `out` multiplications.
  template <class Body>
  void for_each_in_parallel(std::int64_t count, std::int64_t length, const Body& body) const {
    constexpr std::int64_t kTask = 1 << 16;  // multiplications
    const std::int64_t work = std::max<std::int64_t>(1, length * sizes_.out);
    parallel_ranges(count, std::max<std::int64_t>(1, kTask / work),
                    [&](std::int64_t first, std::int64_t last) {
                      for (std::int64_t i = first; i < last; ++i) body(i);
                    });
  }

  T* row(std::int64_t position) { return patches_.data() + position * sizes_.columns(); }

  void unfold(const T* x) {
    std::fill(patches_.begin(), patches_.end(), T(0));
    for_each_patch_entry(problem_, [&](const PatchEntry& entry) {
      std::copy_n(x + entry.cell * problem_.in_channels, sizes_.in,
                  row(entry.position) + entry.tap * sizes_.in);
    });
  }

  const ConvProblem& problem_;
  const Sizes sizes_;
  std::vector<T> patches_;
};

template <class T>
void run_pass(const ConvProblem& problem, Pass pass, const ConvArgs& args) {
  const Sizes sizes(problem);
  const T* first = static_cast<const T*>(args.first);
  const T* second = static_cast<const T*>(args.second);
  const T* bias = static_cast<const T*>(args.bias);
  T* result = static_cast<T*>(args.result);
  Group<T> group(problem);
  if (pass != Pass::forward) std::fill_n(result, result_shape(problem, pass).numel(), T(0));
  for (std::int64_t n = 0; n < problem.batch; ++n) {
    for (std::int64_t i = 0; i < problem.groups; ++i) {
      const std::int64_t in = n * sizes.cells * problem.in_channels + i * sizes.in;
      const std::int64_t out = n * sizes.positions * problem.out_channels + i * sizes.out;
      const std::int64_t weights = i * sizes.out * sizes.columns();
      switch (pass) {
        case Pass::forward:
          group.forward(first + in, second + weights,
                        bias == nullptr ? nullptr : bias + i * sizes.out, result + out);
          break;
        case Pass::backward_data:
          group.backward_data(first + out, second + weights, result + in);
          break;
        case Pass::backward_weights:
          group.backward_weights(first + in, second + out, result + weights);
          break;
      }
    }
  }
  if (pass == Pass::forward) finish_results<T>(problem, args);
}

std::optional<std::string> refuses(const ConvProblem& problem, Pass) {
  const double bytes = patch_bytes(problem);
  if (bytes <= kMaxBytes) return std::nullopt;
  return fmt::format("the patches of one sample would take {:.0f} MiB, more than {:.0f}",
                     bytes / (1 << 20), kMaxBytes / (1 << 20));
}

ConvCost predict(const ConvProblem& problem, Pass pass) {
  ConvCost cost = least_cost(problem, pass);
  const double written = static_cast<double>(problem.batch * problem.groups) * patch_bytes(problem);
  cost.bytes += 2 * written;  // and read
  return cost;
}

std::size_t workspace(const ConvProblem& problem, Pass) {
  const Sizes sizes(problem);
  return static_cast<std::size_t>(patch_bytes(problem)) +
         static_cast<std::size_t>(sizes.columns() * sizes.out) * size_of(problem.dtype);
}

bool reads_padding(const ConvProblem& problem, Pass) {
  return copies_cells(problem.padding_mode);
}

void run(const ConvProblem& problem, Pass pass, const ConvArgs& args) {
  dispatch_floating(problem.dtype,
                    [&](auto tag) { run_pass<typename decltype(tag)::type>(problem, pass, args); });
}

}  // namespace

const ConvAlgorithm im2col = {
    .name = "im2col",
    .summary = "patches written out as a matrix, then a plain matrix product in plain loops",
    .refuses = refuses,
    .predict = predict,
    .workspace = workspace,
    .run = run,
    .reads_padding = reads_padding,
};

}  // namespace fovea::conv
