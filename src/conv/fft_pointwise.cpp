// `fft` where each channel has a kernel of its own: a task transforms a tile, multiplies it with
// the kernel's spectrum and transforms it back, all in its second-level cache.
//
// Two vectors are transformed at once, as the real and the imaginary part. They hold the channels
// of one tile; or, where a vector has room for all channels, those of several tiles, and both parts
// hold tiles of one image, so that no rounding error of one sample reaches another.
#include <algorithm>
#include <bit>

#include "conv/axes.h"
#include "conv/fft_passes.h"
#include "conv/fft_weights.h"
#include "conv/packed_weights.h"
#include "conv/tasks.h"
#include "core/scratch.h"
#include "fovea/executor.h"
#include "kernels/patch_product.h"
#include "kernels/stream.h"
#include "kernels/transpose.h"

namespace fovea::conv {
namespace {

using kernels::HalfSpectra;
using kernels::Planes;

constexpr std::int64_t kGradientTasks = 16;  // more would only need more sums

// Some channels of one tile as lanes of the real or of the imaginary part; or of the real part and,
// what is more than a vector, of the imaginary part.
struct Slot {
  bool imaginary;
  std::int64_t lane;
  std::int64_t image;
  std::int64_t tile;
  std::int64_t channel;
  std::int64_t width;
};

// How channels and tiles fill vectors: `couples` of vectors of channels, and `units` of tiles.
struct Packing {
  std::int64_t batch = 0;
  std::int64_t tiles = 0;  // of one image
  std::int64_t channels = 0;
  std::int64_t lanes = 0;
  std::int64_t pitch = 0;     // lanes from tile to tile; at least `lanes` if there is one tile only
  std::int64_t together = 1;  // tiles in one vector
  bool both_parts = true;     // whether tiles fill both parts, where channels do not
  std::int64_t couples = 1;
  std::int64_t units = 0;

  Packing(const ConvProblem& problem, const FftTiling& tiling, std::int64_t vector_lanes)
      : batch(problem.batch),
        tiles(tiling.tiles_per_image()),
        channels(problem.in_channels),
        lanes(vector_lanes),
        pitch(static_cast<std::int64_t>(std::bit_ceil(static_cast<std::uint64_t>(channels)))) {
    if (is_wide()) {
      couples = ceil_div(channels, 2 * lanes);
      units = batch * tiles;
      return;
    }
    together = lanes / pitch;
    both_parts = tiles >= 2 * together;
    units = both_parts ? batch * ceil_div(tiles, 2 * together) : ceil_div(batch * tiles, together);
  }

  bool is_wide() const { return channels > lanes; }

  std::vector<Slot> slots(std::int64_t unit, std::int64_t couple) const {
    std::vector<Slot> list;
    if (is_wide()) {
      const std::int64_t channel = 2 * couple * lanes;
      list.push_back(
          {false, 0, unit / tiles, unit % tiles, channel, std::min(2 * lanes, channels - channel)});
      return list;
    }
    const std::int64_t per_image = ceil_div(tiles, 2 * together);
    for (std::int64_t i = 0; i < (both_parts ? 2 : 1) * together; ++i) {
      const std::int64_t index =
          both_parts ? unit % per_image * 2 * together + i : unit * together + i;
      const std::int64_t image = both_parts ? unit / per_image : index / tiles;
      const std::int64_t tile = both_parts ? index : index % tiles;
      if (tile >= tiles || image >= batch) break;
      list.push_back({i >= together, i % together * pitch, image, tile, 0, channels});
    }
    return list;
  }
};

template <class T>
class Pointwise {
 public:
  Pointwise(const ConvProblem& problem, const ConvArgs& args, const FftTiling& tiling)
      : problem_(problem),
        args_(args),
        finish_(args),
        tiling_(tiling),
        layout_(fft_layout<T>(tiling)),
        packing_(problem, tiling, layout_.lanes) {
    source_ = tiling.source_strides(problem.in_channels);
    result_ = tiling.result_strides(problem.in_channels);
    constexpr auto kValue = static_cast<std::int64_t>(sizeof(T));
    bypasses_ = finish_.at_store() == nullptr && !finish_.remains() &&
                bypasses_caches(args.result, problem.batch * result_.image * kValue,
                                problem.in_channels * kValue) &&
                problem.in_channels % (2 * packing_.lanes) == 0;
    const std::int64_t wanted = ceil_div(kGradientTasks, packing_.couples);
    splits_ = std::min(packing_.units, wanted);
  }

