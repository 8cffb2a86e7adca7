// `direct`, backward_weights: dw[o, c, k] = sum over positions of x[position + k][c] *
// g[position][o].
//
// A unit is one block of output channels for one tap and all input channels. With few input
// channels (`joins_taps`) it is a block for all taps, so that the register tile is full; the input
// is then copied, padded, and each weight reads at a fixed distance from the corner of the patch.
// With one tap the sides may change places (`swaps_sides`): a block is of input channels, for all
// output channels, and its sums already lie in the order of the weights. A task sums some units
// over some positions, in chunks that stay in cache for all its units. Positions are split among
// tasks where the sums are small beside the tensors, else units; the partial sums of a split are
// added in order.
#include <algorithm>
#include <array>
#include <bit>
#include <vector>

#include "conv/axes.h"
#include "conv/direct.h"
#include "conv/packed_weights.h"
#include "conv/padded_input.h"
#include "conv/patch_grid.h"
#include "fovea/executor.h"
#include "kernels/patch_product.h"
#include "kernels/transpose.h"

namespace fovea::conv {
namespace {

constexpr std::int64_t kPositionsPerChunk = 256;

template <class T>
class WeightGradient {
 public:
  WeightGradient(const ConvProblem& problem, const ConvArgs& args)
      : problem_(problem),
        x_(static_cast<const T*>(args.first)),
        g_(static_cast<const T*>(args.second)),
        dw_(static_cast<T*>(args.result)),
        tile_(kernels::tile_size<T>()),
        in_(problem.in_channels / problem.groups),
        out_(problem.out_channels / problem.groups),
        taps_(problem.taps()),
        swaps_(swaps_sides<T>(problem)),
        columns_(swaps_ ? in_ : out_),
        blocks_(block_count(columns_, tile_.lanes)),
        joins_taps_(in_ < tile_.gradient_rows && taps_ > 1 && may_copy_padded(problem)) {
    std::array<ConvAxis, 3> axes = three_axes(problem);
    grid_.batch = problem.batch;
    if (joins_taps_) {
      padded_values_ = padded_values(problem);
      axes = with_padding_inside(axes);
    }
    for (std::size_t a = 0; a < 3; ++a) grid_.axes[a] = forward_axis(axes[a], problem.padding_mode);
    grid_.source = dense_strides(input_sizes(axes), problem.in_channels);
    if (problem.padding_mode == PaddingMode::constant)
      constant_.assign(static_cast<std::size_t>(in_), static_cast<T>(problem.padding_value));
    places_ = grid_.places();
    rows_ = swaps_ ? out_ : joins_taps_ ? taps_ * in_ : in_;
    for (std::int64_t row = 0; row < rows_; ++row)
      offsets_.push_back(joins_taps_ ? patch_offset(axes, row) : row);
    unit_taps_ = joins_taps_ ? 1 : taps_;
    units_ = problem.groups * unit_taps_ * blocks_;
    unit_size_ = rows_ * 2 * tile_.lanes;
    const double tensors =
        static_cast<double>(problem.input_shape().numel() + problem.output_shape().numel());
    const double sums = static_cast<double>(units_ * unit_size_);
    // Powers of two, which most numbers of cores divide.
    const auto floor = [](std::int64_t count) {
      return static_cast<std::int64_t>(std::bit_floor(static_cast<std::uint64_t>(count)));
    };
    const auto wanted = static_cast<std::int64_t>(std::bit_ceil(
        static_cast<std::uint64_t>(tasks_for(static_cast<double>(problem.multiply_adds())))));
    const std::int64_t most =
        std::max<std::int64_t>(std::min(wanted, ceil_div(places_, kPositionsPerChunk)), 1);
    splits_ =
        floor(std::clamp<std::int64_t>(static_cast<std::int64_t>(tensors / (2 * sums)), 1, most));
    parts_ = std::clamp<std::int64_t>(ceil_div(wanted, splits_), 1, units_);
  }

  std::size_t workspace() const {
    return static_cast<std::size_t>(splits_ * units_ * unit_size_ + padded_values_) * sizeof(T);
  }

