// The Fourier transform's convolution as geometry: which tiles cover a grid, where their cells lie
// among the points of a tile, and the transforms of such tiles.
//
// Overlap-save: a circular convolution over the n points of a tile is a linear one for n - span + 1
// of its results. One tile that holds all cells and enough zeros beside them gives every result.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "conv/epilogue.h"
#include "conv/patch_grid.h"
#include "fovea/conv.h"
#include "kernels/fft.h"
#include "kernels/spectrum.h"

namespace fovea::conv {

// Cells [first, first + count) of an axis of a tensor; cell first + i is at point (position + i)
// mod n of the tile.
struct AxisRun {
  std::int64_t first = 0;
  std::int64_t count = 0;
  std::int64_t position = 0;
};

// One axis of a pass that is computed as a correlation: result p reads source p + t * dilation -
// before with tap t. backward_data is one with the kernel reversed, which is left to the product of
// the spectra; its results then lie `shift` points further on.
struct FftAxis {
  std::int64_t points = 1;  // of a tile
  std::int64_t tiles = 1;
  std::int64_t outputs = 1;  // results of a tile, but for the last
  std::int64_t source = 1;
  std::int64_t results = 1;
  std::int64_t before = 0;
  std::int64_t taps = 1;
  std::int64_t dilation = 1;
  std::int64_t shift = 0;

  AxisRun source_run(std::int64_t tile) const;
  AxisRun result_run(std::int64_t tile) const;
  // The points of one tile that would hold the axis whole.
  std::int64_t whole() const;
  void cut(std::int64_t tile_points);  // sets points, tiles and outputs

 private:
  std::int64_t origin(std::int64_t tile) const;  // the source cell at point 0
};

using TileRuns = std::array<AxisRun, 3>;

struct FftTiling {
  std::int64_t batch = 1;
  std::array<FftAxis, 3> axes;

  std::int64_t points() const;
  std::int64_t tiles_per_image() const;
  // Of tile `index` of an image.
  TileRuns source_runs(std::int64_t index) const;
  TileRuns result_runs(std::int64_t index) const;
  // Of the grids of cells, per image.
  GridStrides source_strides(std::int64_t channels) const;
  GridStrides result_strides(std::int64_t channels) const;
};

// The axes of a pass, not cut yet. Of backward_weights: those of forward, whose results are the
// places of the output's gradient.
FftTiling uncut_tiling(const ConvProblem& problem, Pass pass);

// How the points of a tile lie in memory, as two planes [axis 0][axis 1][axis 2][lanes], with a
// little space between rows, lest their beginnings all meet in one place of the cache. A long tile
// of one axis lies and is transformed as one of two, so that its lines stay in the first-level
// cache.
struct FftLayout {
  FftLayout(const FftTiling& tiling, int vector_lanes);

  std::int64_t lanes;
  std::array<std::int64_t, 3> points;  // of the tile
  std::array<std::int64_t, 3> sizes;   // as they lie
  std::array<std::int64_t, 3> steps;
  std::int64_t plane_values;
  std::int64_t frequency_count;  // half of the points: the others are mirror images

  bool is_long() const { return sizes != points; }
  std::int64_t point_count() const { return points[0] * points[1] * points[2]; }
  // Values of two planes, and of the memory that a transform works with.
  std::int64_t block_values() const { return 2 * plane_values; }
  std::int64_t work_values() const { return 4 * std::max({sizes[0], sizes[1], sizes[2]}) * lanes; }

  // Where a frequency lies after the transform, in vectors.
  std::int32_t place(std::int64_t k0, std::int64_t k1, std::int64_t k2) const;

  // Calls f(i, offset in a plane, count) for stretches of the places p2 + i * step, i < n, of a row
  // of the tile that are evenly spaced in the plane.
  template <class F>
  void for_each_stretch(std::int64_t p0, std::int64_t p1, std::int64_t p2, std::int64_t step,
                        std::int64_t n, F&& f) const {
    for (std::int64_t i = 0; i < n;) {
      const std::int64_t at = p2 + i * step;
      const std::int64_t row = is_long() ? at / sizes[2] : p1;
      const std::int64_t column = is_long() ? at % sizes[2] : at;
      const std::int64_t count = std::min(n - i, (sizes[2] - column + step - 1) / step);
      f(i, p0 * steps[0] + row * steps[1] + column * steps[2], count);
      i += count;
    }
  }

