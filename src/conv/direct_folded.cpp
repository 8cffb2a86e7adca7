// `direct`, backward_data with few input channels: they would fill a small part of a vector, so
// each output position is multiplied by the weights of all taps at once, and the products are added
// to the patch that it came from: dx = fold(g W) [B]. Each image is cut into bands, whose common
// cells are added when all bands are done.
#include <algorithm>
#include <cstring>
#include <memory>

#include "conv/axes.h"
#include "conv/direct.h"
#include "conv/packed_weights.h"
#include "conv/padded_input.h"
#include "fovea/executor.h"
#include "kernels/fold.h"
#include "kernels/patch_product.h"
#include "kernels/transpose.h"

namespace fovea::conv {
namespace {

using kernels::kMaxTileRows;

constexpr std::int64_t kBands = 16;         // at most, of one image
constexpr std::int64_t kTilesPerChunk = 3;  // that share one pass over the weights

// The output positions of an image in bands along one axis. A band adds up what its positions
// contribute to the cells that they read, in memory of its own; the cells behind its last stride
// belong to the next band too, and are added there.
struct Bands {
  std::size_t axis = 2;
  std::int64_t outputs = 1;  // of one band but the last
  std::int64_t count = 1;
  std::int64_t stride = 0;              // cells from band to band
  std::int64_t shared = 0;              // cells behind them that the next band adds to
  std::int64_t cells = 0;               // along the axis, of the memory of one band
  std::array<std::int64_t, 3> sizes{};  // of that memory
  std::int64_t values = 0;

  explicit Bands(const ConvProblem& problem) : axis(static_cast<std::size_t>(3 - problem.dims)) {
    const std::array<ConvAxis, 3> axes = three_axes(problem);
    const ConvAxis& along = axes[axis];
    sizes = padded_sizes(axes);
    shared = std::max<std::int64_t>(along.span() - along.stride, 0);
    const std::int64_t tasks = tasks_for(static_cast<double>(problem.multiply_adds()));
    const std::int64_t wanted = std::min(ceil_div(tasks, problem.batch), kBands);
    // A cell belongs to two bands at most.
    const std::int64_t least = std::max<std::int64_t>(ceil_div(shared, along.stride), 1);
    outputs = std::min(std::max(ceil_div(along.output(), wanted), least), along.output());
    count = ceil_div(along.output(), outputs);
    stride = outputs * along.stride;
    cells = std::max(stride + shared, sizes[axis] - (count - 1) * stride);
    sizes[axis] = cells;
    values = sizes[0] * sizes[1] * sizes[2] * problem.in_channels;
  }
};

template <class T>
class FoldedDataGradient {
 public:
  FoldedDataGradient(const ConvProblem& problem, const ConvArgs& args)
      : problem_(problem),
        axes_(three_axes(problem)),
        bands_(problem),
        g_(static_cast<const T*>(args.first)),
        dx_(static_cast<T*>(args.result)),
        columns_(problem.taps() * problem.in_channels),
        view_{.groups = 1,
              .group_step = 0,
              .results = columns_,
              .result_step = 1,
              .taps = {0},
              .run = multiples(problem.out_channels, columns_)} {
    // Neighbouring taps of a dense kernel are one run.
    const std::int64_t taps2 = axes_[2].dilation == 1 ? 1 : axes_[2].kernel;
    run_ = axes_[2].kernel / taps2 * problem.in_channels;
    for (std::int64_t k0 = 0; k0 < axes_[0].kernel; ++k0) {
      for (std::int64_t k1 = 0; k1 < axes_[1].kernel; ++k1) {
        for (std::int64_t k2 = 0; k2 < taps2; ++k2) {
          offsets_.push_back(
              offset({k0 * axes_[0].dilation, k1 * axes_[1].dilation, k2 * axes_[2].dilation}));
        }
      }
    }
    packed_ = derive_weights(
        problem, Pass::backward_data, args, WeightOrder::patches, tile_.lanes,
        static_cast<std::size_t>(view_.packed_size(tile_.lanes)) * sizeof(T),
        [&](void* memory) { pack(static_cast<const T*>(args.second), static_cast<T*>(memory)); });
  }

