// `narrow`: for few result channels, which would fill a small part of a vector of channels: the
// vector runs along the positions of a row instead, and weights are broadcast.
//
// The source is first copied into one plane per channel (conv/planes.h), some rows at a time, so
// that what a tap reads for neighbouring positions is one run. Results are turned back to
// channels-last as they are stored. backward_weights multiplies the same planes by the planes of
// the gradient and adds up the lanes at the end.
#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "conv/algorithms.h"
#include "conv/axes.h"
#include "conv/cost.h"
#include "conv/epilogue.h"
#include "conv/planes.h"
#include "conv/tasks.h"
#include "core/dispatch.h"
#include "fovea/executor.h"
#include "kernels/plane_product.h"
#include "kernels/transpose.h"

namespace fovea::conv {
namespace {

using kernels::kMaxPlanes;
using kernels::kMaxStrips;

constexpr std::int64_t kValuesPerBand = 1 << 13;  // of the source: leaves room in the first cache
constexpr std::int64_t kStripsPerChunk = 64;      // that a gradient adds up in one go

std::int64_t tasks_of(const ConvProblem& problem, const Bands& bands) {
  return std::min(even_tasks_for(static_cast<double>(problem.multiply_adds())), bands.count());
}

// The planes of a result in blocks of about equal size, each small enough for a register tile.
struct PlaneBlock {
  int first = 0;
  int count = 0;
};
std::vector<PlaneBlock> plane_blocks(std::int64_t planes) {
  const std::int64_t blocks = ceil_div(planes, kMaxPlanes);
  std::vector<PlaneBlock> result;
  for (std::int64_t i = 0; i < blocks; ++i) {
    const auto first = static_cast<int>(i * planes / blocks);
    result.push_back({first, static_cast<int>((i + 1) * planes / blocks) - first});
  }
  return result;
}

// ---- Forward and backward_data.

// Weights as the strip product reads them: for each block of planes [k0][k1][channel][k2][plane].
template <class T>
void arrange_weights(const ConvProblem& problem, Pass pass, const PlaneProblem& planes,
                     const std::vector<PlaneBlock>& blocks, const T* weights, T* arranged) {
  const std::int64_t taps = planes.taps();
  const std::int64_t row_taps = planes.axes[2].kernel;
  const bool forward = pass == Pass::forward;
  // In w[out][in][tap].
  const std::int64_t plane_step = forward ? problem.in_channels * taps : taps;
  const std::int64_t channel_step = forward ? taps : problem.in_channels * taps;
  for (const PlaneBlock& block : blocks) {
    for (std::int64_t row = 0; row < taps; row += row_taps) {
      for (std::int64_t channel = 0; channel < planes.channels; ++channel) {
        for (std::int64_t tap = row; tap < row + row_taps; ++tap) {
          const T* from = weights + channel * channel_step + (forward ? tap : taps - 1 - tap);
          for (int p = 0; p < block.count; ++p) *arranged++ = from[(block.first + p) * plane_step];
        }
      }
    }
  }
}

template <class T>
class Product {
 public:
  Product(const ConvProblem& problem, Pass pass, const ConvArgs& args)
      : planes_(pass == Pass::forward ? forward_planes(problem) : backward_planes(problem)),
        lanes_(kernels::strip_tile<T>(1).lanes),
        bands_(planes_, kValuesPerBand),
        layout_(planes_, bands_.largest(), lanes_),
        blocks_(plane_blocks(planes_.planes)),
        source_(static_cast<const T*>(args.first)),
        bias_(static_cast<const T*>(args.bias)),
        result_(static_cast<T*>(args.result)),
        finish_(args),
        weights_(static_cast<const T*>(args.second)),
        problem_(problem),
        pass_(pass),
        tasks_(tasks_of(problem, bands_)) {}

  // Bytes; each task holds its own while it runs, and all may run at once.
  std::size_t workspace() const {
    return static_cast<std::size_t>(weight_values() + tasks_ * task_values()) * sizeof(T);
  }

