// The exponential moving average of weights. In the first steps less is kept, or the average would
// long remember the weights that training started from.
#include <algorithm>
#include <utility>

#include "core/check.h"
#include "core/dispatch.h"
#include "core/tensor_impl.h"
#include "fovea/executor.h"
#include "fovea/optim.h"
#include "kernels/update.h"
#include "optim/parameters.h"

namespace fovea::optim {
namespace {

void require_alike(const std::vector<Tensor>& a, const std::vector<Tensor>& b) {
  FOVEA_CHECK(a.size() == b.size(), "moving average: of {} tensors, but {} are given", a.size(),
              b.size());
  for (std::size_t i = 0; i < a.size(); ++i) {
    FOVEA_CHECK(a[i].defined() && b[i].defined() && a[i].shape() == b[i].shape() &&
                    a[i].dtype() == b[i].dtype(),
                "moving average: tensor {} is {}, but {} is given", i, a[i].describe(),
                b[i].describe());
  }
}

}  // namespace

MovingAverage::MovingAverage(std::vector<Tensor> source, std::vector<Tensor> average,
                             const MovingAverageOptions& options)
    : source_(std::move(source)), average_(std::move(average)), options_(options) {
  require_number("moving average", "decay", options.decay, options.decay >= 0 && options.decay < 1,
                 "at least 0 and less than 1");
  require_alike(source_, average_);
  for (std::size_t i = 0; i < source_.size(); ++i) {
    FOVEA_CHECK(is_dense(source_[i].shape(), source_[i].strides()) &&
                    source_[i].strides() == average_[i].strides(),
                "moving average: tensor {} ({}) must be dense, and its average in the same memory "
                "order",
                i, source_[i].describe());
    average_[i].copy_from(source_[i]);
  }
}

void MovingAverage::update() {
  ++steps_;
  const auto t = static_cast<double>(steps_);
  const double share = 1 - std::min(options_.decay, (1 + t) / (10 + t));
  for (std::size_t i = 0; i < source_.size(); ++i) {
    if (!is_floating(source_[i].dtype())) {
      average_[i].copy_from(source_[i]);
      continue;
    }
    dispatch_floating(source_[i].dtype(), [&](auto tag) {
      using T = typename decltype(tag)::type;
      const T* value = source_[i].data<T>();
      T* average = writable<T>(average_[i]);
      parallel_ranges(
          source_[i].numel(), kParametersPerTask, [&](std::int64_t first, std::int64_t last) {
            kernels::average_update(share, last - first, value + first, average + first);
          });
    });
  }
}

void MovingAverage::set_state(const std::vector<Tensor>& averages, std::int64_t steps) {
  require_alike(average_, averages);
  FOVEA_CHECK(steps >= 0, "moving average: the state counts {} steps", steps);
  for (std::size_t i = 0; i < average_.size(); ++i) average_[i].copy_from(averages[i]);
  steps_ = steps;
}

}  // namespace fovea::optim