  // Of one couple of vectors of channels.
  std::int64_t weight_values() const {
    return layout_.frequency_count * (packing_.is_wide() ? 4 : 2) * layout_.lanes;
  }
  std::int64_t sum_values() const { return layout_.frequency_count * 4 * layout_.lanes; }
  std::int64_t task_values(int blocks) const {
    return blocks * layout_.block_values() + layout_.work_values();
  }

  std::size_t workspace(Pass pass) const {
    // Every thread may hold one task's tiles, of which there are no more than kTasks.
    if (pass == Pass::backward_weights) {
      const std::int64_t tasks = packing_.couples * splits_;
      return bytes(tasks * sum_values() + std::min(kTasks, tasks) * task_values(2));
    }
    return bytes(packing_.couples * weight_values() +
                 std::min(kTasks, packing_.couples * packing_.units) * task_values(1));
  }

  void run_product(Pass pass) {
    transform_ = fft_transform<T>(layout_);
    const auto weights = derive_weights(
        args_, spectrum_key(problem_, tiling_, SpectrumOrder::pointwise, layout_.lanes),
        bytes(packing_.couples * weight_values()),
        [&](void* memory) { transform_weights(static_cast<T*>(memory)); });
    // Tasks that read the same weights follow each other.
    parallel_for(packing_.couples * packing_.units, [&](std::int64_t task) {
      const Scratch memory(bytes(task_values(1)));
      const Planes<T> planes = transform_->planes(memory.as<T>());
      T* const work = memory.as<T>() + layout_.block_values();
      const std::int64_t couple = task / packing_.units;
      const std::vector<Slot> slots = packing_.slots(task % packing_.units, couple);
      spread_source(static_cast<const T*>(args_.first), slots, planes, work);
      const T* const w = weights->template as<T>() + couple * weight_values();
      const std::int64_t lanes = layout_.lanes;
      kernels::multiply_spectra<T>(transform_->frequencies(),
                                   {.a = w,
                                    .b = packing_.is_wide() ? w + 2 * lanes : w,
                                    .step = weight_values() / layout_.frequency_count,
                                    .imaginary = lanes},
                                   pass == Pass::forward, planes);
      collect(slots, planes, work);
    });
  }

  void run_gradient() {
    transform_ = fft_transform<T>(layout_);
    const Workspace sums(bytes(packing_.couples * splits_ * sum_values()));
    parallel_for(packing_.couples * splits_, [&](std::int64_t task) {
      add_up(task / splits_, task % splits_, sums.as<T>() + task * sum_values());
    });
    parallel_for(packing_.couples, [&](std::int64_t couple) {
      write_gradient(couple, sums.as<T>() + couple * splits_ * sum_values());
    });
  }

 private:
  static std::size_t bytes(std::int64_t values) {
    return static_cast<std::size_t>(values) * sizeof(T);
  }
  static Planes<T> part(const Planes<T>& planes, const Slot& slot) {
    return {(slot.imaginary ? planes.im : planes.re) + slot.lane, planes.im};
  }
  // Calls f(first channel, width, lanes of a plane) for the channels of a couple: each of its
  // vectors, or the first tile's lanes.
  template <class F>
  void for_each_vector(std::int64_t couple, const Planes<T>& planes, const F& f) const {
    for (const Slot& slot : packing_.slots(0, couple)) {
      if (slot.imaginary || slot.lane > 0) continue;
      f(slot.channel, std::min(slot.width, packing_.lanes), planes.re);
      if (slot.width > packing_.lanes)
        f(slot.channel + packing_.lanes, slot.width - packing_.lanes, planes.im);
    }
  }
  HalfSpectra<T> sums_at(T* sums) const {
    const std::int64_t lanes = layout_.lanes;
    return {.a = sums, .b = sums + 2 * lanes, .step = 4 * lanes, .imaginary = lanes};
  }

  void transform_weights(T* spectra) const {
    parallel_for(packing_.couples, [&](std::int64_t couple) {
      const Scratch memory(bytes(task_values(1)));
      const Planes<T> planes = transform_->planes(memory.as<T>());
      transform_->clear(planes);
      const T* const w = static_cast<const T*>(args_.second);
      for_each_vector(couple, planes, [&](std::int64_t channel, std::int64_t width, T* plane) {
        for (std::int64_t i = 0; i < packing_.together; ++i) {  // in the lanes of every tile
          spread_taps(tiling_, layout_, w + channel * problem_.taps(), problem_.taps(), width,
                      plane + i * packing_.pitch);
        }
      });
      typename FftTransform<T>::Rows rows(layout_);
      rows.add(tap_runs(tiling_));
      transform_->forward(planes, rows, memory.as<T>() + layout_.block_values());
      T* const to = spectra + couple * weight_values();
      const std::int64_t lanes = layout_.lanes;
      kernels::split_spectra<T>(transform_->frequencies(), {planes.re, planes.im},
                                transform_->scale() / 4,
                                {.a = to,
                                 .b = packing_.is_wide() ? to + 2 * lanes : nullptr,
                                 .step = weight_values() / layout_.frequency_count,
                                 .imaginary = lanes});
    });
  }