  void run() const {
    const Workspace arranged(static_cast<std::size_t>(weight_values()) * sizeof(T));
    arrange_weights(problem_, pass_, planes_, blocks_, weights_, arranged.as<T>());
    parallel_for(tasks_, [&](std::int64_t task) {
      const Workspace memory(static_cast<std::size_t>(task_values()) * sizeof(T));
      T* planes = memory.as<T>();
      const std::int64_t last = (task + 1) * bands_.count() / tasks_;
      for (std::int64_t i = task * bands_.count() / tasks_; i < last; ++i) {
        const Band band = bands_.at(i);
        layout_.fill(band, source_, planes, planes + layout_.values());
        run_band(band, planes, arranged.as<T>());
      }
    });
  }

 private:
  std::int64_t weight_values() const { return planes_.planes * planes_.channels * planes_.taps(); }
  std::int64_t task_values() const { return layout_.values() + layout_.scratch_values(); }

  // Strips that one product computes.
  struct Strips {
    std::array<const T*, kMaxStrips> sources{};
    std::array<T*, kMaxStrips> results{};
    std::array<int, kMaxStrips> widths{};
    int count = 0;
    std::int64_t first_tap = 0;  // of the outer taps; others read padding only
    std::int64_t last_tap = 0;
  };

  void run_band(const Band& band, const T* planes, const T* weights) const {
    for (const PlaneBlock& block : blocks_) {
      const int most = kernels::strip_tile<T>(block.count).strips;
      Strips strips;
      for (std::int64_t o0 = 0; o0 < band.count[0]; ++o0) {
        for (std::int64_t o1 = 0; o1 < band.count[1]; ++o1) {
          for (std::int64_t o2 = 0; o2 < band.count[2]; o2 += lanes_) {
            add_strip(band, {o0, o1, o2}, planes, strips);
            if (strips.count == most) multiply(block, weights, strips, most);
          }
        }
      }
      if (strips.count > 0) multiply(block, weights, strips, most);
      weights += block.count * planes_.channels * planes_.taps();
    }
    finish_band(band);
  }

  T* result_at(const Band& band, const std::array<std::int64_t, 3>& at) const {
    std::int64_t place = band.image;
    for (std::size_t a = 0; a < 3; ++a)
      place = place * planes_.axes[a].outputs + band.first[a] + at[a];
    return result_ + place * planes_.planes;
  }

  void finish_band(const Band& band) const {
    for (std::int64_t o0 = 0; o0 < band.count[0]; ++o0) {
      for (std::int64_t o1 = 0; o1 < band.count[1]; ++o1)
        finish_.all(band.count[2] * planes_.planes, result_at(band, {o0, o1, 0}));
    }
  }

  void add_strip(const Band& band, const std::array<std::int64_t, 3>& at, const T* planes,
                 Strips& strips) const {
    const std::array<PlaneAxis, 3>& axes = planes_.axes;
    const auto i = static_cast<std::size_t>(strips.count);
    strips.sources[i] = planes + layout_.place(at[0], at[1], at[2]);
    strips.results[i] = result_at(band, at);
    strips.widths[i] = static_cast<int>(std::min<std::int64_t>(lanes_, band.count[2] - at[2]));
    // The taps of the outermost axis that has any which read inside the source.
    const std::size_t outer = axes[0].kernel > 1 ? 0 : 1;
    const PlaneAxis& axis = axes[outer];
    const std::int64_t cell = (band.first[outer] + at[outer]) * axis.stride - axis.before;
    const std::int64_t first = cell >= 0 ? 0 : ceil_div(-cell, axis.dilation);
    const std::int64_t last = cell >= axis.source ? 0 : ceil_div(axis.source - cell, axis.dilation);
    const std::int64_t end = std::min(last, axis.kernel);
    const bool alone = strips.count == 0;
    strips.first_tap = alone ? first : std::min(strips.first_tap, first);
    strips.last_tap = alone ? end : std::max(strips.last_tap, end);
    ++strips.count;
  }

