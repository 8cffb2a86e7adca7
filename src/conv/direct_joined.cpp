// `direct`, forward with few input channels: a tap's run is too short to pay for its start.
//
// Once the padding is really there, a row of the kernel is one run of kernel * channels values, and
// places lie at one distance. So the input is copied, padded, and kernels/stepped_product.cpp goes
// through a patch by one list of steps. A task computes some pieces of rows of results.
#include <algorithm>
#include <bit>
#include <memory>
#include <vector>

#include "conv/axes.h"
#include "conv/direct.h"
#include "conv/epilogue.h"
#include "conv/packed_weights.h"
#include "conv/padded_input.h"
#include "core/storage.h"
#include "fovea/executor.h"
#include "kernels/group_product.h"
#include "kernels/stepped_product.h"
#include "kernels/stream.h"

namespace fovea::conv {
namespace {

constexpr std::int64_t kPiecePlaces = 224;
constexpr std::int64_t kLeastPlaces = 5;  // of a row of results: fewer fill no tile

// Weights by rows of the kernel, of which each is a run.
WeightView view_of(const ConvProblem& problem, const std::array<ConvAxis, 3>& axes) {
  const std::int64_t taps = problem.taps();
  WeightView view{.group_step = 0,
                  .results = problem.out_channels,
                  .result_step = problem.in_channels * taps,
                  .taps = multiples(taps / axes[2].kernel, axes[2].kernel),
                  .run = {}};
  for (std::int64_t k = 0; k < axes[2].kernel; ++k) {
    for (std::int64_t c = 0; c < problem.in_channels; ++c) view.run.push_back(c * taps + k);
  }
  return view;
}

template <class T>
class JoinedForward {
 public:
  JoinedForward(const ConvProblem& problem, const ConvArgs& args)
      : problem_(problem),
        args_(args),
        finish_(args),
        axes_(three_axes(problem)),
        view_(view_of(problem, axes_)),
        packed_(pack_weights<T>(problem, Pass::forward, args, {view_}, lanes_)),
        padded_(static_cast<std::size_t>(padded_values(problem)) * sizeof(T)),
        outputs_(output_sizes(axes_)),
        sizes_(padded_sizes(axes_)),
        channels_(problem.in_channels),
        row_(sizes_[2] * channels_),
        rows_(problem.batch * outputs_[0] * outputs_[1]),
        pieces_(ceil_div(outputs_[2], kPiecePlaces)) {
    const auto wanted = static_cast<std::int64_t>(std::bit_ceil(
        static_cast<std::uint64_t>(tasks_for(static_cast<double>(problem.multiply_adds())))));
    tasks_ = std::min(wanted, rows_ * pieces_);
    const std::int64_t row_bytes = view_.results * static_cast<std::int64_t>(sizeof(T));
    bypasses_ = !finish_.remains() &&
                bypasses_caches(args.result, rows_ * outputs_[2] * row_bytes, row_bytes,
                                static_cast<std::int64_t>(view_.taps.size() * view_.run.size()));
    const std::int64_t run = std::ssize(view_.run);
    for (std::int64_t k0 = 0; k0 < axes_[0].kernel; ++k0) {
      for (std::int64_t k1 = 0; k1 < axes_[1].kernel; ++k1) {
        const std::int64_t cell = k0 * axes_[0].dilation * sizes_[1] + k1 * axes_[1].dilation;
        if (!steps_.empty()) steps_.back() = cell * row_ - last_run_ - (run - 1);
        last_run_ = cell * row_;
        steps_.resize(steps_.size() + static_cast<std::size_t>(run), 1);
      }
    }
  }

  void run() const {
    copy_padded(problem_, static_cast<const T*>(args_.first), padded_.template as<T>());
    parallel_for(tasks_, [&](std::int64_t task) {
      const std::int64_t pieces = rows_ * pieces_;
      for (std::int64_t i = task * pieces / tasks_; i < (task + 1) * pieces / tasks_; ++i) {
        const Piece piece = piece_at(i);
        multiply(piece, i + 1 < pieces ? ahead(piece_at(i + 1)) : kernels::Ahead{});
      }
      if (bypasses_) kernels::finish_streaming();
    });
  }