  TileRuns runs_of(const Slot& slot, bool results) const {
    return results ? tiling_.result_runs(slot.tile) : tiling_.source_runs(slot.tile);
  }

  // Calls f(slot, number of tiles) for each slot; of one channel, for the first of neighbours along
  // the innermost axis whose cells lie at the same points, and which are a matrix to be transposed.
  template <class F>
  void for_each_row_of_tiles(const std::vector<Slot>& slots, bool results, const F& f) const {
    const std::int64_t row = tiling_.axes[2].tiles;
    for (std::size_t i = 0; i < slots.size();) {
      const Slot& slot = slots[i];
      const AxisRun run = runs_of(slot, results)[2];
      std::size_t count = 1;
      for (; problem_.in_channels == 1 && i + count < slots.size(); ++count) {
        const Slot& next = slots[i + count];
        const AxisRun other = runs_of(next, results)[2];
        if (next.imaginary != slot.imaginary || next.image != slot.image ||
            next.tile / row != slot.tile / row || other.count != run.count ||
            other.position != run.position) {
          break;
        }
      }
      f(slot, static_cast<std::int64_t>(count));
      i += count;
    }
  }

  void spread(const T* tensor, const GridStrides& strides, bool results,
              const std::vector<Slot>& slots, const Planes<T>& planes, T* work) const {
    transform_->clear(planes);
    typename FftTransform<T>::Rows rows(layout_);
    for_each_row_of_tiles(slots, results, [&](const Slot& slot, std::int64_t count) {
      const TileRuns runs = runs_of(slot, results);
      const T* const image = tensor + slot.image * strides.image + slot.channel;
      rows.add(runs);
      if (problem_.in_channels > 1) {
        transform_->load(image, strides, runs, slot.width, part(planes, slot));
        return;
      }
      T* const plane = part(planes, slot).re;
      layout_.for_each_run(runs, strides,
                           [&](std::int64_t cell, std::int64_t point, std::int64_t cells) {
                             kernels::transpose({.rows = count,
                                                 .columns = cells,
                                                 .from_stride = tiling_.axes[2].outputs,
                                                 .to_stride = packing_.lanes},
                                                image + cell, plane + point);
                           });
    });
    transform_->forward(planes, rows, work);
  }
  void spread_source(const T* source, const std::vector<Slot>& slots, const Planes<T>& planes,
                     T* work) const {
    spread(source, source_, false, slots, planes, work);
  }

  void collect(const std::vector<Slot>& slots, const Planes<T>& planes, T* work) const {
    typename FftTransform<T>::Rows rows(layout_);
    for (const Slot& slot : slots) rows.add(runs_of(slot, true));
    transform_->inverse(planes, rows, work);
    const T* const bias = static_cast<const T*>(args_.bias);
    for_each_row_of_tiles(slots, true, [&](const Slot& slot, std::int64_t count) {
      const TileRuns runs = runs_of(slot, true);
      T* const image = static_cast<T*>(args_.result) + slot.image * result_.image + slot.channel;
      if (problem_.in_channels > 1) {
        transform_->store(part(planes, slot), runs, slot.width,
                          {.image = image,
                           .strides = result_,
                           .bias = bias == nullptr ? nullptr : bias + slot.channel,
                           .finish = finish_,
                           .bypass = bypasses_});
        return;
      }
      const T* const plane = part(planes, slot).re;
      layout_.for_each_run(runs, result_,
                           [&](std::int64_t cell, std::int64_t point, std::int64_t cells) {
                             kernels::transpose({.rows = cells,
                                                 .columns = count,
                                                 .from_stride = packing_.lanes,
                                                 .to_stride = tiling_.axes[2].outputs},
                                                plane + point, image + cell);
                             for (std::int64_t i = 0; i < count; ++i) {
                               T* const to = image + cell + i * tiling_.axes[2].outputs;
                               if (bias != nullptr)
                                 std::for_each_n(to, cells, [&](T& value) { value += *bias; });
                               finish_.all(cells, to);
                             }
                           });
    });
    if (bypasses_) kernels::finish_streaming();
  }