  // The products of these strips, turned to channels-last. A tile that is not full computes its
  // last strip again.
  void multiply(const PlaneBlock& block, const T* weights, Strips& strips, int most) const {
    for (int i = strips.count; i < most; ++i) {
      strips.sources[static_cast<std::size_t>(i)] =
          strips.sources[static_cast<std::size_t>(strips.count - 1)];
    }
    const std::array<PlaneAxis, 3>& axes = planes_.axes;
    const std::int64_t all = planes_.taps() * planes_.channels;
    const std::int64_t inner = all / (axes[0].kernel > 1 ? axes[0].kernel : axes[1].kernel);
    const std::int64_t begin = strips.first_tap * inner;
    const std::int64_t count = std::max<std::int64_t>(0, strips.last_tap * inner - begin);
    alignas(kAlignment) std::array<T, kMaxStrips * kMaxPlanes * kMaxLanes> products;
    kernels::strip_product<T>({.sources = strips.sources.data(),
                               .offsets = layout_.offsets().data() + begin,
                               .taps = count,
                               .weights = weights + begin * block.count,
                               .start = bias_ == nullptr ? nullptr : bias_ + block.first,
                               .out = products.data(),
                               .planes = block.count});
    for (int i = 0; i < strips.count; ++i) {
      const auto at = static_cast<std::size_t>(i);
      kernels::transpose({.rows = block.count,
                          .columns = strips.widths[at],
                          .from_stride = lanes_,
                          .to_stride = planes_.planes},
                         products.data() + i * block.count * lanes_,
                         strips.results[at] + block.first);
    }
    strips.count = 0;
  }

  static constexpr int kMaxLanes = static_cast<int>(kAlignment / sizeof(T));

  PlaneProblem planes_;
  int lanes_;
  Bands bands_;
  PlaneLayout layout_;
  std::vector<PlaneBlock> blocks_;
  const T* source_;
  const T* bias_;
  T* result_;
  Finish<T> finish_;
  const T* weights_;
  ConvProblem problem_;
  Pass pass_;
  std::int64_t tasks_;
};

// ---- backward_weights.

template <class T>
class WeightGradient {
 public:
  WeightGradient(const ConvProblem& problem, const ConvArgs& args)
      : planes_(forward_planes(problem)),
        lanes_(kernels::strip_tile<T>(1).lanes),
        bands_(planes_, kValuesPerBand),
        layout_(planes_, bands_.largest(), lanes_),
        blocks_(plane_blocks(planes_.planes)),
        x_(static_cast<const T*>(args.first)),
        g_(static_cast<const T*>(args.second)),
        dw_(static_cast<T*>(args.result)),
        tasks_(tasks_of(problem, bands_)),
        taps_(planes_.taps() * planes_.channels),
        pitch_(ceil_div(bands_.largest()[2], lanes_) * lanes_),
        offsets_(layout_.offsets()) {
    offsets_.resize(offsets_.size() + kMaxStrips,
                    offsets_.back());  // the last tile may not be full
    for (const PlaneBlock& block : blocks_) {
      const std::int64_t tile = kernels::strip_tile<T>(block.count).taps;
      sums_begin_.push_back(sums_);
      sums_ += ceil_div(taps_, tile) * tile * block.count * lanes_;
    }
  }

  // Bytes; each task holds its own while it runs, and all may run at once.
  std::size_t workspace() const {
    return static_cast<std::size_t>(tasks_ * (partial_values() + task_values())) * sizeof(T);
  }

  void run() const {
    const Workspace partial(static_cast<std::size_t>(tasks_ * partial_values()) * sizeof(T));
    parallel_for(tasks_, [&](std::int64_t task) {
      sum_bands(task * bands_.count() / tasks_, (task + 1) * bands_.count() / tasks_,
                partial.as<T>() + task * partial_values());
    });
    write(partial.as<T>());
  }

 private:
  // Of one task: what it hands over, what it holds while it runs, and the gradients among that.
  std::int64_t partial_values() const { return taps_ * planes_.planes; }
  std::int64_t task_values() const {
    return sums_ + gradient_values() + layout_.values() + layout_.scratch_values();
  }
  std::int64_t gradient_values() const {
    const auto outputs = bands_.largest();
    return outputs[0] * outputs[1] * planes_.planes * pitch_;
  }

  // The strips of a band, in pieces.
  struct Chunk {
    std::array<const T*, kStripsPerChunk> sources;
    std::array<const T*, kStripsPerChunk> gradients;  // plane 0
    std::array<std::int32_t, kStripsPerChunk> widths;
    std::int64_t count = 0;
  };

  void sum_bands(std::int64_t first, std::int64_t last, T* partial) const {
    const Workspace memory(static_cast<std::size_t>(task_values()) * sizeof(T));
    T* sums = memory.as<T>();
    T* gradient = sums + sums_;
    T* planes = gradient + gradient_values();
    std::fill_n(sums, sums_, T{0});
    for (std::int64_t i = first; i < last; ++i) {
      const Band band = bands_.at(i);
      layout_.fill(band, x_, planes, planes + layout_.values());
      fill_gradient(band, gradient);
      add_band(band, planes, gradient, sums);
    }
    for (std::size_t b = 0; b < blocks_.size(); ++b) {
      kernels::sum_lanes(taps_ * blocks_[b].count, sums + sums_begin_[b], partial);
      partial += taps_ * blocks_[b].count;
    }
  }

