// A convolution over planes: every channel of the source has an image of its own, padding included,
// in which the positions of a row are neighbours.
//
// Forward and (with a stride of one) backward_data are the same correlation between different
// tensors; backward_weights reads the same planes.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "fovea/conv.h"

namespace fovea::conv {

// Output o of an axis reads source cells o * stride + tap * dilation - before.
struct PlaneAxis {
  std::int64_t source = 1;
  std::int64_t before = 0;  // negative: so many cells are never read
  std::int64_t kernel = 1;
  std::int64_t dilation = 1;
  std::int64_t stride = 1;
  std::int64_t outputs = 1;

  // Cells that `count` neighbouring outputs span.
  std::int64_t extent(std::int64_t count) const {
    return (count - 1) * stride + dilation * (kernel - 1) + 1;
  }
};

struct PlaneProblem {
  std::int64_t batch = 1;
  std::int64_t channels = 1;  // of the source
  std::int64_t planes = 1;    // of the result
  std::array<PlaneAxis, 3> axes;

  std::int64_t taps() const { return axes[0].kernel * axes[1].kernel * axes[2].kernel; }
  std::int64_t rows() const { return axes[0].outputs * axes[1].outputs; }  // of one image's result
  std::int64_t padded_values() const;  // of one image with its padding
};

PlaneProblem forward_planes(const ConvProblem& problem);
// For strides of one only: dx is the correlation of g with the flipped kernel.
PlaneProblem backward_planes(const ConvProblem& problem);

// Images are cut into bands along their outermost axis of more than one output, so that one image
// alone keeps several cores busy and a band stays in cache.
struct Band {
  std::int64_t image = 0;
  std::array<std::int64_t, 3> first{};  // output of each axis
  std::array<std::int64_t, 3> count{};
};

class Bands {
 public:
  // Bands of about `values` source values, padding included.
  Bands(const PlaneProblem& problem, std::int64_t values);
  std::int64_t count() const { return problem_.batch * per_image_; }
  Band at(std::int64_t index) const;
  std::array<std::int64_t, 3> largest() const;  // outputs of each axis

 private:
  const PlaneProblem& problem_;
  std::size_t axis_ = 0;
  std::int64_t outputs_ = 1;  // of a band along axis_
  std::int64_t per_image_ = 1;
};

// The planes of one band. A stride along rows is taken out: each channel has one plane per
// remainder of the stride, in which what neighbouring outputs read are neighbours.
class PlaneLayout {
 public:
  PlaneLayout(const PlaneProblem& problem, const std::array<std::int64_t, 3>& outputs, int lanes);
  // Values of all planes, and as many behind as a vector may read too far.
  std::int64_t values() const { return values_; }
  // Distance from what tap 0 of channel 0 reads to what each tap reads: taps of the outermost axis
  // first, then the middle axis, then channels, then the innermost axis.
  const std::vector<std::int64_t>& offsets() const { return offsets_; }
  // What tap 0 of channel 0 reads for an output, counted from the first of the band.
  std::int64_t place(std::int64_t o0, std::int64_t o1, std::int64_t o2) const {
    return (o0 * problem_.axes[0].stride * rows_ + o1 * problem_.axes[1].stride) * pitch_ + o2;
  }
  // Copies what `band` reads of the source, which is channels-last; padding becomes zero.
  template <class T>
  void fill(const Band& band, const T* source, T* planes, T* scratch) const;
  std::int64_t scratch_values() const;

 private:
  template <class T>
  void fill_row(const T* source, std::int64_t first_cell, T* row, T* scratch) const;

  const PlaneProblem& problem_;
  std::int64_t rows_ = 0;   // of one plane and cell of the outermost axis
  std::int64_t pitch_ = 0;  // of a row
  std::int64_t plane_ = 0;  // from one channel's plane to the next, and from one remainder's
  std::int64_t values_ = 0;
  std::vector<std::int64_t> offsets_;
};

}  // namespace fovea::conv
