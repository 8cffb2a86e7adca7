// See gather.h. Each row of outputs is first gathered along itself, once, into a row as long as
// those of the input; then each input row is a weighted sum of a few of these, which wait in the
// cache.
#include "kernels/gather.h"

#include <algorithm>
#include <cstddef>
#include <numeric>

#include "core/storage.h"
#include "kernels/simd.h"
#include "kernels/stream.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/gather.cpp"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// The target's own headers follow.
#include "hwy/cache_control.h"
#include "hwy/highway.h"
#include "kernels/lanes-inl.h"
#include "kernels/weighted_sum-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fovea::kernels {
namespace HWY_NAMESPACE {
namespace {

constexpr std::int64_t kAhead = 8192;  // bytes

// A cell's share of a row of outputs.
template <std::size_t kReaders, class T>
HWY_INLINE void cell_of(const std::int64_t* readers, const T* weights, std::int64_t channels,
                        const T* g, T* cell) {
  const T* from[kReaders];
  for (std::size_t r = 0; r < kReaders; ++r) from[r] = g + readers[r] * channels;
  weighted_sum_of<kReaders, false, false>(from, weights, static_cast<std::size_t>(channels), cell);
}

// A row of outputs, gathered along itself. `left`: elements from g on, of this row and those behind
// it. Cells that are read two and more at a time are a pattern in which processors do not see one
// stream, so what lies ahead is fetched, as much for each cell.
template <class T>
void row_gathered(const GatherAxis& axis, const std::vector<T>& weights, std::int64_t channels,
                  std::int64_t left, const T* g, T* row) {
  constexpr auto kLine = static_cast<std::int64_t>(64 / sizeof(T));
  const std::int64_t fetched = (axis.outputs * channels + axis.inputs - 1) / axis.inputs;
  std::int64_t ahead = kAhead / static_cast<std::int64_t>(sizeof(T));
  if (axis.outputs <= axis.inputs) left = 0;  // little to read
  std::vector<const T*> sources;
  for (std::size_t cell = 0; cell + 1 < axis.begins.size(); ++cell, row += channels) {
    const std::size_t begin = axis.begins[cell];
    const std::size_t count = axis.begins[cell + 1] - begin;
    const std::int64_t* readers = axis.readers.data() + begin;
    const T* factors = weights.data() + begin;
    const std::int64_t stop = std::min(left, ahead + fetched);
    for (; ahead < stop; ahead += kLine) hwy::Prefetch(g + ahead);
    if (count == 1) {
      cell_of<1>(readers, factors, channels, g, row);
    } else if (count == 2) {
      cell_of<2>(readers, factors, channels, g, row);
    } else if (count == 4) {
      cell_of<4>(readers, factors, channels, g, row);
    } else {
      sources.clear();
      for (std::size_t i = 0; i < count; ++i) sources.push_back(g + readers[i] * channels);
      weighted_sum<false>(count, sources.data(), factors, static_cast<std::size_t>(channels), row);
    }
  }
}

// The rows of outputs that read one row of input cells.
struct RowReaders {
  // Of input row `row`, counted over all samples.
  void list(const GatherPlane& plane, std::int64_t row) {
    const GatherAxis& slow = plane.axes[0];
    const GatherAxis& middle = plane.axes[1];
    const auto a = static_cast<std::size_t>(row % plane.input_rows() / middle.inputs);
    const auto b = static_cast<std::size_t>(row % middle.inputs);
    const std::int64_t sample = row / plane.input_rows() * plane.output_rows();
    rows.clear();
    weights.clear();
    for (std::size_t i = slow.begins[a]; i < slow.begins[a + 1]; ++i) {
      for (std::size_t j = middle.begins[b]; j < middle.begins[b + 1]; ++j) {
        rows.push_back(sample + slow.readers[i] * middle.outputs + middle.readers[j]);
        weights.push_back(slow.weights[i] * middle.weights[j]);
      }
    }
  }
  std::vector<std::int64_t> rows;  // counted over all samples, in order
  std::vector<double> weights;
};

// Gathered rows of outputs: those that the last row of input cells has asked for.
template <class T>
class GatheredRows {
 public:
  // `rows`: how many rows of outputs there are at g.
  GatheredRows(const GatherPlane& plane, std::int64_t rows, const T* g)
      : axis_(plane.axes[2]),
        channels_(plane.channels),
        count_(rows * axis_.outputs * channels_),
        g_(g),
        weights_(axis_.weights.begin(), axis_.weights.end()),
        free_(most_readers(plane.axes[0]) * most_readers(plane.axes[1])),
        memory_(free_.size() * static_cast<std::size_t>(row_size()) * sizeof(T)) {
    std::iota(free_.begin(), free_.end(), std::size_t{0});
  }