  void run() {
    const Workspace memory(workspace());
    sums_ = memory.as<T>();
    if (joins_taps_) {
      T* padded = sums_ + splits_ * units_ * unit_size_;
      copy_padded(problem_, x_, padded);
      x_ = padded;
    }
    parallel_for(parts_ * splits_, [&](std::int64_t task) {
      const std::int64_t part = task % parts_;
      const std::int64_t begin = part * units_ / parts_;
      const std::int64_t end = (part + 1) * units_ / parts_;
      sum_units(begin, end, task / parts_);
      if (!swaps_ || splits_ > 1) return;
      for (std::int64_t unit = begin; unit < end; ++unit) write_swapped(unit);
    });
    if (swaps_ && splits_ == 1) return;
    const std::int64_t per_block = unit_taps_ * unit_size_ * splits_;
    const std::int64_t grain = std::max<std::int64_t>(1, (1 << 15) / per_block);
    parallel_ranges(problem_.groups * blocks_, grain, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) {
        add_splits(i);
        if (swaps_) {
          write_swapped(i);
        } else {
          write_block(i / blocks_, i % blocks_);
        }
      }
    });
  }

 private:
  // Blocks of one tap follow each other, then taps, then groups.
  struct Unit {
    std::int64_t group;
    std::int64_t tap;  // 0 where taps are joined
    std::int64_t block;
    int width;  // channels
    int lanes;  // the same, padded to whole vectors
  };
  Unit unit_at(std::int64_t index) const {
    const std::int64_t block = index % blocks_;
    const int width = block_width(columns_, block, tile_.lanes);
    return {index / blocks_ / unit_taps_, index / blocks_ % unit_taps_, block, width,
            kernels::block_lanes(width, tile_.lanes)};
  }
  std::int64_t split_begin(std::int64_t split) const { return split * places_ / splits_; }
  T* sum_of(std::int64_t unit, std::int64_t split) const {
    return sums_ + (split * units_ + unit) * unit_size_;
  }

  // Distance of the value that row (tap, channel) reads from the corner of the patch.
  std::int64_t patch_offset(const std::array<ConvAxis, 3>& axes, std::int64_t row) const {
    const std::int64_t tap = row / in_;
    const std::int64_t k2 = tap % axes[2].kernel;
    const std::int64_t k1 = tap / axes[2].kernel % axes[1].kernel;
    const std::int64_t k0 = tap / axes[2].kernel / axes[1].kernel;
    return k0 * axes[0].dilation * grid_.source.axis[0] +
           k1 * axes[1].dilation * grid_.source.axis[1] +
           k2 * axes[2].dilation * grid_.source.axis[2] + row % in_;
  }

  void sum_units(std::int64_t first_unit, std::int64_t last_unit, std::int64_t split) const {
    const T* runs[kPositionsPerChunk];
    const T* gradients[kPositionsPerChunk];
    const std::int64_t tiles = ceil_div(rows_, tile_.gradient_rows);
    const std::int64_t steps = (last_unit - first_unit) * tiles;
    const std::int64_t begin = split_begin(split);
    const std::int64_t end = split_begin(split + 1);
    const std::int64_t chunks = ceil_div(end - begin, kPositionsPerChunk);  // splits are not empty
    for (std::int64_t chunk = 0; chunk < chunks; ++chunk) {
      const std::int64_t first = begin + chunk * (end - begin) / chunks;
      const std::int64_t next = begin + (chunk + 1) * (end - begin) / chunks;
      // After the last chunk, mostly the same thread goes on with the next task.
      const std::int64_t wanted = next < end || last_unit == units_ ? next : begin;
      const std::int64_t wanted_end = std::min(wanted + next - first, places_);
      std::int64_t count = 0;
      std::int64_t step = 0;
      for (std::int64_t index = first_unit; index < last_unit; ++index) {
        const Unit unit = unit_at(index);
        if (index == first_unit || unit.block == 0) {
          count = collect(unit, first, next - first, runs, gradients);
        }
        for (std::int64_t tile = 0; tile < tiles; ++tile, ++step) {
          const std::int64_t row = tile * rows_ / tiles;
          const std::int64_t row_end = (tile + 1) * rows_ / tiles;
          kernels::gradient_product<T>({.runs = swaps_ ? gradients : runs,
                                        .gradients = swaps_ ? runs : gradients,
                                        .column = unit.block * 2 * tile_.lanes,
                                        .count = count,
                                        .offsets = offsets_.data() + row,
                                        .sum = sum_of(index, split) + row * unit.lanes,
                                        .sum_step = unit.lanes,
                                        .rows = static_cast<int>(row_end - row),
                                        .width = unit.width,
                                        .ahead = ahead(wanted, wanted_end, step, steps),
                                        .begins = chunk == 0});
        }
      }
    }
  }

