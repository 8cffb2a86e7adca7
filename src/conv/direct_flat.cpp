// `direct`, backward_weights with one tap and no padding: dw = g^T x, a product of two matrices as
// they lie in memory. A block of input channels that many tiles read is first copied cell behind
// cell, a panel: at the distance of all channels it shares few sets of the caches. With that, there
// may be a stride.
//
// Lanes run along the input channels, so that a tile of some output channels by a block of input
// channels has its place among the weights, where its sums are kept. A task computes some tiles
// over some positions, in chunks. Positions are split among tasks where they are many beside the
// weights; the sums of the further splits are added in order.
#include <algorithm>
#include <bit>
#include <vector>

#include "conv/axes.h"
#include "conv/direct.h"
#include "conv/packed_weights.h"
#include "core/scratch.h"
#include "fovea/executor.h"
#include "kernels/patch_product.h"

namespace fovea::conv {
namespace {

// A chunk that comes from memory stays in the second-level cache for all tiles, beside the next.
constexpr std::int64_t kLongestChunk = 1024;
constexpr std::int64_t kChunkBytes = 256 << 10;
constexpr std::int64_t kCacheBytes = 12 << 20;
constexpr std::int64_t kPositionsPerSplit = 512;  // at least
// Gradients that every block reads again stay in the second-level cache; then positions need not
// be split for that.
constexpr std::int64_t kGradientBytes = 512 << 10;
constexpr std::int64_t kManyBlocks = 8;  // tasks enough without a split
// So many output channels pay for a copy of what they are multiplied by, and so many where that
// lies apart anyway.
constexpr std::int64_t kOutputsOfPanel = 400;
constexpr std::int64_t kOutputsOfStridedPanel = 150;

template <class T>
class FlatGradient {
 public:
  FlatGradient(const ConvProblem& problem, const ConvArgs& args)
      : axes_(three_axes(problem)),
        x_(static_cast<const T*>(args.first)),
        g_(static_cast<const T*>(args.second)),
        dw_(static_cast<T*>(args.result)),
        tile_(kernels::tile_size<T>()),
        in_step_(problem.in_channels),
        out_step_(problem.out_channels),
        in_(problem.in_channels / problem.groups),
        out_(problem.out_channels / problem.groups),
        blocks_(block_count(in_, tile_.lanes)),
        tiles_(ceil_div(out_, tile_.gradient_rows)),
        steps_(problem.groups * blocks_ * tiles_),
        places_(problem.output_positions()),
        strided_(!is_flat(problem)),
        packs_(strided_ || out_ >= kOutputsOfPanel),
        row_places_(strided_ ? axes_[2].output() : places_),
        weights_(problem.weight_shape().numel()) {
    const std::int64_t wanted =
        even_tasks_for(static_cast<double>(problem.multiply_adds()), 1 << 20);
    splits_ = splits(problem, wanted);
    parts_ = std::clamp<std::int64_t>(ceil_div(wanted, splits_), 1, steps_);
    if (places_ * row_bytes() > kCacheBytes)
      chunk_ = std::clamp<std::int64_t>(kChunkBytes / row_bytes(), 256, kLongestChunk);
  }

  std::size_t workspace() const {
    return static_cast<std::size_t>((splits_ - 1) * weights_) * sizeof(T);
  }

  void run() {
    const Workspace memory(workspace());
    sums_ = memory.as<T>();
    parallel_for(parts_ * splits_, [&](std::int64_t task) {
      const std::int64_t part = task % parts_;
      sum_tiles(part * steps_ / parts_, (part + 1) * steps_ / parts_, task / parts_);
    });
    if (splits_ == 1) return;
    parallel_ranges(weights_, 1 << 14, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t split = 1; split < splits_; ++split) {
        const T* more = sums_of(split);
        for (std::int64_t i = begin; i < end; ++i) dw_[i] += more[i];
      }
    });
  }

 private:
  // Tiles of a block of input channels follow each other, then blocks, then groups.
  struct Tile {
    std::int64_t group;
    std::int64_t block;
    std::int64_t row;
    std::int64_t row_end;
  };
  Tile tile_at(std::int64_t step) const {
    const std::int64_t tile = step % tiles_;
    return {step / tiles_ / blocks_, step / tiles_ % blocks_, tile * out_ / tiles_,
            (tile + 1) * out_ / tiles_};
  }