  // [row][plane][position]
  void fill_gradient(const Band& band, T* gradient) const {
    for (std::int64_t o0 = 0; o0 < band.count[0]; ++o0) {
      for (std::int64_t o1 = 0; o1 < band.count[1]; ++o1) {
        std::int64_t place = band.image * planes_.axes[0].outputs + band.first[0] + o0;
        place = place * planes_.axes[1].outputs + band.first[1] + o1;
        place = place * planes_.axes[2].outputs + band.first[2];
        kernels::transpose({.rows = band.count[2],
                            .columns = planes_.planes,
                            .from_stride = planes_.planes,
                            .to_stride = pitch_},
                           g_ + place * planes_.planes, gradient);
        gradient += planes_.planes * pitch_;
      }
    }
  }

  void add_band(const Band& band, const T* planes, const T* gradient, T* sums) const {
    Chunk chunk;
    for (std::int64_t o0 = 0; o0 < band.count[0]; ++o0) {
      for (std::int64_t o1 = 0; o1 < band.count[1]; ++o1, gradient += planes_.planes * pitch_) {
        for (std::int64_t o2 = 0; o2 < band.count[2]; o2 += lanes_) {
          const auto i = static_cast<std::size_t>(chunk.count++);
          chunk.sources[i] = planes + layout_.place(o0, o1, o2);
          chunk.gradients[i] = gradient + o2;
          chunk.widths[i] =
              static_cast<std::int32_t>(std::min<std::int64_t>(lanes_, band.count[2] - o2));
          if (chunk.count == kStripsPerChunk) add_chunk(chunk, sums);
        }
      }
    }
    add_chunk(chunk, sums);
  }

  void add_chunk(Chunk& chunk, T* sums) const {
    for (const PlaneBlock& block : blocks_) {
      std::array<const T*, kStripsPerChunk> gradients;
      for (std::size_t i = 0; i < static_cast<std::size_t>(chunk.count); ++i)
        gradients[i] = chunk.gradients[i] + block.first * pitch_;
      const std::int64_t tile = kernels::strip_tile<T>(block.count).taps;
      for (std::int64_t tap = 0; tap < taps_; tap += tile) {
        kernels::strip_gradient<T>({.sources = chunk.sources.data(),
                                    .gradients = gradients.data(),
                                    .widths = chunk.widths.data(),
                                    .count = chunk.count,
                                    .plane_step = pitch_,
                                    .offsets = offsets_.data() + tap,
                                    .sums = sums,
                                    .planes = block.count});
        sums += tile * block.count * lanes_;
      }
    }
    chunk.count = 0;
  }

  // Adds the tasks in order, from [block][k0][k1][channel][k2][plane] to [plane][channel][tap].
  void write(const T* partial) const {
    const std::int64_t taps = planes_.taps();
    const std::int64_t row_taps = planes_.axes[2].kernel;
    for (const PlaneBlock& block : blocks_) {
      for (std::int64_t row = 0; row < taps; row += row_taps) {
        for (std::int64_t channel = 0; channel < planes_.channels; ++channel) {
          for (std::int64_t tap = row; tap < row + row_taps; ++tap) {
            for (int p = 0; p < block.count; ++p, ++partial) {
              T sum = *partial;
              for (std::int64_t task = 1; task < tasks_; ++task)
                sum += partial[task * partial_values()];
              dw_[((block.first + p) * planes_.channels + channel) * taps + tap] = sum;
            }
          }
        }
      }
    }
  }

