// Sums over pieces of rows, statistics from them, then one pass that applies them.
//
// Forward: per column the sums of x - pivot and of its square give mean and variance; a group's are
// put together from those of its columns (Chan, Golub and LeVeque, 1979). Backward, with h = g w
// over the n elements that share a mean:
//   dx = inverse (h - mean(h) - (x - mean) inverse^2 mean(h (x - mean)))
// Pieces are cut from the shape alone and added in order. Where a sample is one piece, it is read,
// judged and written while it is in the cache.
#include "ops/norm_columns.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "core/dispatch.h"
#include "core/tensor_impl.h"
#include "fovea/executor.h"
#include "kernels/norm.h"
#include "kernels/stream.h"

namespace fovea::ops {
namespace {

constexpr std::int64_t kPiece = 1 << 16;        // elements of one piece of a long column
constexpr std::int64_t kSamplePiece = 1 << 18;  // of a sample among many
constexpr std::int64_t kBlock = 1 << 12;        // of what is walked backwards
constexpr std::int64_t kMergedColumns = 64;

// How the work is cut.
class Pieces {
 public:
  explicit Pieces(const ColumnNorm& shape) : shape_(shape) {
    // A few channels do not fill vectors: several rows are taken as one long row.
    merged_ = std::max<std::int64_t>(1, kMergedColumns / shape.columns);
    const std::int64_t piece = shape.outer == 1 ? kPiece : kSamplePiece;
    rows_ = std::max<std::int64_t>(1, piece / (shape.columns * merged_)) * merged_;
    chunks_ = std::max<std::int64_t>(1, (shape.rows + rows_ - 1) / rows_);
  }

  std::int64_t chunks() const { return chunks_; }
  std::int64_t merged() const { return merged_; }

  // Calls first(outer, chunk) for all chunks, then middle(outer), then last(outer, chunk).
  template <class First, class Middle, class Last>
  void run(const First& first, const Middle& middle, const Last& last) const {
    if (chunks_ == 1) {
      const std::int64_t work = std::max<std::int64_t>(1, shape_.rows * shape_.columns);
      parallel_ranges(shape_.outer, std::max<std::int64_t>(1, kPiece / work),
                      [&](std::int64_t begin, std::int64_t end) {
                        for (std::int64_t outer = begin; outer < end; ++outer) {
                          first(outer, std::int64_t{0});
                          middle(outer);
                          last(outer, std::int64_t{0});
                        }
                      });
      return;
    }
    parallel_for(shape_.outer * chunks_,
                 [&](std::int64_t task) { first(task / chunks_, task % chunks_); });
    for (std::int64_t outer = 0; outer < shape_.outer; ++outer) middle(outer);
    parallel_for(shape_.outer * chunks_,
                 [&](std::int64_t task) { last(task / chunks_, task % chunks_); });
  }

  // As for_rows, in blocks from the last row to the first: what was read last is still in the
  // cache.
  template <class Body>
  void for_rows_backwards(std::int64_t outer, std::int64_t chunk, const Body& body) const {
    const auto in_blocks = [&](const kernels::NormRows& all, std::int64_t offset) {
      const std::int64_t rows = std::max<std::int64_t>(1, kBlock / all.columns);
      for (std::int64_t end = all.rows; end > 0;) {
        const std::int64_t begin = std::max<std::int64_t>(0, end - rows);
        body(kernels::NormRows{end - begin, all.columns}, offset + begin * all.columns);
        end = begin;
      }
    };
    for_rows(outer, chunk, in_blocks);
  }

  // Calls body(rows and columns, offset of the first) for the rows of one chunk: merged ones, and
  // what is left.
  template <class Body>
  void for_rows(std::int64_t outer, std::int64_t chunk, const Body& body) const {
    const std::int64_t begin = chunk * rows_;
    const std::int64_t count = std::min(shape_.rows - begin, rows_);
    const std::int64_t long_rows = count / merged_;
    const std::int64_t offset = (outer * shape_.rows + begin) * shape_.columns;
    const std::int64_t columns = shape_.columns * merged_;
    if (long_rows > 0) body(kernels::NormRows{long_rows, columns}, offset);
    const std::int64_t rest = count - long_rows * merged_;
    if (rest > 0) body(kernels::NormRows{rest, shape_.columns}, offset + long_rows * columns);
  }

 private:
  ColumnNorm shape_;
  std::int64_t merged_ = 1;
  std::int64_t rows_ = 1;
  std::int64_t chunks_ = 1;
};

// One number per column, repeated for merged rows.
template <class T>
class Repeated {
 public:
  Repeated(const ColumnNorm& shape, const Pieces& pieces)
      : columns_(static_cast<std::size_t>(shape.columns)),
        values_(columns_ * static_cast<std::size_t>(pieces.merged())) {}
  template <class Value>
  void fill(const Value& value) {
    for (std::size_t c = 0; c < columns_; ++c) {
      values_[c] = static_cast<T>(value(static_cast<std::int64_t>(c)));
    }
    for (std::size_t i = columns_; i < values_.size(); ++i) values_[i] = values_[i - columns_];
  }
  const T* data() const { return values_.data(); }