  // The panel of a tile's block.
  void pack(const Tile& tile, std::int64_t first, std::int64_t count, T* panel) const {
    const std::int64_t lanes = 2 * tile_.lanes;
    const std::int64_t width = block_width(in_, tile.block, tile_.lanes);
    for (std::int64_t place = first; place < first + count;) {
      const std::int64_t run = std::min(row_places_ - place % row_places_, first + count - place);
      const T* from = cell_of(place) + tile.group * in_ + tile.block * lanes;
      for (std::int64_t i = 0; i < run; ++i, panel += lanes)
        std::copy_n(from + i * cell_step(), width, panel);
      place += run;
    }
  }
  std::int64_t cell_step() const { return axes_[2].stride * in_step_; }
  // What a position reads.
  const T* cell_of(std::int64_t place) const {
    if (!strided_) return x_ + place * in_step_;
    const std::int64_t row = place / row_places_;
    const std::int64_t outer = row / axes_[1].output();
    const std::int64_t cell0 = outer % axes_[0].output() * axes_[0].stride;
    const std::int64_t cell1 = row % axes_[1].output() * axes_[1].stride;
    const std::int64_t plane = outer / axes_[0].output() * axes_[0].input + cell0;
    const std::int64_t cell2 = place % row_places_ * axes_[2].stride;
    return x_ + ((plane * axes_[1].input + cell1) * axes_[2].input + cell2) * in_step_;
  }

  std::int64_t splits(const ConvProblem& problem, std::int64_t wanted) const {
    const bool stays = places_ * out_ * static_cast<std::int64_t>(sizeof(T)) <= kGradientBytes;
    if (stays && problem.groups * blocks_ >= kManyBlocks) return 1;
    const std::int64_t most =
        std::max<std::int64_t>(std::min(wanted, places_ / kPositionsPerSplit), 1);
    const std::int64_t values = places_ * (in_step_ + out_step_);
    const std::int64_t count = std::clamp<std::int64_t>(values / (2 * weights_), 1, most);
    return static_cast<std::int64_t>(std::bit_floor(static_cast<std::uint64_t>(count)));
  }

  std::int64_t row_bytes() const {
    return (in_step_ + out_step_) * static_cast<std::int64_t>(sizeof(T));
  }

  // What step `step` of `steps` asks for: its share of the gradients and then the inputs of these
  // positions, unless inputs lie apart.
  kernels::Ahead ahead(std::int64_t first, std::int64_t last, std::int64_t step,
                       std::int64_t steps) const {
    const std::int64_t of_gradients = (last - first) * out_step_;
    const std::int64_t values = of_gradients + (strided_ ? 0 : (last - first) * in_step_);
    const std::int64_t begin = values * step / steps;
    const std::int64_t end = values * (step + 1) / steps;
    const T* from = begin < of_gradients ? g_ + first * out_step_ + begin
                                         : x_ + first * in_step_ + begin - of_gradients;
    return {from, (end - begin) * static_cast<std::int64_t>(sizeof(T))};
  }

  T* sums_of(std::int64_t split) const { return split == 0 ? dw_ : sums_ + (split - 1) * weights_; }
  T* place_of(const Tile& tile, std::int64_t split) const {
    return sums_of(split) + (tile.group * out_ + tile.row) * in_ + tile.block * 2 * tile_.lanes;
  }

  // What a step asks for where all positions are one chunk: the last two before the next panel, its
  // lines, of which a position has two. With a stride they do not lie at one distance, and only
  // some of what is asked for is read, of the first positions; asking for none was 3 % slower.
  kernels::Ahead next_panel(std::int64_t step, std::int64_t last_step, std::int64_t first,
                            std::int64_t count) const {
    const std::int64_t next = std::min((step / tiles_ + 1) * tiles_, last_step);
    if (next == steps_ || step + 2 < next) return {};
    const Tile tile = tile_at(next);
    const T* from =
        cell_of(first) + tile.group * in_ + (2 * tile.block + next - 1 - step) * tile_.lanes;
    return {from, count * cell_step() * static_cast<std::int64_t>(sizeof(T)) - 1};
  }

