// `fft` where channels are added up: at each frequency, the tiles' spectra times a complex matrix
// of the weights' spectra.
//
// As many rows (tiles) at a time as fit the last-level cache: spectra of the source
// [frequency][re, im][row][channel], products [frequency][re, im][row][block][lane], and back.
// backward_weights is the product over the rows, of both operands' spectra, added up over all rows
// in their order. Weights and their gradient are [frequency][block][reduced][re, im][lane].
#include <algorithm>
#include <array>
#include <cstring>

#include "conv/axes.h"
#include "conv/fft_passes.h"
#include "conv/fft_weights.h"
#include "conv/packed_weights.h"
#include "conv/tasks.h"
#include "core/scratch.h"
#include "fovea/executor.h"

namespace fovea::conv {
namespace {

using kernels::Planes;

constexpr std::int64_t kBatchBytes = 16 << 20;  // of spectra at a time: the last-level cache
constexpr std::int64_t kFewestRows = 24;        // that are worth a pass over the weights

// Channels of a tensor in vectors that belong to one group each.
struct Blocks {
  std::int64_t groups = 1;
  std::int64_t channels = 1;  // of one group
  std::int64_t lanes = 1;

  std::int64_t per_group() const { return ceil_div(channels, lanes); }
  std::int64_t count() const { return groups * per_group(); }
  std::int64_t first(std::int64_t block) const {
    return block / per_group() * channels + block % per_group() * lanes;
  }
  std::int64_t width(std::int64_t block) const {
    return std::min(lanes, channels - block % per_group() * lanes);
  }
};

// Spectra of some rows at all frequencies, in vectors of these blocks.
template <class T>
struct Spectra {
  T* data = nullptr;
  std::int64_t rows = 0;
  std::int64_t pitch = 0;  // of one row
  std::int64_t step = 0;   // of one frequency

  Spectra() = default;
  Spectra(std::int64_t row_count, const Blocks& blocks)
      : rows(row_count),
        pitch(blocks.count() * blocks.lanes),
        // One vector more than needed: steps of whole pages would all meet in one place of the
        // cache.
        step(2 * rows * pitch + blocks.lanes) {}
  std::int64_t imaginary() const { return rows * pitch; }
};

// One vector of a tile's channels; row counts within the rows at hand.
struct Place {
  std::int64_t row;
  std::int64_t block;
};

// Two of them are transformed at once: two blocks of channels of one row, or, where there is only
// one block, two tiles of one image.
struct Pair {
  Place a;
  std::optional<Place> b;
};

template <class T>
class Dense {
 public:
  Dense(const ConvProblem& problem, Pass pass, const ConvArgs& args, const FftTiling& tiling)
      : problem_(problem),
        pass_(pass),
        args_(args),
        finish_(args),
        tiling_(tiling),
        layout_(fft_layout<T>(tiling)),
        lanes_(layout_.lanes),
        tiles_(tiling.tiles_per_image()) {
    const std::int64_t in = problem.in_channels / problem.groups;
    const std::int64_t out = problem.out_channels / problem.groups;
    const bool to_data = pass == Pass::backward_data;
    reduced_ = to_data ? out : in;
    // Sources are read value by value, so that groups need no vectors of their own.
    source_ = {.groups = 1, .channels = reduced_ * problem.groups, .lanes = lanes_};
    result_ = {.groups = problem.groups, .channels = to_data ? in : out, .lanes = lanes_};
    source_strides_ = tiling.source_strides(source_.channels);
    result_strides_ = tiling.result_strides(result_.groups * result_.channels);
    // Whole pairs of tiles in each image; the last may be one of zeros.
    const bool pairs = tiles_ > 1 && (source_.count() == 1 || result_.count() == 1);
    rows_per_image_ = pairs ? ceil_div(tiles_, 2) * 2 : tiles_;
    const std::int64_t rows = problem.batch * rows_per_image_;
    const std::int64_t row_bytes = layout_.frequency_count * 2 *
                                   (source_.count() + result_.count()) * lanes_ *
                                   static_cast<std::int64_t>(sizeof(T));
    const std::int64_t most = std::max(kBatchBytes / row_bytes / 2 * 2, kFewestRows);
    batches_ = ceil_div(rows, most);
    batch_rows_ = std::min(rows, ceil_div(ceil_div(rows, batches_), 2) * 2);
    from_ = Spectra<T>(batch_rows_, source_);
    to_ = Spectra<T>(batch_rows_, result_);
  }