  // Calls f(offset in the tensor, offset in a plane, count) for neighbours along the innermost axis
  // that lie evenly spaced in both.
  template <class F>
  void for_each_run(const TileRuns& runs, const GridStrides& strides, F&& f) const {
    const auto wrapped = [](std::int64_t position, std::int64_t n) {
      return position < n ? position : position - n;
    };
    const AxisRun& inner = runs[2];
    const std::int64_t straight = std::min(inner.count, points[2] - inner.position);
    for (std::int64_t i0 = 0; i0 < runs[0].count; ++i0) {
      const std::int64_t p0 = wrapped(runs[0].position + i0, points[0]);
      for (std::int64_t i1 = 0; i1 < runs[1].count; ++i1) {
        const std::int64_t p1 = wrapped(runs[1].position + i1, points[1]);
        const std::int64_t row = (runs[0].first + i0) * strides.axis[0] +
                                 (runs[1].first + i1) * strides.axis[1] +
                                 inner.first * strides.axis[2];
        const auto visit = [&](std::int64_t first) {
          return [&, first](std::int64_t i, std::int64_t offset, std::int64_t count) {
            f(row + (first + i) * strides.axis[2], offset, count);
          };
        };
        for_each_stretch(p0, p1, inner.position, 1, straight, visit(0));
        for_each_stretch(p0, p1, 0, 1, inner.count - straight, visit(straight));
      }
    }
  }
};
template <class T>
FftLayout fft_layout(const FftTiling& tiling);

// Where results go, and what is done to them on the way.
template <class T>
struct ResultCells {
  T* image = nullptr;  // the first of these channels
  const GridStrides& strides;
  const T* bias = nullptr;  // of these channels, or null
  const Finish<T>& finish;
  bool bypass = false;  // of the caches, with finish_streaming() to follow
};

// Transforms two vectors of sequences over the points of one tile, re + i im, and back.
template <class T>
class FftTransform {
 public:
  explicit FftTransform(const FftLayout& layout);

  // Which rows of a tile hold something, or are wanted. All others are zeros, or stay undefined.
  class Rows {
   public:
    explicit Rows(const FftLayout& layout);
    void add(const TileRuns& runs);

   private:
    friend class FftTransform;
    std::array<std::vector<char>, 2> used_;
    bool all_;
  };

  const FftLayout& layout() const { return layout_; }
  // What is multiplied into a result that was transformed there and back.
  T scale() const { return T(1) / static_cast<T>(layout_.point_count()); }
  kernels::Frequencies frequencies() const { return frequencies_; }

  kernels::Planes<T> planes(T* block) const { return {block, block + layout_.plane_values}; }
  void clear(const kernels::Planes<T>& planes) const;

  void forward(const kernels::Planes<T>& planes, const Rows& filled, T* work) const;
  // Without a factor, so that the results are `points` times too large.
  void inverse(const kernels::Planes<T>& planes, const Rows& wanted, T* work) const;

  // Copies the channels of the cells of one tile: `width` lanes of the first plane or, if it is
  // more than a vector, the rest into the second.
  void load(const T* image, const GridStrides& strides, const TileRuns& runs, std::int64_t width,
            const kernels::Planes<T>& planes) const;
  // The way back.
  void store(const kernels::Planes<T>& planes, const TileRuns& runs, std::int64_t width,
             const ResultCells<T>& to) const;

 private:
  void rows(const kernels::Planes<T>& planes, const Rows& used, T* work) const;
  void columns(const kernels::Planes<T>& planes, const Rows& used, T* work) const;
  void depths(const kernels::Planes<T>& planes, T* work) const;
  void turn(const kernels::Planes<T>& planes) const;
  void list_frequencies();

  FftLayout layout_;
  std::array<std::shared_ptr<const kernels::Fft<T>>, 3> plans_;
  std::unique_ptr<const kernels::TwiddleMatrix<T>> twiddles_;  // of a long tile
  std::vector<kernels::MirrorPair> frequencies_;
};

// The transform of such tiles; those used last are kept.
template <class T>
std::shared_ptr<const FftTransform<T>> fft_transform(const FftLayout& layout);

}  // namespace fovea::conv