  void run() const {
    const Workspace patches(static_cast<std::size_t>(folded_values(problem_)) * sizeof(T));
    const auto band_at = [&](std::int64_t image, std::int64_t band) {
      return patches.as<T>() + (image * bands_.count + band) * bands_.values;
    };
    parallel_for(problem_.batch * bands_.count, [&](std::int64_t task) {
      const std::int64_t image = task / bands_.count;
      const std::int64_t band = task % bands_.count;
      sum_band(image, band, band_at(image, band));
    });
    parallel_for(problem_.batch * bands_.count, [&](std::int64_t task) {
      const std::int64_t image = task / bands_.count;
      const std::int64_t band = task % bands_.count;
      write_band(image, band, band_at(image, band), band == 0 ? nullptr : band_at(image, band - 1));
    });
  }

 private:
  // [out][in][tap] to [out][tap][in], so that a row of a patch is one run.
  void pack(const T* weights, T* packed) const {
    const Workspace turned(static_cast<std::size_t>(problem_.out_channels * columns_) * sizeof(T));
    for (std::int64_t o = 0; o < problem_.out_channels; ++o) {
      kernels::transpose<T>({.rows = problem_.in_channels,
                             .columns = problem_.taps(),
                             .from_stride = problem_.taps(),
                             .to_stride = problem_.in_channels},
                            weights + o * columns_, turned.as<T>() + o * columns_);
    }
    const auto blocks = pack_weights<T>(problem_, Pass::backward_data, {.second = turned.as<T>()},
                                        {view_}, tile_.lanes);
    std::copy_n(blocks->template as<T>(), view_.packed_size(tile_.lanes), packed);
  }

  // Of a cell in the memory of a band.
  std::int64_t offset(const std::array<std::int64_t, 3>& cell) const {
    return ((cell[0] * bands_.sizes[1] + cell[1]) * bands_.sizes[2] + cell[2]) *
           problem_.in_channels;
  }

  void sum_band(std::int64_t image, std::int64_t band, T* patches) const {
    const std::int64_t chunk = kTilesPerChunk * tile_.rows;
    const Workspace products(static_cast<std::size_t>(chunk * pitch_) * sizeof(T));
    std::memset(patches, 0, static_cast<std::size_t>(bands_.values) * sizeof(T));
    const auto outputs = output_sizes(axes_);
    std::array<std::int64_t, 3> first{};
    std::array<std::int64_t, 3> last = outputs;
    first[bands_.axis] = band * bands_.outputs;
    last[bands_.axis] = std::min(first[bands_.axis] + bands_.outputs, outputs[bands_.axis]);
    // Neighbours whose patches share no value.
    const std::int64_t apart = ceil_div(axes_[2].span(), axes_[2].stride);
    for (std::int64_t o0 = first[0]; o0 < last[0]; ++o0) {
      for (std::int64_t o1 = first[1]; o1 < last[1]; ++o1) {
        const std::int64_t row = ((image * outputs[0] + o0) * outputs[1] + o1) * outputs[2];
        for (std::int64_t o2 = first[2]; o2 < last[2]; o2 += chunk) {
          const std::int64_t count = std::min(chunk, last[2] - o2);
          multiply(g_ + (row + o2) * problem_.out_channels, count, products.as<T>());
          kernels::fold_patches<T>({.products = products.as<T>(),
                                    .product_step = pitch_,
                                    .count = count,
                                    .to = patches + offset({(o0 - first[0]) * axes_[0].stride,
                                                            (o1 - first[1]) * axes_[1].stride,
                                                            (o2 - first[2]) * axes_[2].stride}),
                                    .to_step = axes_[2].stride * problem_.in_channels,
                                    .offsets = offsets_.data(),
                                    .runs = std::ssize(offsets_),
                                    .run = run_,
                                    .apart = std::min(apart, count)});
        }
      }
    }
  }