  std::size_t workspace() const {
    const std::int64_t tasks = std::min(
        kTasks, std::max(pair_count(source_, batch_rows_), pair_count(result_, batch_rows_)));
    return bytes(weight_values() + (from_.step + to_.step) * layout_.frequency_count +
                 tasks * task_values());
  }

  void run() {
    transform_ = fft_transform<T>(layout_);
    const Workspace memory(bytes((from_.step + to_.step) * layout_.frequency_count));
    from_.data = memory.as<T>();
    to_.data = from_.data + from_.step * layout_.frequency_count;
    if (pass_ == Pass::backward_weights) {
      run_gradient();
    } else {
      run_product();
    }
  }

 private:
  using Rows = typename FftTransform<T>::Rows;

  static std::size_t bytes(std::int64_t values) {
    return static_cast<std::size_t>(values) * sizeof(T);
  }
  std::int64_t task_values() const { return layout_.block_values() + layout_.work_values(); }
  std::int64_t weight_values() const { return layout_.frequency_count * weight_step(); }
  std::int64_t weight_step() const { return result_.count() * reduced_ * 2 * lanes_; }
  std::int64_t row_count() const { return problem_.batch * rows_per_image_; }
  std::int64_t rows_of(std::int64_t batch) const {
    return std::min(batch_rows_, row_count() - batch * batch_rows_);
  }

  void run_product() const {
    const SpectrumOrder order =
        pass_ == Pass::forward ? SpectrumOrder::forward : SpectrumOrder::backward_data;
    const auto weights = derive_weights(
        args_, spectrum_key(problem_, tiling_, order, lanes_), bytes(weight_values()),
        [&](void* memory) { transform_weights(static_cast<T*>(memory)); });
    const T* const w = weights->template as<T>();
    for (std::int64_t batch = 0; batch * batch_rows_ < row_count(); ++batch) {
      const std::int64_t first = batch * batch_rows_;
      spread(static_cast<const T*>(args_.first), source_strides_, false, source_, from_, first,
             rows_of(batch));
      multiply(w, rows_of(batch));
      collect(first, rows_of(batch));
    }
  }

  void run_gradient() const {
    const Workspace sums(bytes(weight_values()));
    for (std::int64_t batch = 0; batch * batch_rows_ < row_count(); ++batch) {
      const std::int64_t first = batch * batch_rows_;
      spread(static_cast<const T*>(args_.first), source_strides_, false, source_, from_, first,
             rows_of(batch));
      spread(static_cast<const T*>(args_.second), result_strides_, true, result_, to_, first,
             rows_of(batch));
      add_products(sums.as<T>(), rows_of(batch), batch > 0);
    }
    write_gradient(sums.as<T>());
  }

  // ---- Tiles, to their spectra and back.

  std::int64_t pair_count(const Blocks& blocks, std::int64_t rows) const {
    if (blocks.count() > 1) return rows * ceil_div(blocks.count(), 2);
    return rows_per_image_ > 1 ? ceil_div(rows, 2) : rows;
  }
  Pair pair_at(const Blocks& blocks, std::int64_t index) const {
    if (blocks.count() == 1) {
      if (rows_per_image_ == 1) return {{index, 0}, {}};
      return {{2 * index, 0}, Place{2 * index + 1, 0}};
    }
    const std::int64_t pairs = ceil_div(blocks.count(), 2);
    const std::int64_t row = index / pairs;
    const std::int64_t block = index % pairs * 2;
    if (block + 1 == blocks.count()) return {{row, block}, {}};
    return {{row, block}, Place{row, block + 1}};
  }