  PlaneProblem planes_;
  int lanes_;
  Bands bands_;
  PlaneLayout layout_;
  std::vector<PlaneBlock> blocks_;
  const T* x_;
  const T* g_;
  T* dw_;
  std::int64_t tasks_;
  std::int64_t taps_;   // of all channels
  std::int64_t pitch_;  // of a row of gradients
  std::vector<std::int64_t> offsets_;
  std::vector<std::int64_t> sums_begin_;  // of each block
  std::int64_t sums_ = 0;                 // values that a task adds up into
};

// ---- The algorithm.

int lanes_of(const ConvProblem& problem) {
  return dispatch_floating(problem.dtype, [](auto tag) {
    return kernels::strip_tile<typename decltype(tag)::type>(1).lanes;
  });
}

std::optional<std::string> refuses(const ConvProblem& problem, Pass pass) {
  if (problem.groups > 1) return "it has no loops over groups";
  if (problem.padding_mode != PaddingMode::zeros) return "its planes are padded with zeros only";
  if (pass == Pass::backward_data) {
    for (const ConvAxis& axis : three_axes(problem)) {
      if (axis.stride > 1)
        return "what a stride skips in the gradient would be multiplied as zeros";
    }
  }
  const PlaneProblem planes =
      pass == Pass::backward_data ? backward_planes(problem) : forward_planes(problem);
  // In double: with a kernel as large as the input they may exceed any integer.
  double padded = static_cast<double>(planes.channels);
  for (const PlaneAxis& axis : planes.axes)
    padded *= static_cast<double>(axis.extent(axis.outputs));
  const double tensors = static_cast<double>(problem.input_shape().numel()) +
                         static_cast<double>(problem.output_shape().numel());
  if (padded * static_cast<double>(problem.batch) > 4 * tensors) {
    return "the padding that it would copy is far larger than the tensors";
  }
  return std::nullopt;
}

// The products; a copy of the source into planes and of the results back; and weights or sums that
// are too many for the first cache, and come again for each few strips or each band. Fitted to
// measurements.
ConvCost predict(const ConvProblem& problem, Pass pass) {
  constexpr double kFirstCache = 24 << 10;
  constexpr double kStart = 5000;  // beyond those of any pass
  const CoreModel model = core_model(problem.dtype);
  const PlaneProblem planes =
      pass == Pass::backward_data ? backward_planes(problem) : forward_planes(problem);
  const std::int64_t lanes = lanes_of(problem);
  const auto outputs = static_cast<double>(planes.axes[2].outputs);
  const double rows = static_cast<double>(planes.batch * planes.rows());
  const double strips = rows * static_cast<double>(ceil_div(planes.axes[2].outputs, lanes));
  const double weights =
      static_cast<double>(planes.taps() * planes.channels) * static_cast<double>(planes.planes);
  ConvCost cost = least_cost(problem, pass);
  cost.multiply_adds = strips * static_cast<double>(lanes) * weights;
  const double products = cost.multiply_adds / model.multiply_adds;
  const double source =
      static_cast<double>(planes.batch) * static_cast<double>(planes.padded_values());
  const double results = rows * outputs * static_cast<double>(planes.planes);
  const double stored = strips * static_cast<double>(ceil_div(planes.planes, kMaxPlanes));
  // Narrower vectors turn round less at once.
  const double copied = source * (0.5 + 8 / static_cast<double>(lanes));
  double cycles = kStart + 30 * stored;
  if (pass == Pass::backward_weights) {
    const double sums = weights * static_cast<double>(Bands(planes, kValuesPerBand).count());
    cycles += 1.65 * products + 0.4 * copied + 0.4 * results + 5.7 * sums + 1.6 * weights;
  } else {
    const double bytes = weights * static_cast<double>(size_of(problem.dtype));
    const double lines = bytes > kFirstCache ? strips * bytes / 128 : 0;
    cycles += 1.12 * products + 0.8 * copied + 0.5 * results + 4 * lines;
  }
  cost.cycles = pass_cycles(model, cycles, cost.bytes);
  return cost;
}

std::size_t workspace(const ConvProblem& problem, Pass pass) {
  return dispatch_floating(problem.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    if (pass == Pass::backward_weights) return WeightGradient<T>(problem, {}).workspace();
    return Product<T>(problem, pass, {}).workspace();
  });
}

void run(const ConvProblem& problem, Pass pass, const ConvArgs& args) {
  dispatch_floating(problem.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    if (pass == Pass::backward_weights) return WeightGradient<T>(problem, args).run();
    Product<T>(problem, pass, args).run();
  });
}

}  // namespace

const ConvAlgorithm narrow = {
    .name = "narrow",
    .summary = "vectors along the rows of an image, for few channels",
    .refuses = refuses,
    .predict = predict,
    .workspace = workspace,
    .run = run,
};

}  // namespace fovea::conv