  void multiply(const T* gradients, std::int64_t count, T* products) const {
    for (std::int64_t block = 0; block < block_count(columns_, tile_.lanes); ++block) {
      for (std::int64_t first = 0; first < count; first += tile_.rows) {
        const T* runs[kMaxTileRows];
        T* out[kMaxTileRows];
        const auto rows = static_cast<int>(std::min<std::int64_t>(tile_.rows, count - first));
        for (int i = 0; i < rows; ++i) {
          runs[i] = gradients + (first + i) * problem_.out_channels;
          out[i] = products + (first + i) * pitch_;
        }
        kernels::patch_product<T>(
            {.runs = runs,
             .taps = 1,
             .run = problem_.out_channels,
             .weights = packed_->template as<T>() + view_.block_begin(block, tile_.lanes),
             .bias = nullptr,
             .out = out,
             .column = block * 2 * tile_.lanes,
             .rows = rows,
             .width = block_width(columns_, block, tile_.lanes)});
      }
    }
  }

  // The cells of a band, its own and what the band before added to them. What fell on the padding
  // is dropped.
  void write_band(std::int64_t image, std::int64_t band, const T* own, const T* before) const {
    const std::int64_t begin = band * bands_.stride;
    const std::int64_t end = band + 1 < bands_.count ? begin + bands_.stride : begin + bands_.cells;
    for_each_run(image, begin, end, own, begin,
                 [](const T* from, std::int64_t count, T* to) { std::copy_n(from, count, to); });
    if (before == nullptr) return;
    for_each_run(image, begin, begin + bands_.shared, before, begin - bands_.stride,
                 [](const T* from, std::int64_t count, T* to) {
                   for (std::int64_t i = 0; i < count; ++i) to[i] += from[i];
                 });
  }

  // Calls f(from, count, to) for the runs of the cells [begin, end) along the axis, padding
  // counted, that are inside the input; the memory of a band begins at cell `origin`.
  template <class F>
  void for_each_run(std::int64_t image, std::int64_t begin, std::int64_t end, const T* patches,
                    std::int64_t origin, F&& f) const {
    const auto input = input_sizes(axes_);
    std::array<std::int64_t, 3> first{};
    std::array<std::int64_t, 3> last = input;
    const ConvAxis& along = axes_[bands_.axis];
    first[bands_.axis] = std::clamp<std::int64_t>(begin - along.padding.before, 0, along.input);
    last[bands_.axis] = std::clamp<std::int64_t>(end - along.padding.before, 0, along.input);
    if (first[2] >= last[2]) return;
    for (std::int64_t i0 = first[0]; i0 < last[0]; ++i0) {
      for (std::int64_t i1 = first[1]; i1 < last[1]; ++i1) {
        std::array<std::int64_t, 3> cell{i0, i1, first[2]};
        for (std::size_t a = 0; a < 3; ++a) cell[a] += axes_[a].padding.before;
        cell[bands_.axis] -= origin;
        const std::int64_t place = ((image * input[0] + i0) * input[1] + i1) * input[2] + first[2];
        f(patches + offset(cell), (last[2] - first[2]) * problem_.in_channels,
          dx_ + place * problem_.in_channels);
      }
    }
  }

  const ConvProblem& problem_;
  std::array<ConvAxis, 3> axes_;
  Bands bands_;
  const T* g_;
  T* dx_;
  std::int64_t columns_;  // products per position: taps times input channels
  WeightView view_;
  kernels::TileSize tile_ = kernels::tile_size<T>();
  std::int64_t pitch_ = ceil_div(columns_, tile_.lanes) * tile_.lanes;
  std::int64_t run_ = 0;               // values of a patch that are neighbours
  std::vector<std::int64_t> offsets_;  // of each run from the corner of the patch
  std::shared_ptr<const Workspace> packed_;
};

}  // namespace

template <class T>
bool folds(const ConvProblem& problem) {
  return problem.groups == 1 && problem.taps() > 1 &&
         problem.in_channels < kernels::tile_size<T>().lanes && may_copy_padded(problem);
}
template bool folds<float>(const ConvProblem&);
template bool folds<double>(const ConvProblem&);

std::int64_t folded_values(const ConvProblem& problem) {
  const Bands bands(problem);
  return problem.batch * bands.count * bands.values;
}

template <class T>
void backward_data_folded(const ConvProblem& problem, const ConvArgs& args) {
  FoldedDataGradient<T>(problem, args).run();
}
template void backward_data_folded<float>(const ConvProblem&, const ConvArgs&);
template void backward_data_folded<double>(const ConvProblem&, const ConvArgs&);

}  // namespace fovea::conv
