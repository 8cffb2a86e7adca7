// `direct`, backward_weights where there are more weights than values: dw[o, c, k] = sum over
// positions of x[position + k][c] * g[position][o], of few positions each.
//
// Then the time goes into moving the weights' gradient, so it is moved once: a task adds up all
// taps of some channels in memory that stays in the second-level cache, and writes them in their
// order. Blocks of gradients are copied position behind position before: at the distance of all
// channels they would not stay in the first-level cache.
#include <algorithm>
#include <numeric>
#include <vector>

#include "conv/axes.h"
#include "conv/direct.h"
#include "conv/packed_weights.h"
#include "conv/patch_grid.h"
#include "fovea/executor.h"
#include "kernels/patch_product.h"
#include "kernels/transpose.h"

namespace fovea::conv {
namespace {

constexpr std::int64_t kPositionsPerChunk = 256;
constexpr std::int64_t kSumBytes = 96 << 10;    // of a task
constexpr std::int64_t kChannelsPerWrite = 16;  // their sums stay in the first-level cache
constexpr std::int64_t kMostPositions = 1024;   // more are better cut into parts of their own
constexpr std::int64_t kTableBytes = 2 << 20;

std::int64_t table_entries(const ConvProblem& problem) {
  return problem.taps() * problem.output_positions();
}

// Of the copied gradients.
template <class T>
std::int64_t gradient_values(const ConvProblem& problem) {
  const int lanes = kernels::tile_size<T>().lanes;
  return problem.groups * block_count(problem.out_channels / problem.groups, lanes) * 2 * lanes *
         problem.output_positions();
}

template <class T>
class AssembledGradient {
 public:
  AssembledGradient(const ConvProblem& problem, const ConvArgs& args)
      : problem_(problem),
        x_(static_cast<const T*>(args.first)),
        g_(static_cast<const T*>(args.second)),
        dw_(static_cast<T*>(args.result)),
        in_(problem.in_channels / problem.groups),
        out_(problem.out_channels / problem.groups),
        taps_(problem.taps()),
        blocks_(block_count(out_, tile_.lanes)),
        grid_(forward_grid(problem)),
        places_(problem.output_positions()),
        table_(static_cast<std::size_t>(2 * taps_ * places_) * sizeof(T*)),
        gradients_(static_cast<std::size_t>(gradient_values<T>(problem)) * sizeof(T)),
        counts_(static_cast<std::size_t>(taps_)),
        channels_(static_cast<std::size_t>(problem.in_channels)),
        padding_(static_cast<std::size_t>(
                     problem.padding_mode == PaddingMode::constant ? problem.in_channels : 0),
                 static_cast<T>(problem.padding_value)) {
    std::iota(channels_.begin(), channels_.end(), 0);
    const std::int64_t row_bytes = taps_ * 2 * tile_.lanes * static_cast<std::int64_t>(sizeof(T));
    const std::int64_t tiles =
        std::max<std::int64_t>(kSumBytes / (row_bytes * tile_.gradient_rows), 1);
    const std::int64_t wanted = tasks_for(static_cast<double>(problem.multiply_adds()));
    parts_ = std::max(ceil_div(in_, tiles * tile_.gradient_rows),
                      ceil_div(wanted, problem.groups * blocks_));
    parts_ = std::min(parts_, ceil_div(in_, tile_.gradient_rows));
  }

  void run() {
    const std::int64_t blocks = problem_.groups * blocks_;
    parallel_for(taps_ + blocks, [&](std::int64_t task) {
      if (task < taps_) return locate(task);
      copy_block(task - taps_);
    });
    parallel_for(blocks * parts_, [&](std::int64_t task) {
      run_task(task / parts_ / blocks_, task / parts_ % blocks_, task % parts_);
    });
  }

 private:
  // Where one tap reads, and the gradients of these positions in the first block.
  struct Positions {
    const T** runs;
    const T** gradients;
  };
  Positions positions(std::int64_t tap) const {
    const T** runs = table_.template as<const T*>() + 2 * tap * places_;
    return {runs, runs + places_};
  }

  // Positions at which the tap reads zeros of the padding are left out: they would add nothing.
  void locate(std::int64_t tap) {
    const Positions found = positions(tap);
    std::int64_t count = 0;
    const AxisTable& inner = grid_.axes[2].table;
    const auto tap2 = static_cast<int>(tap % inner.taps);
    const auto tap1 = static_cast<int>(tap / inner.taps % grid_.axes[1].table.taps);
    const auto tap0 = static_cast<int>(tap / inner.taps / grid_.axes[1].table.taps);
    const T* const blocks = gradients_.template as<T>();
    const std::int64_t lanes = 2 * tile_.lanes;
    for_each_segment(grid_, 0, places_, [&](const GridSegment& segment, std::int64_t begin) {
      const T* row = source_row(grid_, x_, segment, tap0, tap1);
      if (row == nullptr && padding_.empty()) return;
      const std::int32_t* cell = inner.row(tap2) + segment.place[2] * inner.output_step;
      for (int i = 0; i < segment.count; ++i) {
        const std::int32_t read = cell[i * inner.output_step];
        const bool padding = row == nullptr || read == kPaddingCell;
        if (padding && padding_.empty()) continue;
        found.runs[count] = padding ? padding_.data() : row + read * grid_.source.axis[2];
        found.gradients[count++] = blocks + (begin + i) * lanes;
      }
    });
    counts_[static_cast<std::size_t>(tap)] = count;
  }