 private:
  std::size_t columns_;
  std::vector<T> values_;
};

// Two sums per column of each chunk.
class Sums {
 public:
  Sums(const ColumnNorm& shape, const Pieces& pieces)
      : columns_(static_cast<std::size_t>(shape.columns)),
        chunks_(static_cast<std::size_t>(pieces.chunks())),
        merged_(static_cast<std::size_t>(pieces.merged())),
        values_(static_cast<std::size_t>(shape.outer) * chunks_ * 2 * columns_) {}

  // Calls add(first, second) with zeros for the columns of merged rows, and keeps what it adds.
  template <class Add>
  void collect(std::int64_t outer, std::int64_t chunk, const Add& add) {
    const std::size_t width = columns_ * merged_;
    std::vector<double> local(2 * width);
    add(local.data(), local.data() + width);
    double* kept = at(outer, chunk);
    for (std::size_t i = 0; i < 2 * width; ++i) {
      kept[i / width * columns_ + i % width % columns_] += local[i];
    }
  }
  // Adds the chunks into the first one.
  void add_up(std::int64_t outer) {
    double* total = at(outer, 0);
    for (std::size_t chunk = 1; chunk < chunks_; ++chunk) {
      const double* part = at(outer, static_cast<std::int64_t>(chunk));
      for (std::size_t i = 0; i < 2 * columns_; ++i) total[i] += part[i];
    }
  }
  double first(std::int64_t outer, std::int64_t column) { return at(outer, 0)[column]; }
  double second(std::int64_t outer, std::int64_t column) {
    return at(outer, 0)[static_cast<std::int64_t>(columns_) + column];
  }

 private:
  double* at(std::int64_t outer, std::int64_t chunk) {
    const auto place = static_cast<std::size_t>(outer) * chunks_ + static_cast<std::size_t>(chunk);
    return values_.data() + place * 2 * columns_;
  }

  std::size_t columns_, chunks_, merged_;
  std::vector<double> values_;
};

template <class T>
const T* data_or_null(const Tensor& tensor) {
  return tensor.defined() ? tensor.data<T>() : nullptr;
}

// y = (x - mean) scale + shift for one chunk, and the epilogue.
template <class T>
void apply_chunk(const ColumnNorm& shape, const Pieces& pieces, double eps, std::int64_t outer,
                 std::int64_t chunk, const T* x, const T* w, const T* b, const T* mean,
                 const T* variance, const kernels::Epilogue<T>& epilogue, T* y) {
  const std::int64_t width = shape.group_columns();
  const T* means = mean + outer * shape.groups;
  const T* variances = variance + outer * shape.groups;
  Repeated<T> centre(shape, pieces);
  Repeated<T> scale(shape, pieces);
  Repeated<T> shift(shape, pieces);
  centre.fill([&](std::int64_t c) { return means[c / width]; });
  scale.fill([&](std::int64_t c) {
    const double inverse = 1 / std::sqrt(static_cast<double>(variances[c / width]) + eps);
    return w == nullptr ? inverse : inverse * static_cast<double>(w[c]);
  });
  shift.fill([&](std::int64_t c) { return b == nullptr ? T{0} : b[c]; });
  pieces.for_rows_backwards(outer, chunk, [&](const kernels::NormRows& rows, std::int64_t offset) {
    kernels::normalize_columns(rows, x + offset, centre.data(), scale.data(), shift.data(),
                               epilogue, y + offset);
  });
}

// The mean and variance of each group of `outer`, from the sums of x - pivot and its square.
template <class T>
void judge(const ColumnNorm& shape, std::int64_t outer, Sums& sums, const T* pivot, T* mean,
           T* variance) {
  const std::int64_t width = shape.group_columns();
  const auto rows = static_cast<double>(shape.rows);
  for (std::int64_t group = 0; group < shape.groups; ++group) {
    double centre = 0;
    for (std::int64_t c = group * width; c < (group + 1) * width; ++c) {
      centre += static_cast<double>(pivot[c]) + sums.first(outer, c) / rows;
    }
    centre /= static_cast<double>(width);
    double spread = 0;
    for (std::int64_t c = group * width; c < (group + 1) * width; ++c) {
      const double sum = sums.first(outer, c);
      const double away = static_cast<double>(pivot[c]) + sum / rows - centre;
      spread += std::max(0.0, sums.second(outer, c) - sum * sum / rows) + rows * away * away;
    }
    mean[outer * shape.groups + group] = static_cast<T>(centre);
    variance[outer * shape.groups + group] =
        static_cast<T>(spread / (rows * static_cast<double>(width)));
  }
}

template <class T>
void run_forward(const ColumnNorm& shape, double eps, const T* x, const T* w, const T* b, T* mean,
                 T* variance, const kernels::Epilogue<T>& epilogue, T* y) {
  const Pieces pieces(shape);
  Sums sums(shape, pieces);
  const auto pivot = [&](std::int64_t outer) { return x + outer * shape.rows * shape.columns; };
  pieces.run(
      [&](std::int64_t outer, std::int64_t chunk) {
        Repeated<T> pivots(shape, pieces);
        pivots.fill([&](std::int64_t c) { return pivot(outer)[c]; });
        sums.collect(outer, chunk, [&](double* first, double* second) {
          pieces.for_rows(outer, chunk, [&](const kernels::NormRows& rows, std::int64_t offset) {
            kernels::column_moments(rows, x + offset, pivots.data(), first, second);
          });
        });
      },
      [&](std::int64_t outer) {
        sums.add_up(outer);
        judge(shape, outer, sums, pivot(outer), mean, variance);
      },
      [&](std::int64_t outer, std::int64_t chunk) {
        apply_chunk(shape, pieces, eps, outer, chunk, x, w, b, mean, variance, epilogue, y);
      });
}

// What dx = g a + (x - mean) b + d needs, per outer and group or column.
struct Factors {
  double inverse = 1;
  double along = 0;  // b
  double shift = 0;  // d
};

template <class T>
class BackwardPass {
 public:
  BackwardPass(const ColumnNorm& shape, double eps, bool fixed, const T* g, const T* x, const T* w,
               const T* mean, const T* variance, const kernels::Passed<T>& through = {})
      : shape_(shape),
        pieces_(shape),
        sums_(shape, pieces_),
        factors_(static_cast<std::size_t>(shape.outer * shape.groups)),
        fixed_(fixed),
        g_(g),
        x_(x),
        w_(w),
        mean_(mean),
        through_(through) {
    for (std::size_t i = 0; i < factors_.size(); ++i) {
      factors_[i].inverse = 1 / std::sqrt(static_cast<double>(variance[i]) + eps);
    }
  }