  // The products of a share of the units, in their order.
  void add_up(std::int64_t couple, std::int64_t split, T* sums) const {
    const Scratch memory(bytes(task_values(2)));
    const Planes<T> x = transform_->planes(memory.as<T>());
    const Planes<T> g = transform_->planes(memory.as<T>() + layout_.block_values());
    T* const work = memory.as<T>() + 2 * layout_.block_values();
    const std::int64_t begin = split * packing_.units / splits_;
    const std::int64_t end = (split + 1) * packing_.units / splits_;
    for (std::int64_t unit = begin; unit < end; ++unit) {
      const std::vector<Slot> slots = packing_.slots(unit, couple);
      spread_source(static_cast<const T*>(args_.first), slots, x, work);
      spread(static_cast<const T*>(args_.second), result_, true, slots, g, work);
      kernels::add_products<T>(transform_->frequencies(), {x.re, x.im}, {g.re, g.im}, unit == begin,
                               sums_at(sums));
    }
  }

  void write_gradient(std::int64_t couple, T* sums) const {
    for (std::int64_t split = 1; split < splits_; ++split) {
      const T* more = sums + split * sum_values();
      for (std::int64_t i = 0; i < sum_values(); ++i) sums[i] += more[i];
    }
    const Scratch memory(bytes(task_values(1)));
    const Planes<T> planes = transform_->planes(memory.as<T>());
    const HalfSpectra<T> from = sums_at(sums);
    kernels::join_spectra<T>(
        transform_->frequencies(),
        {.a = from.a, .b = from.b, .step = from.step, .imaginary = from.imaginary},
        transform_->scale() / 4, planes);
    typename FftTransform<T>::Rows rows(layout_);
    rows.add(tap_runs(tiling_));
    transform_->inverse(planes, rows, memory.as<T>() + layout_.block_values());
    if (!packing_.is_wide()) add_tiles(planes);
    T* const dw = static_cast<T*>(args_.result);
    for_each_vector(couple, planes, [&](std::int64_t channel, std::int64_t width, T* plane) {
      gather_taps<T>(tiling_, layout_, plane, width, problem_.taps(),
                     dw + channel * problem_.taps());
    });
  }

  // All tiles' shares of the gradient into the lanes of the first tile.
  void add_tiles(const Planes<T>& planes) const {
    const GridStrides none;
    layout_.for_each_run(tap_runs(tiling_), none,
                         [&](std::int64_t, std::int64_t point, std::int64_t count) {
                           for (std::int64_t i = 0; i < count; ++i) {
                             T* const re = planes.re + point + i * packing_.lanes;
                             const T* const im = planes.im + point + i * packing_.lanes;
                             for (std::int64_t c = 0; c < packing_.channels; ++c) {
                               T sum = re[c] + im[c];
                               for (std::int64_t lane = c + packing_.pitch; lane < packing_.lanes;
                                    lane += packing_.pitch) {
                                 sum += re[lane] + im[lane];
                               }
                               re[c] = sum;
                             }
                           }
                         });
  }

  const ConvProblem& problem_;
  const ConvArgs& args_;
  Finish<T> finish_;
  const FftTiling& tiling_;
  FftLayout layout_;
  std::shared_ptr<const FftTransform<T>> transform_;  // while running
  Packing packing_;
  GridStrides source_;
  GridStrides result_;
  bool bypasses_ = false;
  std::int64_t splits_ = 1;  // of the units, in backward_weights
};

}  // namespace

template <class T>
void fft_pointwise(const ConvProblem& problem, Pass pass, const ConvArgs& args,
                   const FftTiling& tiling) {
  Pointwise<T> pointwise(problem, args, tiling);
  if (pass == Pass::backward_weights) {
    pointwise.run_gradient();
  } else {
    pointwise.run_product(pass);
  }
}
template void fft_pointwise<float>(const ConvProblem&, Pass, const ConvArgs&, const FftTiling&);
template void fft_pointwise<double>(const ConvProblem&, Pass, const ConvArgs&, const FftTiling&);

template <class T>
std::size_t fft_pointwise_workspace(const ConvProblem& problem, Pass pass,
                                    const FftTiling& tiling) {
  return Pointwise<T>(problem, {}, tiling).workspace(pass);
}
template std::size_t fft_pointwise_workspace<float>(const ConvProblem&, Pass, const FftTiling&);
template std::size_t fft_pointwise_workspace<double>(const ConvProblem&, Pass, const FftTiling&);

std::int64_t fft_pointwise_units(const ConvProblem& problem, const FftTiling& tiling,
                                 std::int64_t lanes) {
  const Packing packing(problem, tiling, lanes);
  return packing.couples * packing.units;
}

}  // namespace fovea::conv
