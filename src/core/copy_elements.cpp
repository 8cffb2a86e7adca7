// Copies between memory orders, with conversion of the type.
//
// Axes along which both sides step alike are joined to one. Where neighbours in the target are also
// neighbours in the source, or far apart in it whichever way one walks, it is copied by rows. Else
// it is a transposition, which goes by squares: each line of the cache is then read and written
// whole, where a walk along one side would touch a line of the other for every element.
#include <algorithm>
#include <array>
#include <cstring>
#include <span>
#include <type_traits>
#include <utility>

#include "core/check.h"
#include "core/convert.h"
#include "core/dispatch.h"
#include "core/tensor_impl.h"
#include "fovea/executor.h"

namespace fovea {
namespace {

constexpr std::int64_t kGrain = 1 << 15;  // elements of one task
constexpr std::int64_t kSquare = 16;      // float32 values in a line of the cache

struct Axis {
  std::int64_t size = 1;
  std::int64_t from = 0;  // steps from one index to the next
  std::int64_t to = 0;
};

// The axes of a copy, the target's longest steps first.
class Axes {
 public:
  Axes(const Tensor& source, const Tensor& target) {
    for (int axis = 0; axis < target.rank(); ++axis) {
      if (target.shape()[axis] == 1) continue;
      axes_[count_++] = {target.shape()[axis], source.strides()[axis], target.strides()[axis]};
    }
    std::sort(axes_.begin(), axes_.begin() + static_cast<std::ptrdiff_t>(count_),
              [](const Axis& a, const Axis& b) { return a.to > b.to; });
    join();
  }

  // The last one, or a single element; the others.
  Axis take_last() { return count_ == 0 ? Axis{} : axes_[--count_]; }
  std::span<const Axis> rest() const { return {axes_.data(), count_}; }
  // One whose neighbours lie side by side in the source; a single element where there is none.
  Axis take_nearest_in_source() {
    for (std::size_t i = 0; i < count_; ++i) {
      if (axes_[i].from != 1) continue;
      const Axis found = axes_[i];
      std::copy(axes_.begin() + static_cast<std::ptrdiff_t>(i) + 1,
                axes_.begin() + static_cast<std::ptrdiff_t>(count_),
                axes_.begin() + static_cast<std::ptrdiff_t>(i));
      --count_;
      return found;
    }
    return {};
  }

 private:
  void join() {
    std::size_t kept = 0;
    for (std::size_t i = 1; i < count_; ++i) {
      Axis& outer = axes_[kept];
      const Axis& inner = axes_[i];
      const bool alike = outer.from == inner.from * inner.size && outer.to == inner.to * inner.size;
      if (alike) {
        outer = {outer.size * inner.size, inner.from, inner.to};
      } else {
        axes_[++kept] = inner;
      }
    }
    if (count_ > 0) count_ = kept + 1;
  }

  std::array<Axis, kMaxRank> axes_{};
  std::size_t count_ = 0;
};

// Where both sides are, as the indices of some axes count up.
class Place {
 public:
  Place(std::span<const Axis> axes, std::int64_t index) : axes_(axes) {
    for (std::size_t i = axes.size(); i-- > 0;) {
      index_[i] = index % axes[i].size;
      index /= axes[i].size;
      from += index_[i] * axes[i].from;
      to += index_[i] * axes[i].to;
    }
  }

  void advance() {
    for (std::size_t i = axes_.size(); i-- > 0;) {
      from += axes_[i].from;
      to += axes_[i].to;
      if (++index_[i] < axes_[i].size) return;
      from -= axes_[i].from * axes_[i].size;
      to -= axes_[i].to * axes_[i].size;
      index_[i] = 0;
    }
  }

  std::int64_t from = 0;
  std::int64_t to = 0;

 private:
  std::span<const Axis> axes_;
  std::array<std::int64_t, kMaxRank> index_{};
};

template <class From, class To>
void copy_row(const Axis& axis, const From* from, To* to) {
  if constexpr (std::is_same_v<From, To>) {
    if (axis.from == 1 && axis.to == 1) {
      std::memcpy(to, from, static_cast<std::size_t>(axis.size) * sizeof(To));
      return;
    }
  }
  for (std::int64_t i = 0; i < axis.size; ++i) to[i * axis.to] = convert<To>(from[i * axis.from]);
}

// A row may be cut as well: there may be one only.
template <class From, class To>
void copy_rows(std::span<const Axis> outer, const Axis& row, std::int64_t rows, const From* from,
               To* to) {
  const std::int64_t pieces = (row.size + kGrain - 1) / kGrain;
  parallel_ranges(rows * pieces, std::max<std::int64_t>(kGrain / row.size, 1),
                  [&](std::int64_t first, std::int64_t last) {
                    Place place(outer, first / pieces);
                    for (std::int64_t i = first; i < last; ++i) {
                      const std::int64_t begin = i % pieces * kGrain;
                      const Axis piece{std::min(kGrain, row.size - begin), row.from, row.to};
                      copy_row(piece, from + place.from + begin * row.from,
                               to + place.to + begin * row.to);
                      if ((i + 1) % pieces == 0) place.advance();
                    }
                  });
}

// `rows` are neighbours in the source, and `columns` in the target.
template <class From, class To>
void copy_strip(const Axis& rows, const Axis& columns, const From* from, To* to) {
  for (std::int64_t begin = 0; begin < columns.size; begin += kSquare) {
    const std::int64_t end = std::min(begin + kSquare, columns.size);
    for (std::int64_t r = 0; r < rows.size; ++r) {
      for (std::int64_t c = begin; c < end; ++c)
        to[r * rows.to + c] = convert<To>(from[c * columns.from + r]);
    }
  }
}

template <class From, class To>
void copy_turned(std::span<const Axis> outer, const Axis& rows, const Axis& columns,
                 std::int64_t count, const From* from, To* to) {
  const std::int64_t strips = (rows.size + kSquare - 1) / kSquare;
  parallel_ranges(count * strips, std::max<std::int64_t>(kGrain / (kSquare * columns.size), 1),
                  [&](std::int64_t first, std::int64_t last) {
                    Place place(outer, first / strips);
                    for (std::int64_t i = first; i < last; ++i) {
                      const std::int64_t begin = i % strips * kSquare;
                      const Axis strip{std::min(kSquare, rows.size - begin), 1, rows.to};
                      copy_strip(strip, columns, from + place.from + begin,
                                 to + place.to + begin * rows.to);
                      if ((i + 1) % strips == 0) place.advance();
                    }
                  });
}

}  // namespace

void copy_elements(const Tensor& source, Tensor& target) {
  FOVEA_ASSERT(source.shape() == target.shape());
  const std::int64_t elements = target.numel();
  if (elements == 0) return;
  Axes axes(source, target);
  const Axis columns = axes.take_last();
  const bool turned = columns.to == 1 && columns.from > 1;
  const Axis rows = turned ? axes.take_nearest_in_source() : Axis{};
  const std::int64_t count = elements / columns.size / rows.size;
  dispatch_all(target.dtype(), [&](auto target_tag) {
    using To = typename decltype(target_tag)::type;
    To* to = writable<To>(target);
    dispatch_all(source.dtype(), [&](auto source_tag) {
      const auto* from = source.data<typename decltype(source_tag)::type>();
      if (rows.size > 1) {
        copy_turned(axes.rest(), rows, columns, count, from, to);
      } else {
        copy_rows(axes.rest(), columns, count, from, to);
      }
    });
  });
}

}  // namespace fovea