  void run(T* dx, T* dw, T* db) {
    const auto bytes =
        static_cast<std::size_t>(shape_.outer * shape_.rows * shape_.columns) * sizeof(T);
    streamed_ =
        kernels::is_streamed(dx, 3 * bytes, static_cast<std::size_t>(shape_.columns) * sizeof(T));
    pieces_.run([&](std::int64_t outer, std::int64_t chunk) { collect(outer, chunk); },
                [&](std::int64_t outer) {
                  sums_.add_up(outer);
                  if (!fixed_) judge(outer);
                },
                [&](std::int64_t outer, std::int64_t chunk) { spread(outer, chunk, dx); });
    for (std::int64_t c = 0; c < shape_.columns; ++c) {
      double weight = 0;
      double bias = 0;
      for (std::int64_t outer = 0; outer < shape_.outer; ++outer) {
        weight += sums_.second(outer, c) * factor(outer, c).inverse;
        bias += sums_.first(outer, c);
      }
      dw[c] = static_cast<T>(weight);
      db[c] = static_cast<T>(bias);
    }
  }

 private:
  Factors& factor(std::int64_t outer, std::int64_t column) {
    return factors_[static_cast<std::size_t>(outer * shape_.groups +
                                             column / shape_.group_columns())];
  }
  double weight(std::int64_t column) const {
    return w_ == nullptr ? 1 : static_cast<double>(w_[column]);
  }
  Repeated<T> centres(std::int64_t outer) const {
    Repeated<T> centre(shape_, pieces_);
    centre.fill(
        [&](std::int64_t c) { return mean_[outer * shape_.groups + c / shape_.group_columns()]; });
    return centre;
  }

  void collect(std::int64_t outer, std::int64_t chunk) {
    const Repeated<T> centre = centres(outer);
    sums_.collect(outer, chunk, [&](double* first, double* second) {
      pieces_.for_rows(outer, chunk, [&](const kernels::NormRows& rows, std::int64_t offset) {
        if (through_.y == nullptr) {
          kernels::column_products(rows, g_ + offset, x_ + offset, centre.data(), first, second);
          return;
        }
        kernels::Passed<T> through = through_;
        through.y += offset;
        through.passed += offset;
        kernels::passed_products(rows, g_ + offset, x_ + offset, centre.data(), through, first,
                                 second);
      });
    });
  }