  // Whether both have neighbouring channels of one tile, which are moved together.
  bool are_joined(const Blocks& blocks, const Pair& pair) const {
    return pair.b && pair.b->row == pair.a.row && blocks.width(pair.a.block) == lanes_ &&
           blocks.first(pair.b->block) == blocks.first(pair.a.block) + lanes_;
  }

  // Calls f(image, tile, place) unless the row is one of zeros.
  template <class F>
  void at_tile(std::int64_t first_row, const Place& place, const F& f) const {
    const std::int64_t row = first_row + place.row;
    const std::int64_t tile = row % rows_per_image_;
    if (tile < tiles_) f(row / rows_per_image_, tile, place);
  }

  void spread(const T* tensor, const GridStrides& strides, bool results, const Blocks& blocks,
              const Spectra<T>& spectra, std::int64_t first, std::int64_t rows) const {
    parallel_for(pair_count(blocks, rows), [&](std::int64_t index) {
      const Pair pair = pair_at(blocks, index);
      const Scratch memory(bytes(task_values()));
      const Planes<T> planes = transform_->planes(memory.as<T>());
      transform_->clear(planes);
      Rows filled(layout_);
      const bool joined = are_joined(blocks, pair);
      const auto load = [&](const Place& at, const Planes<T>& to) {
        at_tile(first, at, [&](std::int64_t image, std::int64_t tile, const Place& place) {
          const TileRuns runs = results ? tiling_.result_runs(tile) : tiling_.source_runs(tile);
          const std::int64_t width =
              blocks.width(place.block) + (joined ? blocks.width(place.block + 1) : 0);
          transform_->load(tensor + image * strides.image + blocks.first(place.block), strides,
                           runs, width, to);
          filled.add(runs);
        });
      };
      load(pair.a, planes);
      if (pair.b && !joined) load(*pair.b, {planes.im, nullptr});
      transform_->forward(planes, filled, memory.as<T>() + layout_.block_values());
      const auto place = [&](const Place& at) {
        return spectra.data + at.row * spectra.pitch + at.block * lanes_;
      };
      kernels::split_spectra<T>(transform_->frequencies(), {planes.re, planes.im}, T(1),
                                {.a = place(pair.a),
                                 .b = pair.b ? place(*pair.b) : nullptr,
                                 .step = spectra.step,
                                 .imaginary = spectra.imaginary()});
    });
  }

  void collect(std::int64_t first, std::int64_t rows) const {
    const T* const bias = static_cast<const T*>(args_.bias);
    parallel_for(pair_count(result_, rows), [&](std::int64_t index) {
      const Pair pair = pair_at(result_, index);
      const Scratch memory(bytes(task_values()));
      const Planes<T> planes = transform_->planes(memory.as<T>());
      const auto place = [&](const Place& at) {
        return to_.data + at.row * to_.pitch + at.block * lanes_;
      };
      kernels::join_spectra<T>(transform_->frequencies(),
                               {.a = place(pair.a),
                                .b = pair.b ? place(*pair.b) : nullptr,
                                .step = to_.step,
                                .imaginary = to_.imaginary()},
                               T(1), planes);
      Rows wanted(layout_);
      const auto want = [&](std::int64_t, std::int64_t tile, const Place&) {
        wanted.add(tiling_.result_runs(tile));
      };
      at_tile(first, pair.a, want);
      if (pair.b) at_tile(first, *pair.b, want);
      transform_->inverse(planes, wanted, memory.as<T>() + layout_.block_values());
      const bool joined = are_joined(result_, pair);
      const auto store = [&](const Place& from, const Planes<T>& lanes) {
        at_tile(first, from, [&](std::int64_t image, std::int64_t tile, const Place& at) {
          const std::int64_t channel = result_.first(at.block);
          transform_->store(
              lanes, tiling_.result_runs(tile),
              result_.width(at.block) + (joined ? result_.width(at.block + 1) : 0),
              {.image = static_cast<T*>(args_.result) + image * result_strides_.image + channel,
               .strides = result_strides_,
               .bias = bias == nullptr ? nullptr : bias + channel,
               .finish = finish_});
        });
      };
      store(pair.a, planes);
      if (pair.b && !joined) store(*pair.b, {planes.im, nullptr});
    });
  }

