// The data sets in MNIST's format, and the list of sources.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <optional>

#include "fovea/data.h"
#include "fovea/models.h"
#include "support/errors.h"
#include "support/files.h"
#include "support/idx.h"

namespace fovea::data {
namespace {

using testing::error_of;
using testing::gzip_of;
using testing::idx_of;
using testing::TempFolder;
using testing::write_file;
using testing::write_small_mnist;

// Sets an environment variable for one test.
class Environment {
 public:
  Environment(const char* name, const std::string& value) : name_(name) {
    if (const char* old = std::getenv(name)) old_ = old;
    ::setenv(name, value.c_str(), 1);
  }
  ~Environment() {
    if (old_) {
      ::setenv(name_, old_->c_str(), 1);
    } else {
      ::unsetenv(name_);
    }
  }
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;

 private:
  const char* name_;
  std::optional<std::string> old_;
};

// Mean and deviation of all values that a data set gives.
std::pair<double, double> statistics_of(const Dataset& dataset) {
  std::vector<float> sample(static_cast<std::size_t>(dataset.sample_shape().numel()));
  double sum = 0;
  double squares = 0;
  for (std::int64_t i = 0; i < dataset.size(); ++i) {
    dataset.read(i, sample);
    for (const float value : sample) {
      sum += static_cast<double>(value);
      squares += static_cast<double>(value) * static_cast<double>(value);
    }
  }
  const double count = static_cast<double>(dataset.size()) * static_cast<double>(sample.size());
  return {sum / count, std::sqrt(squares / count - (sum / count) * (sum / count))};
}

TEST(Mnist, ReadsImagesAndLabelsOfAFolder) {
  const TempFolder folder;
  write_small_mnist(folder.path(), 23);
  const auto dataset = mnist(folder.path(), Split::test);
  EXPECT_EQ(dataset->size(), 23);
  EXPECT_EQ(dataset->sample_shape(), Shape({1, 4, 3}));
  EXPECT_EQ(dataset->classes().size(), 10U);
  EXPECT_EQ(dataset->label(13), 3);
  std::vector<float> sample(12);
  dataset->read(13, sample);
  for (std::size_t p = 0; p < sample.size(); ++p) {
    const double scaled = (130.0 + static_cast<double>(p)) / 255;
    EXPECT_FLOAT_EQ(sample[p],
                    static_cast<float>((scaled - dataset->mean()[0]) / dataset->stddev()[0]));
  }
}

TEST(Describe, GivesANetworkWhatItMustRemember) {
  const TempFolder folder;
  write_small_mnist(folder.path(), 12);
  const auto dataset = mnist(folder.path(), Split::train);
  nn::Model own;
  describe(own, *dataset);
  EXPECT_EQ(own.info.input, Shape({1, 4, 3}));
  EXPECT_EQ(own.info.mean, dataset->mean());
  EXPECT_EQ(own.info.stddev, dataset->stddev());
  EXPECT_EQ(own.info.classes, dataset->classes());
  nn::Model lenet = models::lenet5();
  EXPECT_CONTAINS(error_of([&] { describe(lenet, *dataset); }), "[1, 28, 28]", "[1, 4, 3]");
  nn::Model other = models::lenet5({.classes = 3});
  other.info.input = {1, 4, 3};
  EXPECT_CONTAINS(error_of([&] { describe(other, *dataset); }), "3 classes", ".classes = 10");
  EXPECT_TRUE(other.info.classes.empty());
}

TEST(Mnist, AcceptsNamesWithDots) {
  const TempFolder folder;
  write_small_mnist(folder.path(), 5);
  std::filesystem::rename(folder / "train-images-idx3-ubyte", folder / "train-images.idx3-ubyte");
  EXPECT_EQ(mnist(folder.path(), Split::train)->size(), 5);
}

TEST(Mnist, TrainingSplitIsNormalisedAndTheTestSplitWithTheSameNumbers) {
  const TempFolder folder;
  write_small_mnist(folder.path(), 40);
  write_file(folder / "t10k-images-idx3-ubyte", idx_of({40, 4, 3}, std::string(480, '\x05')));
  const auto train = mnist(folder.path(), Split::train);
  const auto [mean, stddev] = statistics_of(*train);
  EXPECT_NEAR(mean, 0, 1e-6);  // each value is rounded to float
  EXPECT_NEAR(stddev, 1, 1e-6);
  const auto test = mnist(folder.path(), Split::test);
  EXPECT_EQ(test->mean(), train->mean());
  EXPECT_EQ(test->stddev(), train->stddev());
}

TEST(Mnist, ImagesOfOneGreyDoNotDivideByZero) {
  const TempFolder folder;
  write_small_mnist(folder.path(), 4);
  write_file(folder / "train-images-idx3-ubyte", idx_of({4, 4, 3}, std::string(48, '\x05')));
  const auto dataset = mnist(folder.path(), Split::train);
  std::vector<float> sample(12, 1.0F);
  dataset->read(0, sample);
  EXPECT_NEAR(sample[0], 0, 1e-6);
}

TEST(Mnist, MissingFilesAreNamed) {
  EXPECT_CONTAINS(error_of([] { mnist("/none", Split::train); }), "no folder '/none'");
  const TempFolder folder;
  write_small_mnist(folder.path(), 5);
  std::filesystem::remove(folder / "t10k-labels-idx1-ubyte.gz");
  EXPECT_CONTAINS(error_of([&] { mnist(folder.path(), Split::test); }), "t10k-labels-idx1-ubyte");
}

TEST(Mnist, ContradictoryFilesAreRefused) {
  const TempFolder folder;
  const auto error = [&] { return error_of([&] { mnist(folder.path(), Split::train); }); };
  write_small_mnist(folder.path(), 5);
  const std::string labels = folder / "train-labels-idx1-ubyte.gz";
  write_file(labels, gzip_of(idx_of({4}, std::string("\0\1\2\3", 4))));
  EXPECT_CONTAINS(error(), "4 labels for 5 images");
  write_file(labels, gzip_of(idx_of({5}, std::string("\0\1\2\3\12", 5))));
  EXPECT_CONTAINS(error(), "sample 4 the label 10, expected 0 to 9");
  write_file(labels, gzip_of(idx_of({5, 1}, std::string("\0\1\2\3\4", 5))));
  EXPECT_CONTAINS(error(), "shape [5, 1], expected [N]");
  write_file(folder / "train-images-idx3-ubyte", idx_of({5, 12}, std::string(60, 'x')));
  EXPECT_CONTAINS(error(), "expected [N, height, width]");
  write_file(folder / "train-images-idx3-ubyte", idx_of({0, 4, 3}, ""));
  EXPECT_CONTAINS(error(), "no pixels");
}

TEST(Mnist, SamplesOutsideAreRefused) {
  const TempFolder folder;
  write_small_mnist(folder.path(), 5);
  const auto dataset = mnist(folder.path(), Split::train);
  std::vector<float> sample(12);
  EXPECT_CONTAINS(error_of([&] { dataset->read(5, sample); }), "no sample 5");
  EXPECT_CONTAINS(error_of([&] { dataset->label(-1); }), "no sample -1");
  sample.resize(11);
  EXPECT_CONTAINS(error_of([&] { dataset->read(0, sample); }), "12 values");
}

TEST(Mnist, TheRealOneHasThePublishedStatistics) {
  const std::string folder = testing::shared_folder() + "/data/mnist";
  if (!std::filesystem::exists(folder)) GTEST_SKIP() << "no folder " << folder;
  const auto dataset = mnist(folder, Split::train);
  EXPECT_EQ(dataset->size(), 60000);
  EXPECT_NEAR(dataset->mean()[0], 0.1307, 5e-5);
  EXPECT_NEAR(dataset->stddev()[0], 0.3081, 5e-5);
  EXPECT_EQ(dataset->label(0), 5);
}

TEST(FashionMnist, StoredStatisticsAreThoseOfTheTrainingImages) {
  if (!std::filesystem::exists("/usr/share/datasets/fashion-mnist")) {
    GTEST_SKIP() << "the package dataset-fashion-mnist is not installed";
  }
  const auto known = fashion_mnist(Split::train);
  const auto measured = mnist("/usr/share/datasets/fashion-mnist", Split::train);
  EXPECT_EQ(known->size(), 60000);
  EXPECT_EQ(known->classes()[9], "Ankle boot");
  EXPECT_NEAR(known->mean()[0], measured->mean()[0], 1e-12);
  EXPECT_NEAR(known->stddev()[0], measured->stddev()[0], 1e-12);
  EXPECT_EQ(fashion_mnist(Split::test)->size(), 10000);
}

TEST(FashionMnist, WhereItIsMissingTheMessageNamesThePackage) {
  const TempFolder folder;
  const Environment environment("FOVEA_DATA", folder.path());
  const std::string message = error_of([] { fashion_mnist(Split::train); });
  EXPECT_CONTAINS(message, "apt-get install dataset-fashion-mnist");
  EXPECT_CONTAINS(message, folder / "fashion-mnist");
}

TEST(FashionMnist, IsReadFromTheFolderOfTheEnvironment) {
  const TempFolder folder;
  const Environment environment("FOVEA_DATA", folder.path());
  std::filesystem::create_directory(folder / "fashion-mnist");
  write_small_mnist(folder / "fashion-mnist", 7);
  EXPECT_EQ(open("fashion-mnist", Split::test)->size(), 7);
}

TEST(Sources, OpenByName) {
  const TempFolder folder;
  write_small_mnist(folder.path(), 6);
  EXPECT_EQ(open("mnist:" + folder.path(), Split::train)->size(), 6);
  EXPECT_CONTAINS(error_of([] { open("mnist", Split::train); }), "mnist:DIR");
  EXPECT_CONTAINS(error_of([] { open("fashion-mnist:/x", Split::train); }), "takes no folder");
  EXPECT_CONTAINS(error_of([] { open("cifar", Split::train); }),
                  "'cifar'; there are: fashion-mnist, mnist");
}

}  // namespace
}  // namespace fovea::data
