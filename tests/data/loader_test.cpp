// The loader: order, batches, threads that end.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <barrier>
#include <numeric>
#include <set>
#include <stdexcept>

#include "fovea/data.h"
#include "support/errors.h"

namespace fovea::data {
namespace {

using testing::error_of;

// Sample i is a [2, 3, 4] block whose value at (c, y, x) is 1000 i + 100 c + 10 y + x, its label is
// i.
class Counting : public Dataset {
 public:
  explicit Counting(std::int64_t size, std::int64_t faulty = -1) : size_(size), faulty_(faulty) {}
  std::int64_t size() const override { return size_; }
  Shape sample_shape() const override { return {2, 3, 4}; }
  const std::vector<std::string>& classes() const override { return classes_; }
  std::vector<double> mean() const override { return {0, 0}; }
  std::vector<double> stddev() const override { return {1, 1}; }
  void read(std::int64_t index, std::span<float> sample) const override {
    ++reads;
    if (index == faulty_) throw std::runtime_error("faulty sample");
    auto* out = sample.data();
    for (int y = 0; y < 3; ++y) {
      for (int x = 0; x < 4; ++x) {
        for (int c = 0; c < 2; ++c)
          *out++ = static_cast<float>(1000 * index + 100 * c + 10 * y + x);
      }
    }
  }
  std::int64_t label(std::int64_t index) const override { return index; }

  mutable std::atomic<std::int64_t> reads{0};

