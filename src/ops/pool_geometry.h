// Where the windows of a pooling operator lie: sizes, checks and tables, shared by all of them.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <string_view>
#include <vector>

#include "conv/patch_table.h"
#include "kernels/pool.h"
#include "ops/checks.h"
#include "ops/op.h"

namespace fovea::ops {

inline constexpr std::int64_t kReadsPerTask = 1 << 14;  // elements read by one parallel task

// [N, C] of `shape` with other spatial sizes.
Shape with_spatial(const Shape& shape, const Shape& spatial);

// The windows over an input of given spatial sizes.
struct PoolGeometry {
  int dims = 0;
  std::array<ConvAxis, 3> axes;
  std::array<std::int64_t, 3> padded_end{};  // input + after, as asked for, without the overhang
                                             // of ceil_mode

  Shape output() const;
};

// Of the attributes "window", "stride", "before", "after", "ceil_mode" and, where an operator has
// it, "dilation". With ceil_mode a last window may hang over the padded input, but one that starts
// at or beyond input + before is dropped. Throws Error, naming `op`, if a size makes no sense.
PoolGeometry pool_geometry(std::string_view op, const Shape& spatial, const Attributes& attributes);

// Throws Error unless `input` is floating and [N, C, spatial...] with as many spatial axes as the
// attribute `sizes` has numbers.
void check_pool_input(std::string_view op, const TensorSpec& input, const Attributes& attributes,
                      std::string_view sizes = "window");

// Throws Error unless the attribute "output" can be the sizes of adaptive pooling.
void check_adaptive_output(std::string_view op, const TensorSpec& input,
                           const Attributes& attributes);

// What a mean divides by: all cells of the window, those inside the input, or one number.
struct Divisor {
  bool count_padding = true;
  std::int64_t fixed = 0;  // 0: none
};

// The tables behind a kernel's PoolPlane.
class PoolTables {
 public:
  PoolTables(const PoolGeometry& geometry, std::int64_t channels, const Divisor& divisor = {});
  // Adaptive pooling: window o of an axis is [floor(o I / O), ceil((o + 1) I / O)).
  PoolTables(const Shape& input, const Shape& output, std::int64_t channels);
  PoolTables(const PoolTables&) = delete;
  PoolTables& operator=(const PoolTables&) = delete;

  const kernels::PoolPlane& plane() const { return plane_; }

 private:
  std::array<conv::AxisTable, 3> axes_;
  std::array<std::vector<std::int64_t>, 3> counts_;
  kernels::PoolPlane plane_;
};

// Receptive field of windows, and of adaptive ones.
OpField window_field(const Attributes& attributes);
OpField adaptive_field(Specs inputs, const Attributes& attributes);

// Output cells per task, from the problem alone.
std::int64_t pool_cells_per_task(const kernels::PoolPlane& plane);

// Calls body(sample, first channel, last channel) in parallel, for pieces that share no cell of the
// input plane.
void for_channel_blocks(std::int64_t batch, std::int64_t channels, std::int64_t input_cells,
                        const std::function<void(std::int64_t, std::int64_t, std::int64_t)>& body);

}  // namespace fovea::ops