  // What step `step` of `steps` asks for: its share of the gradients and then the
  // inputs of the places of the next chunk. Inputs lie in the order of the places, if not exactly
  // at their pace.
  kernels::Ahead ahead(std::int64_t first, std::int64_t last, std::int64_t step,
                       std::int64_t steps) const {
    const std::int64_t inputs = grid_.source.image * problem_.batch;
    const std::int64_t of_gradients = (last - first) * problem_.out_channels;
    const std::int64_t first_input = first * inputs / places_;
    const std::int64_t of_inputs = last * inputs / places_ - first_input;
    const std::int64_t begin = (of_gradients + of_inputs) * step / steps;
    const std::int64_t end = (of_gradients + of_inputs) * (step + 1) / steps;
    const bool gradients = begin < of_gradients;
    const T* from = gradients ? g_ + first * problem_.out_channels + begin
                              : x_ + first_input + begin - of_gradients;
    return {from, (end - begin) * static_cast<std::int64_t>(sizeof(T))};
  }

  // Where the values and the gradients of these positions are. Positions at which the tap reads
  // zeros of the padding are left out: they would add nothing.
  std::int64_t collect(const Unit& unit, std::int64_t first, std::int64_t count, const T** runs,
                       const T** gradients) const {
    const AxisTable& inner = grid_.axes[2].table;
    const auto tap2 = static_cast<int>(unit.tap % inner.taps);
    const auto tap1 = static_cast<int>(unit.tap / inner.taps % grid_.axes[1].table.taps);
    const auto tap0 = static_cast<int>(unit.tap / inner.taps / grid_.axes[1].table.taps);
    const T* source = x_ + unit.group * in_;
    const T* gradient = g_ + unit.group * out_;
    std::int64_t found = 0;
    for_each_segment(grid_, first, count, [&](const GridSegment& segment, std::int64_t begin) {
      const T* row = source_row(grid_, source, segment, tap0, tap1);
      if (row == nullptr && constant_.empty()) return;
      const std::int32_t* cell = inner.row(tap2) + segment.place[2] * inner.output_step;
      for (int i = 0; i < segment.count; ++i) {
        const std::int32_t read = cell[i * inner.output_step];
        const bool padding = row == nullptr || read == kPaddingCell;
        if (padding && constant_.empty()) continue;
        runs[found] = padding ? constant_.data() : row + read * grid_.source.axis[2];
        gradients[found++] = gradient + (first + begin + i) * problem_.out_channels;
      }
    });
    return found;
  }

  // In order, of all units of a block.
  void add_splits(std::int64_t group_block) const {
    const std::int64_t group = group_block / blocks_;
    const std::int64_t block = group_block % blocks_;
    const int width = block_width(columns_, block, tile_.lanes);
    const int lanes = kernels::block_lanes(width, tile_.lanes);
    for (std::int64_t tap = 0; tap < unit_taps_; ++tap) {
      const std::int64_t unit = (group * unit_taps_ + tap) * blocks_ + block;
      T* sum = sum_of(unit, 0);
      for (std::int64_t split = 1; split < splits_; ++split) {
        const T* more = sum_of(unit, split);
        for (std::int64_t i = 0; i < rows_ * lanes; ++i) sum[i] += more[i];
      }
    }
  }

  // A block of input channels of every output channel.
  void write_swapped(std::int64_t index) const {
    const Unit unit = unit_at(index);
    const T* sum = sum_of(index, 0);
    T* to = dw_ + unit.group * out_ * in_ + unit.block * 2 * tile_.lanes;
    for (std::int64_t row = 0; row < rows_; ++row)
      std::copy_n(sum + row * unit.lanes, unit.width, to + row * in_);
  }