 private:
  std::int64_t size_;
  std::int64_t faulty_;
  std::vector<std::string> classes_;
};

std::vector<std::int64_t> labels_of(Loader& loader) {
  std::vector<std::int64_t> labels;
  for (const auto& [images, batch_labels] : loader) {
    const auto batch = batch_labels.to_vector<std::int64_t>();
    EXPECT_EQ(images.size(0), batch_labels.size(0));
    labels.insert(labels.end(), batch.begin(), batch.end());
  }
  return labels;
}

std::vector<std::int64_t> shuffled(std::uint64_t seed, std::int64_t epoch, int prefetch,
                                   int threads = 2) {
  Loader loader(std::make_shared<Counting>(101), {.batch = 7,
                                                  .shuffle = true,
                                                  .seed = seed,
                                                  .epoch = epoch,
                                                  .prefetch = prefetch,
                                                  .threads = threads});
  return labels_of(loader);
}

TEST(Loader, BatchesAreChannelsLastImagesWithTheirLabels) {
  Loader loader(std::make_shared<Counting>(5), {.batch = 2});
  EXPECT_EQ(loader.batches(), 3);
  std::vector<Shape> shapes;
  for (const auto& [images, labels] : loader) {
    shapes.push_back(images.shape());
    EXPECT_TRUE(images.is_contiguous(Layout::channels_last));
    EXPECT_EQ(labels.dtype(), DType::int64);
    const double index = labels.at({0});
    EXPECT_EQ(images.at({0, 1, 2, 3}), 1000 * index + 123);
    EXPECT_EQ(images.at({0, 0, 1, 0}), 1000 * index + 10);
  }
  EXPECT_EQ(shapes, (std::vector<Shape>{{2, 2, 3, 4}, {2, 2, 3, 4}, {1, 2, 3, 4}}));
}

TEST(Loader, WithoutShufflingTheOrderIsThatOfTheDataSet) {
  Loader loader(std::make_shared<Counting>(23), {.batch = 5});
  const auto labels = labels_of(loader);
  std::vector<std::int64_t> expected(23);
  std::iota(expected.begin(), expected.end(), 0);
  EXPECT_EQ(labels, expected);
}

TEST(Loader, ShufflingGivesEverySampleOnce) {
  const auto labels = shuffled(1, 0, 2);
  EXPECT_EQ(labels.size(), 101U);
  EXPECT_EQ(std::set<std::int64_t>(labels.begin(), labels.end()).size(), 101U);
  EXPECT_FALSE(std::is_sorted(labels.begin(), labels.end()));
}

TEST(Loader, OrderDependsOnSeedAndEpochAlone) {
  const auto first = shuffled(1, 0, 2);
  EXPECT_EQ(shuffled(1, 0, 2), first);
  EXPECT_EQ(shuffled(1, 0, 0), first);
  EXPECT_EQ(shuffled(1, 0, 9), first);
  EXPECT_EQ(shuffled(1, 0, 9, 1), first);
  EXPECT_EQ(shuffled(1, 0, 99, 5), first);
  EXPECT_NE(shuffled(1, 1, 2), first);
  EXPECT_NE(shuffled(2, 0, 2), first);
}

TEST(Loader, SeveralThreadsPrepareDifferentBatchesAtOnce) {
  // The first sample of a batch waits until the next batch has begun as well.
  class Waiting : public Counting {
   public:
    Waiting() : Counting(40) {}
    void read(std::int64_t index, std::span<float> sample) const override {
      Counting::read(index, sample);
      if (index % 10 == 0) both_.arrive_and_wait();
    }

   private:
    mutable std::barrier<> both_{2};
  };
  Loader loader(std::make_shared<Waiting>(), {.batch = 10, .prefetch = 4, .threads = 2});
  const auto labels = labels_of(loader);
  EXPECT_EQ(labels.size(), 40U);
  EXPECT_TRUE(std::is_sorted(labels.begin(), labels.end()));
}

TEST(Loader, EachBeginStartsTheNextEpoch) {
  Loader loader(std::make_shared<Counting>(101), {.batch = 7, .shuffle = true, .epoch = 4});
  EXPECT_EQ(labels_of(loader), shuffled(1, 4, 2));
  EXPECT_EQ(labels_of(loader), shuffled(1, 5, 2));
  const auto abandoned = loader.begin();
  EXPECT_EQ(labels_of(loader), shuffled(1, 7, 2));
}

TEST(Loader, KnowsWhereItStands) {
  Loader loader(std::make_shared<Counting>(20), {.batch = 6, .epoch = 3});
  EXPECT_EQ(loader.position(), (LoaderPosition{3, 0}));
  std::int64_t done = 0;
  for ([[maybe_unused]] const auto& batch : loader)
    EXPECT_EQ(loader.position(), (LoaderPosition{3, ++done}));
  EXPECT_EQ(done, 4);
  EXPECT_EQ(loader.position(), (LoaderPosition{4, 0}));
  for ([[maybe_unused]] const auto& batch : loader) break;
  EXPECT_EQ(loader.position(), (LoaderPosition{4, 1}));
  loader.begin();
  EXPECT_EQ(loader.position(), (LoaderPosition{5, 1}));
}

TEST(Loader, SeekGoesOnInTheMiddleOfAnEpoch) {
  for (const int prefetch : {0, 2}) {
    const LoaderOptions options{.batch = 7, .shuffle = true, .prefetch = prefetch};
    const auto dataset = std::make_shared<Counting>(101);
    const auto whole = shuffled(1, 2, prefetch);
    for (const std::int64_t batch : {0, 1, 14}) {
      Loader loader(dataset, options);
      loader.seek({.epoch = 2, .batch = batch});
      EXPECT_EQ(loader.position(), (LoaderPosition{2, batch}));
      const auto rest = labels_of(loader);
      EXPECT_EQ(rest, std::vector<std::int64_t>(whole.begin() + 7 * batch, whole.end()));
      EXPECT_EQ(loader.position(), (LoaderPosition{3, 0}));
      EXPECT_EQ(labels_of(loader), shuffled(1, 3, prefetch));
    }
    Loader loader(dataset, options);
    loader.seek({.epoch = 2, .batch = loader.batches()});
    EXPECT_TRUE(labels_of(loader).empty());
    EXPECT_EQ(loader.position(), (LoaderPosition{3, 0}));
  }
}

TEST(Loader, SeekRefusesWhatNoEpochHas) {
  Loader loader(std::make_shared<Counting>(20), {.batch = 6});
  EXPECT_CONTAINS(error_of([&] { loader.seek({.epoch = 0, .batch = 5}); }), "batch 5", "4 batches");
  EXPECT_CONTAINS(error_of([&] { loader.seek({.epoch = -1, .batch = 0}); }), "epoch -1");
  EXPECT_CONTAINS(error_of([&] { loader.seek({.epoch = 0, .batch = -1}); }), "batch -1");
  EXPECT_EQ(loader.position(), (LoaderPosition{0, 0}));
}

TEST(Loader, DropLastLeavesOutAnIncompleteBatch) {
  Loader loader(std::make_shared<Counting>(20), {.batch = 6, .drop_last = true});
  EXPECT_EQ(loader.batches(), 3);
  EXPECT_EQ(labels_of(loader).size(), 18U);
}

TEST(Loader, EmptyDataSetHasNoBatches) {
  Loader loader(std::make_shared<Counting>(0));
  EXPECT_EQ(loader.batches(), 0);
  EXPECT_FALSE(loader.begin() != loader.end());
}

TEST(Loader, BatchesOutliveTheLoader) {
  std::vector<Tensor> kept;
  for (const auto& [images, labels] : Loader(std::make_shared<Counting>(9), {.batch = 3}))
    kept.push_back(labels);
  ASSERT_EQ(kept.size(), 3U);
  EXPECT_EQ(kept[0].to_vector<std::int64_t>(), (std::vector<std::int64_t>{0, 1, 2}));
  EXPECT_EQ(kept[2].to_vector<std::int64_t>(), (std::vector<std::int64_t>{6, 7, 8}));
}

TEST(Loader, AnAbandonedEpochStopsItsThread) {
  for (const int prefetch : {0, 1, 3}) {
    const auto dataset = std::make_shared<Counting>(1'000'000);
    for (const auto& batch : Loader(dataset, {.batch = 10, .prefetch = prefetch})) {
      EXPECT_EQ(batch.labels.size(0), 10);
      break;
    }
    // Had the thread gone on, it would hold the data set and read all of it.
    EXPECT_EQ(dataset.use_count(), 1);
    EXPECT_LE(dataset->reads, 10 * (prefetch + 2));
  }
}

TEST(Loader, NoThreadReadsAheadWithoutPrefetch) {
  const auto dataset = std::make_shared<Counting>(100);
  Loader loader(dataset, {.batch = 10, .prefetch = 0});
  auto iterator = loader.begin();
  EXPECT_EQ(dataset->reads, 10);
  ++iterator;
  EXPECT_EQ(dataset->reads, 20);
}

TEST(Loader, ExceptionsOfTheDataSetReachTheConsumer) {
  for (const int prefetch : {0, 2}) {
    Loader loader(std::make_shared<Counting>(100, 35), {.batch = 10, .prefetch = prefetch});
    int batches = 0;
    try {
      for ([[maybe_unused]] const auto& batch : loader) ++batches;
      ADD_FAILURE() << "nothing was thrown";
    } catch (const std::runtime_error& error) {
      EXPECT_STREQ(error.what(), "faulty sample");
    }
    EXPECT_EQ(batches, 3);  // those before the faulty one
  }
}

TEST(Loader, AfterAnExceptionTheEndIsReached) {
  Loader loader(std::make_shared<Counting>(100, 15), {.batch = 10});
  auto iterator = loader.begin();
  EXPECT_THROW(++iterator, std::runtime_error);
  ++iterator;
  EXPECT_FALSE(iterator != loader.end());
}

TEST(Loader, WrongOptionsAreRefused) {
  const auto dataset = std::make_shared<Counting>(1);
  EXPECT_CONTAINS(error_of([&] { Loader(dataset, {.batch = 0}); }), "batch is 0");
  EXPECT_CONTAINS(error_of([&] { Loader(dataset, {.prefetch = -1}); }), "prefetch is -1");
  EXPECT_CONTAINS(error_of([&] { Loader(dataset, {.threads = 0}); }), "threads is 0");
  EXPECT_CONTAINS(error_of([&] { Loader(dataset, {.epoch = -1}); }), "epoch is -1");
  EXPECT_CONTAINS(error_of([&] { Loader(nullptr, {}); }), "null");
}

}  // namespace
}  // namespace fovea::data