  void judge(std::int64_t outer) {
    const auto count = static_cast<double>(shape_.rows * shape_.group_columns());
    for (std::int64_t group = 0; group < shape_.groups; ++group) {
      double sum = 0;
      double product = 0;
      const std::int64_t begin = group * shape_.group_columns();
      for (std::int64_t c = begin; c < begin + shape_.group_columns(); ++c) {
        sum += weight(c) * sums_.first(outer, c);
        product += weight(c) * sums_.second(outer, c);
      }
      Factors& factors = factor(outer, begin);
      const double inverse = factors.inverse;
      factors.shift = -inverse * sum / count;
      factors.along = -inverse * inverse * inverse * product / count;
    }
  }

  void spread(std::int64_t outer, std::int64_t chunk, T* dx) {
    const Repeated<T> centre = centres(outer);
    Repeated<T> a(shape_, pieces_);
    Repeated<T> b(shape_, pieces_);
    Repeated<T> d(shape_, pieces_);
    a.fill([&](std::int64_t c) { return factor(outer, c).inverse * weight(c); });
    b.fill([&](std::int64_t c) { return factor(outer, c).along; });
    d.fill([&](std::int64_t c) { return factor(outer, c).shift; });
    const T* g = through_.y == nullptr ? g_ : through_.passed;
    const bool streamed = g != dx && streamed_;
    pieces_.for_rows_backwards(
        outer, chunk, [&](const kernels::NormRows& rows, std::int64_t offset) {
          kernels::gradient_columns(rows, g + offset, x_ + offset, centre.data(), a.data(),
                                    b.data(), d.data(), streamed, dx + offset);
        });
    if (streamed) kernels::finish_streaming();
  }

  ColumnNorm shape_;
  Pieces pieces_;
  Sums sums_;
  std::vector<Factors> factors_;
  bool fixed_;
  const T* g_;
  const T* x_;
  const T* w_;
  const T* mean_;
  bool streamed_ = false;
  kernels::Passed<T> through_;  // no y: g passes as it is
};

}  // namespace

void normalize(const ColumnNorm& shape, double eps, const Tensor& x, const Tensor& w,
               const Tensor& b, Tensor& mean, Tensor& variance, Tensor& y,
               const NormEpilogue& epilogue) {
  dispatch_floating(x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    T* out = writable<T>(y);
    run_forward(shape, eps, x.data<T>(), data_or_null<T>(w), data_or_null<T>(b), writable<T>(mean),
                writable<T>(variance),
                kernels::Epilogue<T>{.results = out,
                                     .residual = data_or_null<T>(epilogue.residual),
                                     .low = static_cast<T>(epilogue.low),
                                     .high = static_cast<T>(epilogue.high)},
                out);
  });
}

void normalize_with(const ColumnNorm& shape, double eps, const Tensor& x, const Tensor& w,
                    const Tensor& b, const Tensor& mean, const Tensor& variance, Tensor& y) {
  dispatch_floating(x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    const Pieces pieces(shape);
    const T* in = x.data<T>();
    T* out = writable<T>(y);
    pieces.run([](std::int64_t, std::int64_t) {}, [](std::int64_t) {},
               [&](std::int64_t outer, std::int64_t chunk) {
                 apply_chunk(shape, pieces, eps, outer, chunk, in, data_or_null<T>(w),
                             data_or_null<T>(b), mean.data<T>(), variance.data<T>(), {}, out);
               });
  });
}

void normalize_backward(const ColumnNorm& shape, double eps, bool fixed, const Tensor& g,
                        const Tensor& x, const Tensor& w, const Tensor& mean,
                        const Tensor& variance, const ColumnNormGradients& gradients) {
  dispatch_floating(x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    BackwardPass<T> pass(shape, eps, fixed, g.data<T>(), x.data<T>(), data_or_null<T>(w),
                         mean.data<T>(), variance.data<T>());
    pass.run(writable<T>(gradients.dx), writable<T>(gradients.dw), writable<T>(gradients.db));
  });
}

void normalize_backward(const ColumnNorm& shape, double eps, const Tensor& g, const Tensor& x,
                        const Tensor& w, const Tensor& mean, const Tensor& variance,
                        const BoundedGradient& bounded, const ColumnNormGradients& gradients) {
  dispatch_floating(x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    T* dx = writable<T>(gradients.dx);
    // Where nobody asks for it, what passes waits where dx will be.
    T* passed = bounded.passed == nullptr ? dx : writable<T>(*bounded.passed);
    BackwardPass<T> pass(shape, eps, /*fixed=*/false, g.data<T>(), x.data<T>(), data_or_null<T>(w),
                         mean.data<T>(), variance.data<T>(),
                         {.y = bounded.y.data<T>(),
                          .low = static_cast<T>(bounded.low),
                          .high = static_cast<T>(bounded.high),
                          .passed = passed});
    pass.run(dx, writable<T>(gradients.dw), writable<T>(gradients.db));
  });
}

}  // namespace fovea::ops
