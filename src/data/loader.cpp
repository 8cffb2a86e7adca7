// The loader: an order drawn from (seed, epoch), cut into batches, which background threads prepare
// ahead: each takes the next batch that nobody has taken, as far as `prefetch` allows. The threads
// change when a batch is made, never what is in it or which comes next.
#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <exception>
#include <map>
#include <mutex>
#include <numeric>
#include <optional>
#include <system_error>
#include <thread>
#include <utility>

#include "core/check.h"
#include "data/augment.h"
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
         std::shared_ptr<const Augmenter> augmenter, std::shared_ptr<LoaderPosition> position)
      : dataset_(std::move(dataset)),
        options_(options),
        augmenter_(std::move(augmenter)),
        epoch_(position->epoch),
        order_(order_of(dataset_->size(), options, position->epoch)),
        batches_(batch_count(dataset_->size(), options)),
        position_(std::move(position)),
        taken_(position_->batch) {
    started_ = taken_;
    const std::int64_t ahead = std::min<std::int64_t>(options_.prefetch, batches_ - taken_);
    const std::int64_t threads = std::min<std::int64_t>(ahead, options_.threads);
    try {
      while (static_cast<std::int64_t>(producers_.size()) < threads)
        producers_.emplace_back([this] { produce(); });
    } catch (const std::system_error& error) {
      stop();
      throw_error(
          fmt::format("loader: cannot start a thread ({}); use prefetch = 0", error.what()));
    }
  }

  ~Stream() { stop(); }
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
      if (producers_.empty()) {
        batch = make_batch(taken_);
        ++taken_;
      } else {
        batch = take();
      }
    } catch (...) {
      stop();
      taken_ = batches_;
      failed_ = true;
      throw;
    }
    position_->batch = taken_;
    return batch;
  }

 private:
  struct Prepared {
    std::optional<Batch> batch;
    std::exception_ptr error;
  };

  std::optional<Batch> take() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return ready_.contains(taken_); });
    Prepared prepared = std::move(ready_.extract(taken_).mapped());
    ++taken_;
    lock.unlock();
    changed_.notify_all();
    if (prepared.error) std::rethrow_exception(prepared.error);
    return std::move(prepared.batch);
  }

  void produce() {
    std::unique_lock lock(mutex_);
    while (true) {
      changed_.wait(lock, [this] {
        return stop_ || started_ == batches_ || started_ < taken_ + options_.prefetch;
      });
      if (stop_ || started_ == batches_) return;
      const std::int64_t index = started_++;
      lock.unlock();
      Prepared prepared;
      try {
        prepared.batch = make_batch(index);
      } catch (...) {
        prepared.error = std::current_exception();
      }
      lock.lock();
      ready_.emplace(index, std::move(prepared));
      changed_.notify_all();
    }
  }

  void stop() {
    stop_ = true;
    {
      const std::lock_guard lock(mutex_);  // or one could miss the news between test and wait
    }
    changed_.notify_all();
    for (std::thread& producer : producers_) {
      if (producer.joinable()) producer.join();
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
    Shape label_shape = {count};
    const bool masks = dataset_->has_masks();
    for (int axis = 1; masks && axis < sample.rank(); ++axis) label_shape.push_back(sample[axis]);
    Batch batch{.images = Tensor::empty(shape, DType::float32, Layout::channels_last),
                .labels = Tensor::empty(label_shape, DType::int64)};
    const auto values = static_cast<std::size_t>(sample.numel());
    const auto cells = static_cast<std::size_t>(batch.labels.numel() / count);
    auto* images = batch.images.mutable_data<float>();
    auto* labels = batch.labels.mutable_data<std::int64_t>();
    for (std::int64_t i = 0; i < count; ++i) {
      if (stop_) return std::nullopt;  // nobody will take it
      const std::int64_t source = order_[static_cast<std::size_t>(first + i)];
      const std::span<float> values_of(images + static_cast<std::size_t>(i) * values, values);
      dataset_->read(source, values_of);
      std::span<std::int64_t> mask;
      if (masks) {
        mask = {labels + static_cast<std::size_t>(i) * cells, cells};
        dataset_->read_mask(source, mask);
      } else {
        labels[i] = dataset_->label(source);
      }
      augmenter_->change(epoch_, source, values_of, mask);
    }
    augmenter_->mix(epoch_, index, batch);
    return batch;
  }

  const std::shared_ptr<const Dataset> dataset_;
  const LoaderOptions options_;
  const std::shared_ptr<const Augmenter> augmenter_;
  const std::int64_t epoch_;
  const std::vector<std::int64_t> order_;
  const std::int64_t batches_;
  const std::shared_ptr<LoaderPosition> position_;
  bool failed_ = false;

  std::mutex mutex_;          // of the three below, while there are producers
  std::int64_t taken_;        // batches before this one were handed out
  std::int64_t started_ = 0;  // and those before this one are ready or being made
  std::map<std::int64_t, Prepared> ready_;
  std::condition_variable changed_;
  std::atomic<bool> stop_{false};
  std::vector<std::thread> producers_;
};

Loader::Loader(std::shared_ptr<const Dataset> dataset, const LoaderOptions& options)
    : dataset_(std::move(dataset)), options_(options) {
  FOVEA_CHECK(dataset_ != nullptr, "loader: the data set is null");
  FOVEA_CHECK(options_.batch >= 1, "loader: batch is {}, but must be at least 1", options_.batch);
  FOVEA_CHECK(options_.prefetch >= 0, "loader: prefetch is {}, but must not be negative",
              options_.prefetch);
  FOVEA_CHECK(options_.threads >= 1, "loader: threads is {}, but must be at least 1",
              options_.threads);
  FOVEA_CHECK(options_.epoch >= 0, "loader: epoch is {}, but must not be negative", options_.epoch);
  augmenter_ = std::make_shared<Augmenter>(options_.augment, *dataset_, options_.seed);
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
  auto stream = std::make_shared<Stream>(dataset_, options_, augmenter_, position);
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