  // Writes [o][c][tap], some input channels at a time: their sums, scattered over the taps, stay in
  // cache while they are turned round.
  void write_block(std::int64_t group, std::int64_t block) {
    constexpr std::int64_t kChannels = 16;
    const int width = block_width(out_, block, tile_.lanes);
    const int lanes = kernels::block_lanes(width, tile_.lanes);
    const Workspace turned(static_cast<std::size_t>(width * kChannels * taps_) * sizeof(T));
    const Workspace gathered(static_cast<std::size_t>(lanes * kChannels * taps_) * sizeof(T));
    T* first = dw_ + (group * out_ + block * 2 * tile_.lanes) * in_ * taps_;
    for (std::int64_t begin = 0; begin < in_; begin += kChannels) {
      const std::int64_t count = std::min(in_ - begin, kChannels) * taps_;  // of neighbours in dw
      for (std::int64_t i = 0; i < count; ++i) {
        const std::int64_t tap = i % taps_;
        const std::int64_t unit = (group * unit_taps_ + (joins_taps_ ? 0 : tap)) * blocks_ + block;
        const std::int64_t row = (joins_taps_ ? tap * in_ : 0) + begin + i / taps_;
        std::copy_n(sum_of(unit, 0) + row * lanes, lanes, gathered.as<T>() + i * lanes);
      }
      kernels::transpose<T>(
          {.rows = count, .columns = width, .from_stride = lanes, .to_stride = count},
          gathered.as<T>(), turned.as<T>());
      for (int j = 0; j < width; ++j) {
        std::copy_n(turned.as<T>() + j * count, count, first + j * in_ * taps_ + begin * taps_);
      }
    }
  }

  const ConvProblem& problem_;
  const T* x_;
  const T* g_;
  T* dw_;
  kernels::TileSize tile_;
  std::int64_t in_;   // per group
  std::int64_t out_;  // per group
  std::int64_t taps_;
  bool swaps_;
  std::int64_t columns_;  // channels on the side of the lanes, per group
  std::int64_t blocks_;
  bool joins_taps_;
  PatchGrid grid_;
  std::vector<std::int64_t> offsets_;  // of each row of a unit
  std::vector<T> constant_;            // a cell of constant padding; empty where there is none
  std::int64_t padded_values_ = 0;
  std::int64_t places_ = 0;
  std::int64_t rows_ = 0;  // of one unit's sum
  std::int64_t unit_taps_ = 1;
  std::int64_t units_ = 0;
  std::int64_t unit_size_ = 0;
  std::int64_t splits_ = 1;  // of the positions
  std::int64_t parts_ = 1;   // of the units
  T* sums_ = nullptr;
};

}  // namespace

template <class T>
bool swaps_sides(const ConvProblem& problem) {
  const std::int64_t lanes = kernels::tile_size<T>().lanes;
  const auto idle = [&](std::int64_t columns, std::int64_t rows) {  // lanes, for each weight
    return static_cast<double>((ceil_div(columns, lanes) * lanes - columns) * rows);
  };
  const std::int64_t in = problem.in_channels / problem.groups;
  const std::int64_t out = problem.out_channels / problem.groups;
  return problem.taps() == 1 && in >= 2 * lanes && idle(in, out) <= idle(out, in);
}
template bool swaps_sides<float>(const ConvProblem&);
template bool swaps_sides<double>(const ConvProblem&);

template <class T>
void backward_weights(const ConvProblem& problem, const ConvArgs& args) {
  WeightGradient<T>(problem, args).run();
}
template void backward_weights<float>(const ConvProblem&, const ConvArgs&);
template void backward_weights<double>(const ConvProblem&, const ConvArgs&);

template <class T>
std::size_t backward_weights_workspace(const ConvProblem& problem) {
  return WeightGradient<T>(problem, {}).workspace();
}
template std::size_t backward_weights_workspace<float>(const ConvProblem&);
template std::size_t backward_weights_workspace<double>(const ConvProblem&);

}  // namespace fovea::conv
