// Printing of tensors, in NumPy's manner: nested brackets, long axes with their middle left out.
#include <algorithm>

#include "core/check.h"
#include "fovea/tensor.h"

namespace fovea {
namespace {

constexpr std::int64_t kEdge = 3;       // values kept at each end of a long axis
constexpr std::int64_t kLongAxis = 16;  // longer ones are cut

std::string number(const Tensor& tensor, const Shape& index) {
  const double value = tensor.at(index);
  return is_floating(tensor.dtype()) ? fmt::format("{:.6g}", value) : fmt::format("{:.0f}", value);
}

// The places of one axis that are shown; -1 stands for those left out.
std::vector<std::int64_t> shown(std::int64_t size) {
  std::vector<std::int64_t> places;
  for (std::int64_t i = 0; i < size; ++i) {
    if (size > kLongAxis && i == kEdge) {
      places.push_back(-1);
      i = size - kEdge;
    }
    places.push_back(i);
  }
  return places;
}

std::size_t widest(const Tensor& tensor, Shape& index, int axis) {
  if (axis == tensor.rank()) return number(tensor, index).size();
  std::size_t width = 0;
  for (const std::int64_t place : shown(tensor.shape()[axis])) {
    if (place < 0) continue;
    index[axis] = place;
    width = std::max(width, widest(tensor, index, axis + 1));
  }
  return width;
}

void print_axis(std::ostream& out, const Tensor& tensor, Shape& index, int axis,
                std::size_t width) {
  if (axis == tensor.rank()) {
    out << fmt::format("{:>{}}", number(tensor, index), width);
    return;
  }
  const bool innermost = axis == tensor.rank() - 1;
  const std::string separator =
      innermost ? ", "
                : fmt::format(",{}{:{}}",
                              std::string(static_cast<std::size_t>(tensor.rank() - axis - 1), '\n'),
                              "", axis + 1);
  out << '[';
  bool first = true;
  for (const std::int64_t place : shown(tensor.shape()[axis])) {
    if (!first) out << separator;
    first = false;
    if (place < 0) {
      out << "...";
      continue;
    }
    index[axis] = place;
    print_axis(out, tensor, index, axis + 1, width);
  }
  out << ']';
}

}  // namespace

std::ostream& operator<<(std::ostream& out, const Tensor& tensor) {
  if (!tensor.defined() || tensor.is_abstract()) return out << tensor.describe();
  Shape index = Shape::filled(tensor.rank(), 0);
  const std::size_t width = tensor.numel() == 0 ? 0 : widest(tensor, index, 0);
  print_axis(out, tensor, index, 0, width);
  return out << " (" << tensor.describe() << ')';
}

}  // namespace fovea
