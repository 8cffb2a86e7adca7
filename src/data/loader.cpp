// The loader: an order drawn from (seed, epoch), cut into batches, which one background thread
// prepares ahead. The thread changes when a batch is made, never what is in it.
#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <exception>
#include <mutex>
#include <numeric>
#include <optional>
#include <system_error>
#include <thread>
#include <utility>

#include "core/check.h"
#include "fovea/data.h"
#include "fovea/random.h"

namespace fovea::data {
namespace {

// Apart from the streams that initial weights take, which count from 0.
constexpr std::uint64_t kShuffleStreams = std::uint64_t{1} << 63;

std::vector<std::int64_t> order_of(std::int64_t count, const LoaderOptions& options,
                                   std::int64_t epoch) {
  if (options.shuffle) {
    Generator generator{.seed = options.seed,
                        .next_stream = kShuffleStreams + static_cast<std::uint64_t>(epoch)};
    return permutation(count, generator);
  }
  std::vector<std::int64_t> order(static_cast<std::size_t>(count));
  std::iota(order.begin(), order.end(), 0);
  return order;
}

std::int64_t batch_count(std::int64_t samples, const LoaderOptions& options) {
  return options.drop_last ? samples / options.batch
                           : samples / options.batch + (samples % options.batch != 0 ? 1 : 0);
}

}  // namespace

// One pass over the data, or the rest of one. Used by one consumer thread.
class Loader::Stream {
 public:
  // `position` is where it starts, and is kept up to date.
  Stream(std::shared_ptr<const Dataset> dataset, const LoaderOptions& options,
         std::shared_ptr<LoaderPosition> position)
      : dataset_(std::move(dataset)),
        options_(options),
        order_(order_of(dataset_->size(), options, position->epoch)),
        batches_(batch_count(dataset_->size(), options)),
        position_(std::move(position)),
        taken_(position_->batch) {
    if (options_.prefetch == 0 || taken_ == batches_) return;
    try {
      producer_ = std::thread([this, first = taken_] { produce(first); });
    } catch (const std::system_error& error) {
      throw_error(
          fmt::format("loader: cannot start a thread ({}); use prefetch = 0", error.what()));
    }
  }

  ~Stream() {
    if (!producer_.joinable()) return;
    stop_ = true;
    {
      const std::lock_guard lock(
          mutex_);  // or the producer could miss the news between test and wait
    }
    changed_.notify_all();
    producer_.join();
  }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  // The next batch; nothing at the end. Rethrows what the data set threw, once; then the end is
  // reached.
  std::optional<Batch> next() {
    if (taken_ == batches_) {
      if (!failed_) *position_ = {.epoch = position_->epoch + 1, .batch = 0};
      return std::nullopt;
    }
    std::optional<Batch> batch;
    try {
      batch = producer_.joinable() ? take() : make_batch(taken_);
    } catch (...) {
      taken_ = batches_;
      failed_ = true;
      throw;
    }
    position_->batch = ++taken_;
    return batch;
  }

 private:
  struct Prepared {
    std::optional<Batch> batch;
    std::exception_ptr error;
  };

  std::optional<Batch> take() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return !queue_.empty(); });
    Prepared prepared = std::move(queue_.front());
    queue_.pop_front();
    lock.unlock();
    changed_.notify_all();
    if (prepared.error) std::rethrow_exception(prepared.error);
    return std::move(prepared.batch);
  }

  void produce(std::int64_t first) {
    for (std::int64_t index = first; index < batches_ && !stop_; ++index) {
      Prepared prepared;
      try {
        prepared.batch = make_batch(index);
      } catch (...) {
        prepared.error = std::current_exception();
      }
      const bool last = prepared.error != nullptr;
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [this] {
        return stop_ || queue_.size() < static_cast<std::size_t>(options_.prefetch);
      });
      if (stop_) return;
      queue_.push_back(std::move(prepared));
      lock.unlock();
      changed_.notify_all();
      if (last) return;
    }
  }

  // Samples go straight to their place: channels-last memory is one sample after the other.
  std::optional<Batch> make_batch(std::int64_t index) const {
    const std::int64_t first = index * options_.batch;
    const std::int64_t count =
        std::min(options_.batch, static_cast<std::int64_t>(order_.size()) - first);
    const Shape sample = dataset_->sample_shape();
    Shape shape = {count};
    for (const std::int64_t size : sample) shape.push_back(size);
    Batch batch{.images = Tensor::empty(shape, DType::float32, Layout::channels_last),
                .labels = Tensor::empty({count}, DType::int64)};
    const auto values = static_cast<std::size_t>(sample.numel());
    auto* images = batch.images.mutable_data<float>();
    auto* labels = batch.labels.mutable_data<std::int64_t>();
    for (std::int64_t i = 0; i < count; ++i) {
      if (stop_) return std::nullopt;  // nobody will take it
      const std::int64_t source = order_[static_cast<std::size_t>(first + i)];
      dataset_->read(source, std::span(images + static_cast<std::size_t>(i) * values, values));
      labels[i] = dataset_->label(source);
    }
    return batch;
  }

  const std::shared_ptr<const Dataset> dataset_;
  const LoaderOptions options_;
  const std::vector<std::int64_t> order_;
  const std::int64_t batches_;
  const std::shared_ptr<LoaderPosition> position_;
  std::int64_t taken_;
  bool failed_ = false;

  std::mutex mutex_;  // of queue_
  std::condition_variable changed_;
  std::deque<Prepared> queue_;
  std::atomic<bool> stop_{false};
  std::thread producer_;
};

Loader::Loader(std::shared_ptr<const Dataset> dataset, const LoaderOptions& options)
    : dataset_(std::move(dataset)), options_(options) {
  FOVEA_CHECK(dataset_ != nullptr, "loader: the data set is null");
  FOVEA_CHECK(options_.batch >= 1, "loader: batch is {}, but must be at least 1", options_.batch);
  FOVEA_CHECK(options_.prefetch >= 0, "loader: prefetch is {}, but must not be negative",
              options_.prefetch);
  FOVEA_CHECK(options_.epoch >= 0, "loader: epoch is {}, but must not be negative", options_.epoch);
  next_.epoch = options_.epoch;
}

Loader::~Loader() = default;

std::int64_t Loader::batches() const {
  return batch_count(dataset_->size(), options_);
}

std::int64_t Loader::samples() const {
  return dataset_->size();
}

LoaderPosition Loader::position() const {
  return current_ != nullptr ? *current_ : next_;
}

void Loader::seek(const LoaderPosition& position) {
  FOVEA_CHECK(position.epoch >= 0 && position.batch >= 0 && position.batch <= batches(),
              "loader: cannot go to batch {} of epoch {}; an epoch has {} batches, counted from 0",
              position.batch, position.epoch, batches());
  next_ = position;
  current_.reset();
}

Loader::Iterator Loader::begin() {
  auto position = std::make_shared<LoaderPosition>(next_);
  auto stream = std::make_shared<Stream>(dataset_, options_, position);
  current_ = std::move(position);
  next_ = {.epoch = next_.epoch + 1, .batch = 0};
  return Iterator(std::move(stream));
}

Loader::Iterator::Iterator(std::shared_ptr<Stream> stream) : stream_(std::move(stream)) {
  ++*this;
}

Loader::Iterator& Loader::Iterator::operator++() {
  FOVEA_CHECK(stream_ != nullptr, "loader: advanced beyond the last batch");
  std::optional<Batch> batch = stream_->next();
  if (!batch) stream_.reset();
  batch_ = batch ? *std::move(batch) : Batch{};
  return *this;
}

}  // namespace fovea::data