  // Makes those that are asked for and not there yet, and sets the places of all.
  void make(const RowReaders& asked, std::vector<const T*>& places) {
    places.clear();
    kept_.clear();
    for (const Held& held : held_) {
      const bool again = std::binary_search(asked.rows.begin(), asked.rows.end(), held.row);
      again ? kept_.push_back(held) : free_.push_back(held.place);
    }
    held_.clear();
    auto kept = kept_.begin();
    for (const std::int64_t row : asked.rows) {
      if (held_.empty() || held_.back().row != row)
        held_.push_back(kept != kept_.end() && kept->row == row ? *kept++ : made(row));
      places.push_back(at(held_.back().place));
    }
  }

  std::int64_t row_size() const { return axis_.inputs * channels_; }

 private:
  struct Held {
    std::int64_t row;
    std::size_t place;
  };

  Held made(std::int64_t row) {
    const std::size_t place = free_.back();
    free_.pop_back();
    const std::int64_t begin = row * axis_.outputs * channels_;
    row_gathered(axis_, weights_, channels_, count_ - begin, g_ + begin, at(place));
    return {row, place};
  }

  static std::size_t most_readers(const GatherAxis& axis) {
    std::size_t most = 1;
    for (std::size_t cell = 0; cell + 1 < axis.begins.size(); ++cell)
      most = std::max(most, axis.begins[cell + 1] - axis.begins[cell]);
    return most;
  }
  T* at(std::size_t place) {
    return memory_.as<T>() + static_cast<std::int64_t>(place) * row_size();
  }

  const GatherAxis& axis_;
  std::int64_t channels_;
  std::int64_t count_;
  const T* g_;
  std::vector<T> weights_;
  std::vector<Held> held_;  // in order of rows
  std::vector<Held> kept_;
  std::vector<std::size_t> free_;  // places
  Workspace memory_;
};

template <bool kStreamed, class T>
void rows_gathered(const GatherPlane& plane, std::int64_t first, std::int64_t last, const T* g,
                   T* dx) {
  const std::int64_t samples = (last + plane.input_rows() - 1) / plane.input_rows();
  GatheredRows<T> rows(plane, samples * plane.output_rows(), g);
  RowReaders readers;
  std::vector<const T*> sources;
  std::vector<T> weights;
  for (std::int64_t row = first; row < last; ++row) {
    readers.list(plane, row);
    rows.make(readers, sources);
    weights.assign(readers.weights.begin(), readers.weights.end());
    weighted_sum<kStreamed>(sources.size(), sources.data(), weights.data(),
                            static_cast<std::size_t>(rows.row_size()), dx + row * rows.row_size());
  }
  if (kStreamed) finish_streaming();
}

template <class T>
void rows_gathered(const GatherPlane& plane, bool streamed, std::int64_t first, std::int64_t last,
                   const T* g, T* dx) {
  if (streamed) return rows_gathered<true>(plane, first, last, g, dx);
  rows_gathered<false>(plane, first, last, g, dx);
}

void GatherRowsF32(const GatherPlane& plane, bool streamed, std::int64_t first, std::int64_t last,
                   const float* g, float* dx) {
  rows_gathered(plane, streamed, first, last, g, dx);
}
void GatherRowsF64(const GatherPlane& plane, bool streamed, std::int64_t first, std::int64_t last,
                   const double* g, double* dx) {
  rows_gathered(plane, streamed, first, last, g, dx);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace fovea::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fovea::kernels {

HWY_EXPORT(GatherRowsF32);
HWY_EXPORT(GatherRowsF64);

template <>
void gather_rows(const GatherPlane& plane, bool streamed, std::int64_t first, std::int64_t last,
                 const float* g, float* dx) {
  detect_simd();
  HWY_DYNAMIC_DISPATCH(GatherRowsF32)(plane, streamed, first, last, g, dx);
}
template <>
void gather_rows(const GatherPlane& plane, bool streamed, std::int64_t first, std::int64_t last,
                 const double* g, double* dx) {
  detect_simd();
  HWY_DYNAMIC_DISPATCH(GatherRowsF64)(plane, streamed, first, last, g, dx);
}

}  // namespace fovea::kernels
#endif  // HWY_ONCE