 private:
  // Some places of a row of results.
  struct Piece {
    std::int64_t row;
    std::int64_t first;
    std::int64_t count;
  };
  Piece piece_at(std::int64_t i) const {
    const std::int64_t first = i % pieces_ * outputs_[2] / pieces_;
    return {i / pieces_, first, (i % pieces_ + 1) * outputs_[2] / pieces_ - first};
  }

  // What the first row of the kernel reads at the first place.
  const T* source(const Piece& piece) const {
    const std::int64_t o1 = piece.row % outputs_[1];
    const std::int64_t outer = piece.row / outputs_[1];
    const std::int64_t image = outer / outputs_[0];
    const std::int64_t o0 = outer % outputs_[0];
    const std::int64_t row = (image * sizes_[0] + o0 * axes_[0].stride) * sizes_[1];
    return padded_.template as<T>() + (row + o1 * axes_[1].stride) * row_ +
           piece.first * axes_[2].stride * channels_;
  }

  // The rows that no row of results before has read, or the last one where a row is in pieces.
  kernels::Ahead ahead(const Piece& piece) const {
    const std::int64_t rows = pieces_ > 1 ? 1 : std::min(axes_[1].stride, axes_[1].span());
    const T* last = source(piece) + last_run_;
    const std::int64_t values =
        ((piece.count - 1) * axes_[2].stride + axes_[2].kernel) * channels_ + (rows - 1) * row_;
    return {last - (rows - 1) * row_, values * static_cast<std::int64_t>(sizeof(T))};
  }

  void multiply(const Piece& piece, kernels::Ahead ahead) const {
    const std::int64_t blocks = block_count(view_.results, lanes_);
    ahead.bytes = ceil_div(ahead.bytes, blocks);
    const std::int64_t place = piece.row * outputs_[2] + piece.first;
    T* const result = static_cast<T*>(args_.result) + place * view_.results;
    const T* const bias = static_cast<const T*>(args_.bias);
    for (std::int64_t block = 0; block < blocks; ++block) {
      const std::int64_t column = block * 2 * lanes_;
      kernels::stepped_product<T>(
          {.from = source(piece),
           .steps = steps_.data(),
           .reduced = std::ssize(steps_),
           .places = static_cast<int>(piece.count),
           .place_step = axes_[2].stride * channels_,
           .weights = packed_->template as<T>() + view_.block_begin(block, lanes_),
           .width = block_width(view_.results, block, lanes_),
           .bias = bias == nullptr ? nullptr : bias + column,
           .out = result + column,
           .out_step = view_.results,
           .epilogue = finish_.at_store(),
           .ahead = ahead,
           .bypass = bypasses_});
      ahead.begin = static_cast<const char*>(ahead.begin) + ahead.bytes;
    }
    if (finish_.remains()) finish_.rest(piece.count * view_.results, result);
  }

  const ConvProblem& problem_;
  const ConvArgs& args_;
  Finish<T> finish_;
  std::array<ConvAxis, 3> axes_;
  WeightView view_;
  int lanes_ = kernels::vector_lanes<T>();
  std::shared_ptr<const Workspace> packed_;
  Workspace padded_;
  std::array<std::int64_t, 3> outputs_;
  std::array<std::int64_t, 3> sizes_;  // of the padded input
  std::int64_t channels_;
  std::int64_t row_;                 // values of a padded one
  std::int64_t rows_;                // of results
  std::int64_t pieces_;              // of a row
  std::vector<std::int64_t> steps_;  // from value to value of a patch
  std::int64_t last_run_ = 0;        // from its first value to its last run
  std::int64_t tasks_ = 1;
  bool bypasses_ = false;
};

}  // namespace

bool joins_rows(const ConvProblem& problem) {
  const ConvAxis inner = three_axes(problem)[2];
  return problem.groups == 1 && problem.in_channels < 16 && inner.kernel > 1 &&
         inner.dilation == 1 && inner.output() >= kLeastPlaces && may_copy_padded(problem);
}

template <class T>
void forward_joined(const ConvProblem& problem, const ConvArgs& args) {
  JoinedForward<T>(problem, args).run();
}
template void forward_joined<float>(const ConvProblem&, const ConvArgs&);
template void forward_joined<double>(const ConvProblem&, const ConvArgs&);

}  // namespace fovea::conv