  // ---- Products at each frequency.

  // Calls f(frequency, block) for all, in parallel.
  template <class F>
  void for_each_product(const F& f) const {
    const std::int64_t grain = std::max<std::int64_t>(layout_.frequency_count / kTasks, 1);
    parallel_ranges(layout_.frequency_count, grain, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t h = begin; h < end; ++h) {
        for (std::int64_t block = 0; block < result_.count(); ++block) f(h, block);
      }
    });
  }

  // The first source channel of a block's group.
  std::int64_t reduced_of(std::int64_t block) const {
    return block / result_.per_group() * reduced_;
  }

  void multiply(const T* weights, std::int64_t rows) const {
    for_each_product([&](std::int64_t h, std::int64_t block) {
      kernels::complex_product<T>({.rows = rows,
                                   .reduced = reduced_,
                                   .a = from_.data + h * from_.step + reduced_of(block),
                                   .a_imaginary = from_.imaginary(),
                                   .a_row = from_.pitch,
                                   .a_reduced = 1,
                                   .b = weights + h * weight_step() + block * reduced_ * 2 * lanes_,
                                   .b_imaginary = lanes_,
                                   .b_reduced = 2 * lanes_,
                                   .out = to_.data + h * to_.step + block * lanes_,
                                   .out_imaginary = to_.imaginary(),
                                   .out_row = to_.pitch,
                                   .conjugate = pass_ == Pass::forward,
                                   .ahead = from_.data + (h + 1) * from_.step +
                                            block * rows * from_.pitch * 2 / result_.count()});
    });
  }

  void add_products(T* sums, std::int64_t rows, bool adds) const {
    for_each_product([&](std::int64_t h, std::int64_t block) {
      kernels::complex_product<T>({.rows = reduced_,
                                   .reduced = rows,
                                   .a = from_.data + h * from_.step + reduced_of(block),
                                   .a_imaginary = from_.imaginary(),
                                   .a_row = 1,
                                   .a_reduced = from_.pitch,
                                   .b = to_.data + h * to_.step + block * lanes_,
                                   .b_imaginary = to_.imaginary(),
                                   .b_reduced = to_.pitch,
                                   .out = sums + h * weight_step() + block * reduced_ * 2 * lanes_,
                                   .out_imaginary = lanes_,
                                   .out_row = 2 * lanes_,
                                   .conjugate = true,
                                   .adds = adds,
                                   .ahead = from_.data + (h + 1) * from_.step +
                                            block * rows * from_.pitch * 2 / result_.count()});
    });
  }

  // ---- Weights: two of the reduced channels at once.

  // Calls f(block, first of two reduced channels, offset of their kernels in [out][in][taps],
  // distance of the second, distance of the next result) for all, in parallel.
  template <class F>
  void for_each_kernel_pair(const F& f) const {
    const std::int64_t taps = problem_.taps();
    const std::int64_t in = problem_.in_channels / problem_.groups;
    const bool to_data = pass_ == Pass::backward_data;
    const std::int64_t result_step = to_data ? taps : in * taps;
    const std::int64_t reduced_step = to_data ? in * taps : taps;
    const std::int64_t pairs = ceil_div(reduced_, 2);
    parallel_for(result_.count() * pairs, [&](std::int64_t task) {
      const std::int64_t block = task / pairs;
      const std::int64_t k = task % pairs * 2;
      const std::int64_t group = block / result_.per_group();
      const std::int64_t place = block % result_.per_group() * lanes_;
      const std::int64_t group_step = problem_.out_channels / problem_.groups * in * taps;
      f(block, k, group * group_step + place * result_step + k * reduced_step, reduced_step,
        result_step);
    });
  }