  // Some tiles over the positions of a split. The sums of several chunks are kept side by side: at
  // the distance of the weights they may share few sets of the first-level cache.
  void sum_tiles(std::int64_t first_step, std::int64_t last_step, std::int64_t split) const {
    const std::int64_t begin = split * places_ / splits_;
    const std::int64_t end = (split + 1) * places_ / splits_;
    const std::int64_t chunks = ceil_div(end - begin, chunk_);  // splits are not empty
    const bool gathers = chunks > 1;
    const std::int64_t lanes = 2 * tile_.lanes;
    const std::int64_t sum_size = tile_.gradient_rows * lanes;
    const std::int64_t sums_size = gathers ? (last_step - first_step) * sum_size : 0;
    const std::int64_t panel_size = packs_ ? ceil_div(end - begin, chunks) * lanes : 0;
    const Scratch memory(static_cast<std::size_t>(panel_size + sums_size) * sizeof(T));
    T* const panel = memory.as<T>();
    T* const sums = panel + panel_size;
    for (std::int64_t chunk = 0; chunk < chunks; ++chunk) {
      const std::int64_t first = begin + chunk * (end - begin) / chunks;
      const std::int64_t next = begin + (chunk + 1) * (end - begin) / chunks;
      // After the last chunk, mostly the same thread goes on with the next task.
      const std::int64_t wanted = next < end || last_step == steps_ ? next : begin;
      const std::int64_t wanted_end = std::min(wanted + next - first, places_);
      for (std::int64_t step = first_step; step < last_step; ++step) {
        const Tile tile = tile_at(step);
        if (packs_ && (step == first_step || tile.row == 0)) pack(tile, first, next - first, panel);
        const T* x = packs_ ? panel : x_ + first * in_step_ + tile.group * in_ + tile.block * lanes;
        const T* g = g_ + first * out_step_ + tile.group * out_;
        T* sum = gathers ? sums + (step - first_step) * sum_size : place_of(tile, split);
        kernels::gradient_product<T>(
            {.runs = &g,
             .gradients = &x,
             .column = 0,
             .count = next - first,
             .offsets = &tile.row,
             .sum = sum,
             .sum_step = gathers ? lanes : in_,
             .rows = static_cast<int>(tile.row_end - tile.row),
             .width = block_width(in_, tile.block, tile_.lanes),
             .ahead = packs_ && chunks == 1
                          ? next_panel(step, last_step, first, next - first)
                          : ahead(wanted, wanted_end, step - first_step, last_step - first_step),
             .begins = chunk == 0,
             .run_step = out_step_,
             .gradient_step = packs_ ? lanes : in_step_});
      }
    }
    for (std::int64_t step = first_step; gathers && step < last_step; ++step) {
      const Tile tile = tile_at(step);
      const T* sum = sums + (step - first_step) * sum_size;
      T* to = place_of(tile, split);
      for (std::int64_t row = tile.row; row < tile.row_end; ++row, sum += lanes, to += in_)
        std::copy_n(sum, block_width(in_, tile.block, tile_.lanes), to);
    }
  }

  std::array<ConvAxis, 3> axes_;
  const T* x_;
  const T* g_;
  T* dw_;
  kernels::TileSize tile_;
  std::int64_t in_step_;  // from position to position
  std::int64_t out_step_;
  std::int64_t in_;   // per group
  std::int64_t out_;  // per group
  std::int64_t blocks_;
  std::int64_t tiles_;  // of a block
  std::int64_t steps_;
  std::int64_t places_;
  bool strided_;
  bool packs_;               // a block of inputs, for all tiles
  std::int64_t row_places_;  // that read cells at one distance
  std::int64_t weights_;
  std::int64_t chunk_ = kLongestChunk;  // positions at most
  std::int64_t splits_ = 1;             // of the positions
  std::int64_t parts_ = 1;              // of the tiles
  T* sums_ = nullptr;
};

}  // namespace

bool is_flat(const ConvProblem& problem) {
  const std::array<ConvAxis, 3> axes = three_axes(problem);
  return std::all_of(axes.begin(), axes.end(), [](const ConvAxis& axis) {
    return axis.kernel == 1 && axis.stride == 1 && axis.padding == Sides{};
  });
}

template <class T>
bool gradient_is_flat(const ConvProblem& problem) {
  if (!swaps_sides<T>(problem)) return false;
  if (is_flat(problem)) return true;
  const std::array<ConvAxis, 3> axes = three_axes(problem);
  return problem.out_channels / problem.groups >= kOutputsOfStridedPanel &&
         std::ranges::all_of(axes, [](const ConvAxis& axis) { return axis.padding == Sides{}; });
}
template bool gradient_is_flat<float>(const ConvProblem&);
template bool gradient_is_flat<double>(const ConvProblem&);

template <class T>
void backward_weights_flat(const ConvProblem& problem, const ConvArgs& args) {
  FlatGradient<T>(problem, args).run();
}
template void backward_weights_flat<float>(const ConvProblem&, const ConvArgs&);
template void backward_weights_flat<double>(const ConvProblem&, const ConvArgs&);

template <class T>
std::size_t flat_workspace(const ConvProblem& problem) {
  return FlatGradient<T>(problem, {}).workspace();
}
template std::size_t flat_workspace<float>(const ConvProblem&);
template std::size_t flat_workspace<double>(const ConvProblem&);

}  // namespace fovea::conv