  void copy_block(std::int64_t index) const {
    const std::int64_t lanes = 2 * tile_.lanes;
    const std::int64_t block = index % blocks_;
    const T* from = g_ + index / blocks_ * out_ + block * lanes;
    T* to = gradients_.template as<T>() + index * places_ * lanes;
    const int width = block_width(out_, block, tile_.lanes);
    for (std::int64_t i = 0; i < places_; ++i)
      std::copy_n(from + i * problem_.out_channels, width, to + i * lanes);
  }

  // Some input channels of one block of output channels.
  void run_task(std::int64_t group, std::int64_t block, std::int64_t part) const {
    const std::int64_t first = part * in_ / parts_;
    const std::int64_t last = (part + 1) * in_ / parts_;
    const int width = block_width(out_, block, tile_.lanes);
    const std::int64_t lanes = kernels::block_lanes(width, tile_.lanes);
    const Workspace memory(static_cast<std::size_t>((last - first) * taps_ * lanes) * sizeof(T));
    T* sums = memory.as<T>();  // [channel][tap][lane]
    const std::int64_t chunks = ceil_div(places_, kPositionsPerChunk);
    const std::int64_t tiles = ceil_div(last - first, tile_.gradient_rows);
    for (std::int64_t chunk = 0; chunk < chunks; ++chunk) {
      for (std::int64_t tap = 0; tap < taps_; ++tap) {
        const Positions found = positions(tap);
        const std::int64_t count = counts_[static_cast<std::size_t>(tap)];
        const std::int64_t begin = chunk * count / chunks;
        const std::int64_t end = (chunk + 1) * count / chunks;
        for (std::int64_t tile = 0; tile < tiles; ++tile) {
          const std::int64_t row = tile * (last - first) / tiles;
          const std::int64_t row_end = (tile + 1) * (last - first) / tiles;
          kernels::gradient_product<T>(
              {.runs = found.runs + begin,
               .gradients = found.gradients + begin,
               .column = (group * blocks_ + block) * places_ * 2 * tile_.lanes,
               .count = end - begin,
               .offsets = channels_.data() + group * in_ + first + row,
               .sum = sums + (row * taps_ + tap) * lanes,
               .sum_step = taps_ * lanes,
               .rows = static_cast<int>(row_end - row),
               .width = width,
               .begins = chunk == 0});
        }
      }
    }
    T* dw = dw_ + ((group * out_ + block * 2 * tile_.lanes) * in_ + first) * taps_;
    for (std::int64_t c = 0; c < last - first; c += kChannelsPerWrite) {
      kernels::transpose<T>({.rows = std::min(kChannelsPerWrite, last - first - c) * taps_,
                             .columns = width,
                             .from_stride = lanes,
                             .to_stride = in_ * taps_},
                            sums + c * taps_ * lanes, dw + c * taps_);
    }
  }

  const ConvProblem& problem_;
  const T* x_;
  const T* g_;
  T* dw_;
  kernels::TileSize tile_ = kernels::tile_size<T>();
  std::int64_t in_;   // per group
  std::int64_t out_;  // per group
  std::int64_t taps_;
  std::int64_t blocks_;
  PatchGrid grid_;
  std::int64_t places_;
  Workspace table_;
  Workspace gradients_;                 // [group][block][position][lane]
  std::vector<std::int64_t> counts_;    // of positions, for each tap
  std::int64_t parts_ = 1;              // of the input channels
  std::vector<std::int64_t> channels_;  // 0, 1, ...
  std::vector<T> padding_;              // a cell of constant padding; empty where there is none
};

}  // namespace

template <class T>
bool assembles(const ConvProblem& problem) {
  const auto bytes = static_cast<std::int64_t>(2 * sizeof(T*)) * table_entries(problem);
  const std::int64_t values = problem.input_shape().numel() + problem.output_shape().numel();
  return !swaps_sides<T>(problem) &&
         problem.in_channels / problem.groups >= kernels::tile_size<T>().gradient_rows &&
         values < 4 * problem.weight_shape().numel() &&
         problem.output_positions() <= kMostPositions && bytes <= kTableBytes;
}
template bool assembles<float>(const ConvProblem&);
template bool assembles<double>(const ConvProblem&);

template <class T>
std::size_t assembled_workspace(const ConvProblem& problem) {
  return static_cast<std::size_t>(table_entries(problem)) * 2 * sizeof(T*) +
         static_cast<std::size_t>(gradient_values<T>(problem)) * sizeof(T);
}
template std::size_t assembled_workspace<float>(const ConvProblem&);
template std::size_t assembled_workspace<double>(const ConvProblem&);

template <class T>
void backward_weights_assembled(const ConvProblem& problem, const ConvArgs& args) {
  AssembledGradient<T>(problem, args).run();
}
template void backward_weights_assembled<float>(const ConvProblem&, const ConvArgs&);
template void backward_weights_assembled<double>(const ConvProblem&, const ConvArgs&);

}  // namespace fovea::conv
