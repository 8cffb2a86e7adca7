// `direct`, backward_data with few input channels: they would fill a small part of a vector, so
// each output position is multiplied by the weights of all taps at once, and the products are added
// to the patch that it came from: dx = fold(g W) [B].
#include <algorithm>
#include <cstring>
#include <memory>

#include "conv/axes.h"
#include "conv/direct.h"
#include "conv/packed_weights.h"
#include "conv/padded_input.h"
#include "fovea/executor.h"
#include "kernels/patch_product.h"

namespace fovea::conv {
namespace {

using kernels::kMaxTileRows;

template <class T>
class FoldedDataGradient {
 public:
  FoldedDataGradient(const ConvProblem& problem, const ConvArgs& args)
      : problem_(problem),
        axes_(three_axes(problem)),
        padded_(padded_sizes(axes_)),
        g_(static_cast<const T*>(args.first)),
        dx_(static_cast<T*>(args.result)),
        columns_(problem.taps() * problem.in_channels),
        view_{.groups = 1,
              .group_step = 0,
              .results = columns_,
              .result_step = 1,
              .taps = {0},
              .run = multiples(problem.out_channels, columns_)} {
    // [out][in][tap] to [out][tap][in], so that a row of a patch is one run.
    const Workspace turned(static_cast<std::size_t>(problem.out_channels * columns_) * sizeof(T));
    const T* weights = static_cast<const T*>(args.second);
    for (std::int64_t o = 0; o < problem.out_channels; ++o) {
      for (std::int64_t i = 0; i < columns_; ++i) {
        turned
            .as<T>()[o * columns_ + i % problem.taps() * problem.in_channels + i / problem.taps()] =
            weights[o * columns_ + i];
      }
    }
    packed_ = pack_weights<T>(problem, Pass::backward_data, {.second = turned.as<T>()}, {view_},
                              tile_.lanes);
  }

  void run() const {
    parallel_for(problem_.batch, [&](std::int64_t image) { run_image(image); });
  }

 private:
  void run_image(std::int64_t image) const {
    const std::int64_t values = padded_values(problem_) / problem_.batch;
    const Workspace patches(static_cast<std::size_t>(values) * sizeof(T));
    const Workspace products(static_cast<std::size_t>(tile_.rows * columns_) * sizeof(T));
    std::memset(patches.as<T>(), 0, static_cast<std::size_t>(values) * sizeof(T));
    const auto outputs = output_sizes(axes_);
    for (std::int64_t o0 = 0; o0 < outputs[0]; ++o0) {
      for (std::int64_t o1 = 0; o1 < outputs[1]; ++o1) {
        const std::int64_t row = ((image * outputs[0] + o0) * outputs[1] + o1) * outputs[2];
        for (std::int64_t o2 = 0; o2 < outputs[2]; o2 += tile_.rows) {
          const auto count = static_cast<int>(std::min<std::int64_t>(tile_.rows, outputs[2] - o2));
          multiply(g_ + (row + o2) * problem_.out_channels, count, products.as<T>());
          for (int i = 0; i < count; ++i) {
            add_patch({o0, o1, o2 + i}, products.as<T>() + i * columns_, patches.as<T>());
          }
        }
      }
    }
    copy_inside(image, patches.as<T>());
  }

  void multiply(const T* gradients, int count, T* products) const {
    const T* runs[kMaxTileRows];
    T* out[kMaxTileRows];
    for (int i = 0; i < count; ++i) {
      runs[i] = gradients + i * problem_.out_channels;
      out[i] = products + i * columns_;
    }
    for (std::int64_t block = 0; block < block_count(columns_, tile_.lanes); ++block) {
      kernels::patch_product<T>(
          {.runs = runs,
           .offsets = nullptr,
           .taps = 1,
           .run = problem_.out_channels,
           .weights = packed_->template as<T>() + view_.block_begin(block, tile_.lanes),
           .bias = nullptr,
           .out = out,
           .column = block * 2 * tile_.lanes,
           .rows = count,
           .width = block_width(columns_, block, tile_.lanes)});
    }
  }

  void add_patch(const std::array<std::int64_t, 3>& output, const T* from, T* patches) const {
    // Neighbouring taps of a dense kernel are one run.
    const bool joined = axes_[2].dilation == 1;
    const std::int64_t runs = joined ? 1 : axes_[2].kernel;
    const std::int64_t run = columns_ / (axes_[0].kernel * axes_[1].kernel * runs);
    const auto cell = [&](std::size_t a, std::int64_t tap) {
      return output[a] * axes_[a].stride + tap * axes_[a].dilation;
    };
    for (std::int64_t k0 = 0; k0 < axes_[0].kernel; ++k0) {
      for (std::int64_t k1 = 0; k1 < axes_[1].kernel; ++k1) {
        T* row =
            patches + (cell(0, k0) * padded_[1] + cell(1, k1)) * padded_[2] * problem_.in_channels;
        for (std::int64_t k2 = 0; k2 < runs; ++k2, from += run) {
          T* to = row + cell(2, k2) * problem_.in_channels;
          for (std::int64_t i = 0; i < run; ++i) to[i] += from[i];
        }
      }
    }
  }

  // What fell on the padding is dropped.
  void copy_inside(std::int64_t image, const T* patches) const {
    const std::int64_t row = axes_[2].input * problem_.in_channels;
    T* to = dx_ + image * axes_[0].input * axes_[1].input * row;
    for (std::int64_t i0 = 0; i0 < axes_[0].input; ++i0) {
      for (std::int64_t i1 = 0; i1 < axes_[1].input; ++i1, to += row) {
        const std::int64_t place =
            (i0 + axes_[0].padding.before) * padded_[1] + i1 + axes_[1].padding.before;
        std::copy_n(patches + (place * padded_[2] + axes_[2].padding.before) * problem_.in_channels,
                    row, to);
      }
    }
  }

  const ConvProblem& problem_;
  std::array<ConvAxis, 3> axes_;
  std::array<std::int64_t, 3> padded_;
  const T* g_;
  T* dx_;
  std::int64_t columns_;  // products per position: taps times input channels
  WeightView view_;
  kernels::TileSize tile_ = kernels::tile_size<T>();
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

template <class T>
void backward_data_folded(const ConvProblem& problem, const ConvArgs& args) {
  FoldedDataGradient<T>(problem, args).run();
}
template void backward_data_folded<float>(const ConvProblem&, const ConvArgs&);
template void backward_data_folded<double>(const ConvProblem&, const ConvArgs&);

}  // namespace fovea::conv
