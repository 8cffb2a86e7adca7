// The adjoint of an operator whose outputs are weighted sums over windows, a product of one choice
// per axis (averages, interpolation), on raw channels-last memory: each input cell gathers from the
// outputs that read it, so that every cell is written once.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

namespace fovea::kernels {

// For each input cell of one axis the outputs that read it, and with which weights.
struct GatherAxis {
  std::int64_t inputs = 1;
  std::int64_t outputs = 1;
  std::vector<std::size_t> begins;  // of each cell's readers, and the end of the last one's
  std::vector<std::int64_t> readers;
  std::vector<double> weights;
};

// each_read(add) calls add(cell, output, weight) once for each cell that an output reads, outputs
// in order; the same in two calls.
template <class EachRead>
GatherAxis gather_axis(std::int64_t inputs, std::int64_t outputs, const EachRead& each_read) {
  GatherAxis axis{.inputs = inputs, .outputs = outputs, .begins = {}, .readers = {}, .weights = {}};
  axis.begins.resize(static_cast<std::size_t>(inputs) + 1);
  each_read([&](std::int64_t cell, std::int64_t, double) {
    ++axis.begins[static_cast<std::size_t>(cell) + 1];
  });
  for (std::size_t cell = 1; cell < axis.begins.size(); ++cell)
    axis.begins[cell] += axis.begins[cell - 1];
  axis.readers.resize(axis.begins.back());
  axis.weights.resize(axis.begins.back());
  std::vector<std::size_t> next(axis.begins);
  each_read([&](std::int64_t cell, std::int64_t output, double weight) {
    const std::size_t place = next[static_cast<std::size_t>(cell)]++;
    axis.readers[place] = output;
    axis.weights[place] = weight;
  });
  return axis;
}

struct GatherPlane {
  std::array<GatherAxis, 3> axes;
  std::int64_t channels = 1;

  // Over all axes but the last.
  std::int64_t input_rows() const { return axes[0].inputs * axes[1].inputs; }
  std::int64_t output_rows() const { return axes[0].outputs * axes[1].outputs; }
};

// Rows [first, last) of input cells, all samples in a row: g [N, outputs, C] -> dx [N, inputs, C].
// `streamed`: as in stream.h. T is float or double.
template <class T>
void gather_rows(const GatherPlane& plane, bool streamed, std::int64_t first, std::int64_t last,
                 const T* g, T* dx);

}  // namespace fovea::kernels