  void transform_weights(T* spectra) const {
    const T* const w = static_cast<const T*>(args_.second);
    for_each_kernel_pair([&](std::int64_t block, std::int64_t k, std::int64_t offset,
                             std::int64_t next, std::int64_t result_step) {
      const Scratch memory(bytes(task_values()));
      const Planes<T> planes = transform_->planes(memory.as<T>());
      transform_->clear(planes);
      const std::int64_t width = result_.width(block);
      spread_taps(tiling_, layout_, w + offset, result_step, width, planes.re);
      const bool two = k + 1 < reduced_;
      if (two) spread_taps(tiling_, layout_, w + offset + next, result_step, width, planes.im);
      Rows filled(layout_);
      filled.add(tap_runs(tiling_));
      transform_->forward(planes, filled, memory.as<T>() + layout_.block_values());
      T* const to = spectra + (block * reduced_ + k) * 2 * lanes_;
      kernels::split_spectra<T>(transform_->frequencies(), {planes.re, planes.im},
                                transform_->scale() / 4,
                                {.a = to,
                                 .b = two ? to + 2 * lanes_ : nullptr,
                                 .step = weight_step(),
                                 .imaginary = lanes_});
    });
  }

  void write_gradient(const T* sums) const {
    T* const dw = static_cast<T*>(args_.result);
    for_each_kernel_pair([&](std::int64_t block, std::int64_t k, std::int64_t offset,
                             std::int64_t next, std::int64_t result_step) {
      const Scratch memory(bytes(task_values()));
      const Planes<T> planes = transform_->planes(memory.as<T>());
      const T* const from = sums + (block * reduced_ + k) * 2 * lanes_;
      const bool two = k + 1 < reduced_;
      kernels::join_spectra<T>(transform_->frequencies(),
                               {.a = from,
                                .b = two ? from + 2 * lanes_ : nullptr,
                                .step = weight_step(),
                                .imaginary = lanes_},
                               transform_->scale() / 4, planes);
      Rows wanted(layout_);
      wanted.add(tap_runs(tiling_));
      transform_->inverse(planes, wanted, memory.as<T>() + layout_.block_values());
      const std::int64_t width = result_.width(block);
      gather_taps<T>(tiling_, layout_, planes.re, width, result_step, dw + offset);
      if (two) gather_taps<T>(tiling_, layout_, planes.im, width, result_step, dw + offset + next);
    });
  }

  const ConvProblem& problem_;
  Pass pass_;
  const ConvArgs& args_;
  Finish<T> finish_;
  const FftTiling& tiling_;
  FftLayout layout_;
  std::shared_ptr<const FftTransform<T>> transform_;  // while running
  std::int64_t lanes_;
  std::int64_t tiles_;    // of one image
  std::int64_t reduced_;  // source channels of one group
  Blocks source_;
  Blocks result_;
  GridStrides source_strides_;
  GridStrides result_strides_;
  std::int64_t rows_per_image_ = 0;  // tiles, and perhaps one of zeros
  std::int64_t batches_ = 1;
  std::int64_t batch_rows_ = 0;
  Spectra<T> from_;
  Spectra<T> to_;
};

}  // namespace

template <class T>
void fft_dense(const ConvProblem& problem, Pass pass, const ConvArgs& args,
               const FftTiling& tiling) {
  Dense<T>(problem, pass, args, tiling).run();
}
template void fft_dense<float>(const ConvProblem&, Pass, const ConvArgs&, const FftTiling&);
template void fft_dense<double>(const ConvProblem&, Pass, const ConvArgs&, const FftTiling&);

template <class T>
std::size_t fft_dense_workspace(const ConvProblem& problem, Pass pass, const FftTiling& tiling) {
  return Dense<T>(problem, pass, {}, tiling).workspace();
}
template std::size_t fft_dense_workspace<float>(const ConvProblem&, Pass, const FftTiling&);
template std::size_t fft_dense_workspace<double>(const ConvProblem&, Pass, const FftTiling&);

}  // namespace fovea::conv
