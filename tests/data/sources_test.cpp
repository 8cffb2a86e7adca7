// Data sets of files: folders, archives, options, splits, broken files.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <set>

#include "fovea/data.h"
#include "fovea/executor.h"
#include "support/errors.h"
#include "support/files.h"
#include "support/formats.h"
#include "support/idx.h"

namespace fovea::data {
namespace {

using testing::bytes_of;
using testing::error_of;
using testing::npy_of;
using testing::TempFolder;
using testing::wav_of;
using testing::write_file;

std::vector<float> sample_of(const Dataset& dataset, std::int64_t index) {
  std::vector<float> values(static_cast<std::size_t>(dataset.sample_shape().numel()));
  dataset.read(index, values);
  return values;
}

// Mean and deviation of each channel of all that a data set gives.
std::pair<std::vector<double>, std::vector<double>> measured(const Dataset& dataset) {
  const auto channels = static_cast<std::size_t>(dataset.sample_shape()[0]);
  std::vector<double> sum(channels);
  std::vector<double> squares(channels);
  double count = 0;
  for (std::int64_t i = 0; i < dataset.size(); ++i) {
    const std::vector<float> values = sample_of(dataset, i);
    for (std::size_t j = 0; j < values.size(); ++j) {
      const double value = static_cast<double>(values[j]);
      sum[j % channels] += value;
      squares[j % channels] += value * value;
    }
    count += static_cast<double>(values.size() / channels);
  }
  for (std::size_t c = 0; c < channels; ++c) {
    sum[c] /= count;
    squares[c] = std::sqrt(squares[c] / count - sum[c] * sum[c]);
  }
  return {sum, squares};
}

// The names of the samples of a split, without their folders.
std::set<std::string> files_of(const Dataset& dataset) {
  std::set<std::string> names;
  for (std::int64_t i = 0; i < dataset.size(); ++i)
    names.insert(std::filesystem::path(dataset.name(i)).filename());
  return names;
}

class Images : public ::testing::Test {
 protected:
  // An image of one colour that tells its name.
  void image(const std::string& name, int value, std::int64_t height = 4, std::int64_t width = 4,
             std::int64_t channels = 3) {
    std::filesystem::create_directories(std::filesystem::path(folder_ / name).parent_path());
    Tensor pixels = Tensor::full({channels, height, width}, value, DType::uint8);
    pixels.mutable_data<std::uint8_t>()[0] = static_cast<std::uint8_t>(value / 2);
    write_png(folder_ / name, pixels);
  }
  void ten_of_each() {
    for (int i = 0; i < 10; ++i) {
      image("tree/cat/c" + std::to_string(i) + ".png", 10 * i);
      image("tree/dog/d" + std::to_string(i) + ".png", 10 * i + 100);
    }
  }
  std::string source(const std::string& options = "") { return "images:" + tree_ + options; }
  std::string error(const std::string& options = "", Split split = Split::train) {
    return error_of([&] { open(source(options), split); });
  }
  TempFolder folder_;
  std::string tree_ = folder_ / "tree";
};

TEST_F(Images, ClassesAreFoldersAndASplitIsDrawnFromEachClass) {
  ten_of_each();
  const auto opened = open(source("?validation=0.25"));
  std::set<std::string> all;
  const std::vector<std::pair<Split, std::int64_t>> expected = {
      {Split::train, 12}, {Split::validation, 4}, {Split::test, 4}};
  for (const auto& [split, size] : expected) {
    ASSERT_TRUE(opened->has(split));
    const auto dataset = opened->open(split);
    EXPECT_EQ(dataset->size(), size) << name(split);
    EXPECT_EQ(dataset->classes(), (std::vector<std::string>{"cat", "dog"}));
    EXPECT_EQ(dataset->sample_shape(), Shape({3, 4, 4}));
    std::int64_t dogs = 0;
    for (std::int64_t i = 0; i < dataset->size(); ++i) {
      const std::string file = std::filesystem::path(dataset->name(i)).filename();
      EXPECT_EQ(dataset->label(i), file[0] == 'd' ? 1 : 0);
      dogs += dataset->label(i);
    }
    EXPECT_EQ(dogs, size / 2);
    const auto files = files_of(*dataset);
    all.insert(files.begin(), files.end());
  }
  EXPECT_EQ(all.size(), 20U);  // no file twice, none lost
}

TEST_F(Images, TheSeedDecidesTheSplit) {
  ten_of_each();
  const auto test_files = [&](const std::string& options) {
    return files_of(*open(source(options), Split::test));
  };
  EXPECT_EQ(test_files(""), test_files("?seed=1"));
  EXPECT_NE(test_files("?seed=1"), test_files("?seed=2"));
  EXPECT_EQ(test_files("?test=0.5").size(), 10U);
  EXPECT_FALSE(open(source())->has(Split::validation));
  EXPECT_CONTAINS(error("", Split::validation), "no validation samples", "validation=0.1");
}

TEST_F(Images, NumbersInNamesCanDecideTheSplit) {
  ten_of_each();
  const auto opened = open(source("?test=0-1&validation=5-5"));
  EXPECT_EQ(files_of(*opened->open(Split::test)),
            (std::set<std::string>{"c0.png", "c1.png", "d0.png", "d1.png"}));
  EXPECT_EQ(files_of(*opened->open(Split::validation)),
            (std::set<std::string>{"c5.png", "d5.png"}));
}

TEST_F(Images, FoldersOfSplitsAreTaken) {
  image("tree/train/a/1.png", 10);
  image("tree/train/b/1.png", 30);
  image("tree/val/a/2.png", 50);
  // As ImageNet has it, val alone is what is tested on.
  EXPECT_EQ(open(source(), Split::test)->size(), 1);
  EXPECT_FALSE(open(source())->has(Split::validation));
  image("tree/test/b/2.PNG", 70);
  const auto opened = open(source());
  EXPECT_EQ(opened->open(Split::train)->size(), 2);
  EXPECT_EQ(files_of(*opened->open(Split::validation)), std::set<std::string>{"2.png"});
  EXPECT_EQ(opened->open(Split::test)->label(0), 1);
  EXPECT_CONTAINS(error("?test=0.1"), "test samples of its own");
  EXPECT_CONTAINS(error("?validation=0.1"), "validation samples of its own");
  image("tree/test/c/2.png", 70);
  EXPECT_CONTAINS(error("", Split::test), "class 'c'", "no training sample");
  std::filesystem::remove_all(tree_ + "/test/c");
  image("tree/test/b/3.png", 70, 5, 5);
  const auto mixed = open(source("?broken=skip"));
  for (int i = 0; i < 2; ++i) {  // asking again makes it no better
    EXPECT_CONTAINS(error_of([&] { mixed->open(Split::test); }), "3.png", "size=64");
  }
}

TEST_F(Images, NamesOfFilesCanBeginWithTheClass) {
  image("tree/cat_1.png", 10);
  image("tree/cat_2.png", 20);
  image("tree/dog_1.png", 30);
  EXPECT_EQ(open(source("?test=2-2"), Split::train)->classes(),
            (std::vector<std::string>{"cat", "dog"}));
  image("tree/stray.png", 40);
  EXPECT_CONTAINS(error(), "stray.png", "underscore");
}

TEST_F(Images, StatisticsAreThoseOfTheTrainingPart) {
  ten_of_each();
  const auto opened = open(source("?validation=0.25"));
  const auto train = opened->open(Split::train);
  const auto [mean, deviation] = measured(*train);
  for (std::size_t c = 0; c < 3; ++c) {
    EXPECT_NEAR(mean[c], 0, 1e-6);
    EXPECT_NEAR(deviation[c], 1, 1e-6);
  }
  EXPECT_EQ(opened->open(Split::test)->mean(), train->mean());
  // The first pixel of the first channel is darker.
  EXPECT_LT(train->mean()[0], train->mean()[1]);
}

TEST_F(Images, NeitherThreadsNorMemoryChangeAValue) {
  ten_of_each();
  const auto kept = open(source(), Split::train);
  const auto decoded = open(source("?keep=0"), Split::train);
  set_num_threads(1);
  const auto alone = open(source(), Split::train);
  set_num_threads(2);
  EXPECT_EQ(kept->mean(), decoded->mean());
  EXPECT_EQ(kept->stddev(), alone->stddev());
  for (std::int64_t i = 0; i < kept->size(); ++i) {
    EXPECT_EQ(sample_of(*kept, i), sample_of(*decoded, i));
    EXPECT_EQ(sample_of(*kept, i), sample_of(*alone, i));
  }
}

TEST_F(Images, OneOfAnotherSizeIsNamedUnlessAllGetOne) {
  image("tree/a/1.png", 10, 100, 100);
  image("tree/a/2.png", 20, 100, 100);
  image("tree/b/1.png", 30, 3024, 3024);
  EXPECT_CONTAINS(error("?test=2-2"), "b/1.png' is uint8 [3, 3024, 3024]", "a/1.png",
                  "[3, 100, 100]", "size=64");
  for (const std::string how : {"crop", "none"}) {
    const auto dataset = open(source("?test=2-2&size=20x24&resize=" + how), Split::train);
    EXPECT_EQ(dataset->size(), 2);
    EXPECT_EQ(dataset->sample_shape(), Shape({3, 20, 24}));
  }
}

TEST_F(Images, GreyAndColourAreMixedOnRequestOnly) {
  image("tree/a/1.png", 10, 4, 4, 3);
  image("tree/b/1.png", 10, 4, 4, 1);
  EXPECT_CONTAINS(error("?test=0"), "uint8 [1, 4, 4]", "channels=1 or 3");
  EXPECT_EQ(open(source("?test=0&channels=3"), Split::train)->sample_shape(), Shape({3, 4, 4}));
  const auto grey = open(source("?test=0&channels=1"), Split::train);
  EXPECT_EQ(grey->sample_shape(), Shape({1, 4, 4}));
  EXPECT_EQ(sample_of(*grey, 0).back(), sample_of(*grey, 1).back());
}

TEST_F(Images, BrokenFilesAreNamedAndFatalOrLeftOut) {
  ten_of_each();
  write_file(tree_ + "/cat/broken.png", "");
  write_file(tree_ + "/dog/text.jpg", "not an image");
  EXPECT_CONTAINS(error("?test=0"), "cat/broken.png", "0 bytes", "broken=skip");
  const auto dataset = open(source("?test=0&broken=skip"), Split::train);
  EXPECT_EQ(dataset->size(), 20);
  ASSERT_EQ(dataset->broken().size(), 2U);
  EXPECT_CONTAINS(dataset->broken()[0].name, "cat/broken.png");
  EXPECT_CONTAINS(dataset->broken()[1].reason, "neither a PNG nor a JPEG");
  // Those that can be read are where they would be without the broken ones.
  const auto mean = dataset->mean();
  std::filesystem::remove(tree_ + "/cat/broken.png");
  std::filesystem::remove(tree_ + "/dog/text.jpg");
  EXPECT_EQ(open(source("?test=0"), Split::train)->mean(), mean);
}

TEST_F(Images, WhereAllAreBrokenThatIsSaid) {
  std::filesystem::create_directories(tree_ + "/a");
  write_file(tree_ + "/a/1.png", "");
  EXPECT_CONTAINS(error("?test=0&broken=skip"), "none of the 1 train samples", "1.png");
}

TEST_F(Images, AFileThatVanishesIsNamedWhenItIsRead) {
  ten_of_each();
  const auto dataset = open(source("?keep=0"), Split::train);
  std::filesystem::remove(dataset->name(3));
  EXPECT_CONTAINS(error_of([&] { sample_of(*dataset, 3); }), dataset->name(3));
}

TEST_F(Images, WrongNamesAndOptionsAreRefused) {
  EXPECT_CONTAINS(error(), "no folder '" + tree_ + "'");
  ten_of_each();
  EXPECT_CONTAINS(error("?sise=64"), "no option 'sise'", "size, resize", "broken");
  EXPECT_CONTAINS(error("?size"), "'size' is no option", "KEY=VALUE");
  EXPECT_CONTAINS(error("?size=0"), "size is '0'");
  EXPECT_CONTAINS(error("?size=4x5x6"), "size is '4x5x6'", "2 numbers");
  EXPECT_CONTAINS(error("?size=4&size=5"), "given twice");
  EXPECT_CONTAINS(error("?resize=crop"), "without size");
  EXPECT_CONTAINS(error("?broken=maybe"), "fail, skip");
  EXPECT_CONTAINS(error("?validation=2"), "validation is '2'");
  EXPECT_CONTAINS(error("?validation=4-1"), "4-1");
  EXPECT_CONTAINS(error("?test=99-100", Split::test), "no test samples");
  EXPECT_CONTAINS(error_of([] { open("images"); }), "needs a path", "images:DIR");
  EXPECT_CONTAINS(error_of([] { open("nothing:here"); }), "no data set 'nothing'", "volumes");
  std::filesystem::create_directories(folder_ / "empty");
  EXPECT_CONTAINS(error_of([&] { open("images:" + (folder_ / "empty")); }), ".png, .jpg",
                  "folder per class");
}

TEST(Sources, AreAllInTheDocs) {
  const std::string docs = testing::read_file(FOVEA_SOURCE_DIR "/docs/data.md");
  for (const SourceDef& def : sources()) {
    EXPECT_CONTAINS(docs, std::string("`") + std::string(def.name));
    for (const SourceOption& option : def.options)
      EXPECT_CONTAINS(docs, std::string(option.name) + "=");
  }
}

TEST(Sources, MnistHasValidationToo) {
  const TempFolder folder;
  testing::write_small_mnist(folder.path(), 40);
  const auto opened = open("mnist:" + folder.path() + "?validation=0.25&seed=3");
  EXPECT_EQ(opened->open(Split::train)->size(), 30);
  EXPECT_EQ(opened->open(Split::validation)->size(), 10);
  EXPECT_EQ(opened->open(Split::test)->size(), 40);
  EXPECT_CONTAINS(error_of([&] { open("mnist:" + folder.path() + "?validation=0-4"); }),
                  "mnist: validation is '0-4', expected a share such as 0.1");
  for (const SourceDef& def : sources()) {
    if (def.name != "mnist") continue;
    EXPECT_EQ(def.options[0].values, "SHARE");
  }
}

#ifdef FOVEA_WITH_AUDIO

class Sounds : public ::testing::Test {
 protected:
  void sound(const std::string& name, std::size_t samples, std::uint32_t rate = 8000) {
    std::vector<std::int16_t> values;
    for (std::size_t i = 0; i < samples; ++i) values.push_back(static_cast<std::int16_t>(i % 100));
    write_file(folder_ / name, wav_of(values, rate));
  }
  std::shared_ptr<const Dataset> train(const std::string& options) {
    return open("audio:" + folder_.path() + "?test=9-9" + options, Split::train);
  }
  TempFolder folder_;
};

TEST_F(Sounds, WaveformsAndSpectrograms) {
  sound("0_a_1.wav", 9000);
  sound("1_a_1.wav", 700);
  const auto waves = train("");
  EXPECT_EQ(waves->sample_shape(), Shape({1, 8000}));
  EXPECT_EQ(waves->label(1), 1);
  // The short one lies in the middle of silence.
  const std::vector<float> wave = sample_of(*waves, 1);
  EXPECT_EQ(wave.front(), wave[3649]);
  EXPECT_EQ(wave.back(), wave.front());
  EXPECT_NE(wave[3651], wave.front());
  EXPECT_EQ(train("&seconds=0.5&features=mel&bands=32")->sample_shape(), Shape({1, 32, 51}));
  EXPECT_EQ(train("&features=mel&window=20&hop=20")->sample_shape(), Shape({1, 64, 51}));
  EXPECT_EQ(waves->background(), 0);
  EXPECT_EQ(train("&features=mel")->background(), std::log(1e-6));
  EXPECT_CONTAINS(error_of([&] { train("&bands=40"); }),
                  "audio: bands is given without features=mel, as in features=mel&bands=40");
}

TEST_F(Sounds, FilesOfAnotherRateAreBroken) {
  sound("0_a_1.wav", 900);
  sound("1_a_1.wav", 900, 16000);
  EXPECT_CONTAINS(error_of([&] { train(""); }), "1_a_1.wav", "16000", "expected 8000");
  EXPECT_EQ(train("&broken=skip")->broken().size(), 1U);
  EXPECT_EQ(train("&rate=16000&broken=skip")->sample_shape(), Shape({1, 16000}));
}

#endif

TEST(Volumes, FoldersOfNiftiAndNumPy) {
  const TempFolder folder;
  std::filesystem::create_directories(folder / "a");
  std::filesystem::create_directories(folder / "b");
  write_file(
      folder / "a/1.nii",
      testing::nifti_of({.sizes = {2, 2, 2}, .voxels = bytes_of<float>({1, 2, 3, 4, 5, 6, 7, 8})}));
  write_file(folder / "b/1.npy",
             npy_of("<f8", "(2, 2, 2)", bytes_of<double>({1, 2, 3, 4, 5, 6, 7, 8})));
  const std::string source = "volumes:" + folder.path() + "?test=0";
  const auto dataset = open(source, Split::train);
  EXPECT_EQ(dataset->sample_shape(), Shape({1, 2, 2, 2}));
  EXPECT_EQ(sample_of(*dataset, 0), sample_of(*dataset, 1));
  EXPECT_EQ(open(source + "&size=4", Split::train)->sample_shape(), Shape({1, 4, 4, 4}));
  write_file(folder / "b/2.npy", npy_of("<f4", "(2,)", bytes_of<float>({1, 2})));
  EXPECT_CONTAINS(error_of([&] { open(source, Split::train); }), "b/2.npy", "shape [2]");
  write_file(folder / "b/2.npy", npy_of("<f4", "(1, 1, 1)", bytes_of<float>({1})));
  EXPECT_CONTAINS(error_of([&] { open(source, Split::train); }), "[1, 1, 1, 1]", "size=32");
  write_file(folder / "b/2.npy",
             npy_of("<f4", "(2, 2, 2)", bytes_of<float>({1, 2, 3, 4, 5, 6, 7, NAN})));
  EXPECT_CONTAINS(error_of([&] { open(source, Split::train); }), "b/2.npy", "no finite numbers");
}

#ifdef FOVEA_WITH_ZIP

std::string archive(const std::string& images, const std::string& labels, const std::string& part) {
  return testing::zip_of({{part + "_images.npy", images}, {part + "_labels.npy", labels}}, true);
}

TEST(Volumes, ArchivesHaveSplitsOfTheirOwn) {
  const TempFolder folder;
  const std::string path = folder / "a.npz";
  const std::string images = npy_of("|u1", "(2, 2, 2, 2)", "abcdefghijklmnop");
  const std::string labels = npy_of("|u1", "(2, 1)", std::string("\0\1", 2));
  write_file(path, testing::zip_of({{"train_images.npy", images},
                                    {"train_labels.npy", labels},
                                    {"val_images.npy", images},
                                    {"val_labels.npy", labels}}));
  const auto opened = open("volumes:" + path);
  const auto train = opened->open(Split::train);
  EXPECT_EQ(train->sample_shape(), Shape({1, 2, 2, 2}));
  EXPECT_EQ(train->classes(), (std::vector<std::string>{"0", "1"}));
  EXPECT_EQ(train->label(1), 1);
  EXPECT_LT(sample_of(*train, 0)[7], sample_of(*train, 1)[0]);  // h before i
  EXPECT_EQ(opened->open(Split::validation)->size(), 2);
  EXPECT_FALSE(open("volumes:" + path + "?test=0")->has(Split::test));
}

TEST(Volumes, ContradictoryArchivesAreRefused) {
  const TempFolder folder;
  const std::string path = folder / "a.npz";
  const std::string images = npy_of("|u1", "(2, 2, 2)", "abcdefgh");
  const auto error = [&](const std::string& file) {
    write_file(path, file);
    return error_of([&] { open("volumes:" + path + "?test=0", Split::train); });
  };
  EXPECT_CONTAINS(error(archive(images, npy_of("|u1", "(1,)", "\1"), "train")), path,
                  "1 for 2 samples");
  EXPECT_CONTAINS(error(archive(images, npy_of("<f4", "(2,)", "12345678"), "train")),
                  "whole numbers");
  EXPECT_CONTAINS(error(archive(images, npy_of("|i1", "(2,)", "\1\xff"), "train")), "label -1");
  EXPECT_CONTAINS(error(archive(images, npy_of("|u1", "(2,)", "\1\1"), "test")),
                  "no array 'train_labels'");
}

#endif

TEST(SeriesSource, PairsOfTsFiles) {
  const TempFolder folder;
  const std::string head = "@classLabel true a b\n@data\n";
  write_file(folder / "X_TRAIN.ts", head + "1,2:3,4:a\n5,6:7,8:b\n");
  write_file(folder / "X_TEST.ts", head + "1,2:3,4:b\n");
  for (const std::string& path : {folder.path(), folder / "X_TRAIN.ts", folder / "X_TEST.ts"}) {
    const auto opened = open("series:" + path);
    EXPECT_EQ(opened->open(Split::train)->size(), 2);
    EXPECT_EQ(opened->open(Split::test)->label(0), 1);
    EXPECT_EQ(opened->open(Split::train)->sample_shape(), Shape({2, 2}));
  }
  EXPECT_EQ(open("series:" + folder.path() + "?steps=3", Split::test)->sample_shape(),
            Shape({2, 3}));
  write_file(folder / "X_TRAIN.ts", head + "1,2:a\n1,?:b\n");
  write_file(folder / "X_TEST.ts", head + "1,2,3:b\n");
  EXPECT_CONTAINS(error_of([&] { open("series:" + folder.path(), Split::train); }), "sample 1",
                  "missing");
  EXPECT_CONTAINS(error_of([&] { open("series:" + folder.path() + "?broken=skip", Split::test); }),
                  "[1, 3]", "[1, 2]", "steps=N");
}

TEST(SeriesSource, TablesWithASamplePerRow) {
  const TempFolder folder;
  write_file(folder / "t.csv", "u,v,w,x,kind\n1,2,3,4,up\n5,6,7,8,down\n1,2,3,5,up\n");
  const std::string source = "series:" + (folder / "t.csv") + "?test=0";
  const auto dataset = open(source, Split::train);
  EXPECT_EQ(dataset->classes(), (std::vector<std::string>{"down", "up"}));
  EXPECT_EQ(dataset->sample_shape(), Shape({1, 4}));
  EXPECT_EQ(dataset->label(1), 0);
  EXPECT_EQ(open(source + "&channels=2&label=kind", Split::train)->sample_shape(), Shape({2, 2}));
  // Then "up" and "down" are values, and no numbers.
  EXPECT_CONTAINS(error_of([&] { open(source + "&label=u", Split::train); }),
                  "t.csv', line 2, column 5: 'up' is no number");
  write_file(folder / "t.csv", "u,v,kind\n1,2,up\n\n5,many,down\n?,3,up\n4,5,down\n");
  const auto some = open(source + "&broken=skip", Split::train);
  EXPECT_EQ(some->size(), 2);
  ASSERT_EQ(some->broken().size(), 2U);
  EXPECT_CONTAINS(some->broken()[0].reason, "line 4, column 2: 'many' is no number");
  EXPECT_CONTAINS(some->broken()[1].reason, "sample 2", "missing");
  write_file(folder / "t.csv", "u,v,w,x,kind\n1,2,3,4,up\n5,6,7,8,down\n1,2,3,5,up\n");
  EXPECT_CONTAINS(error_of([&] { open(source + "&label=z", Split::train); }), "label is 'z'");
  EXPECT_CONTAINS(error_of([&] { open(source + "&channels=3", Split::train); }),
                  "4 values per row");
}

TEST(SeriesSource, FoldersOfTables) {
  const TempFolder folder;
  for (const std::string one : {"a", "b"}) {
    std::filesystem::create_directories(folder / one);
    write_file(folder / (one + "/1.csv"), "x,y\n1,10\n2,20\n3,30\n");
  }
  const auto dataset = open("series:" + folder.path() + "?test=0", Split::train);
  EXPECT_EQ(dataset->sample_shape(), Shape({2, 3}));
  EXPECT_NEAR(dataset->mean()[1], 20, 1e-12);
}

TEST(Cifar, RecordsOfPlanes) {
  const TempFolder folder;
  std::string record(1, '\3');
  for (const char plane : {'\12', '\24', '\36'}) record += std::string(1024, plane);
  for (int i = 1; i <= 5; ++i)
    write_file(folder / ("data_batch_" + std::to_string(i) + ".bin"), record + record);
  record[1] = '\0';
  write_file(folder / "test_batch.bin", record);
  const auto opened = open("cifar10:" + folder.path());
  const auto train = opened->open(Split::train);
  EXPECT_EQ(train->size(), 10);
  EXPECT_EQ(train->sample_shape(), Shape({3, 32, 32}));
  EXPECT_EQ(train->label(9), 3);
  EXPECT_EQ(train->classes().size(), 10U);
  EXPECT_NEAR(train->mean()[2], 30 / 255.0, 1e-12);
  EXPECT_EQ(opened->open(Split::test)->size(), 1);
  write_file(folder / "batches.meta.txt", "one\ntwo\n");
  EXPECT_CONTAINS(error_of([&] { open("cifar10:" + folder.path()); }), "names 2 classes");
  std::filesystem::remove(folder / "batches.meta.txt");
  write_file(folder / "test_batch.bin", record + "x");
  EXPECT_CONTAINS(error_of([&] { open("cifar10:" + folder.path(), Split::test); }),
                  "test_batch.bin", "3074 bytes");
  record[0] = '\13';
  write_file(folder / "test_batch.bin", record);
  EXPECT_CONTAINS(error_of([&] { open("cifar10:" + folder.path(), Split::test); }), "label 11");
  EXPECT_CONTAINS(error_of([&] { open("cifar100:" + folder.path(), Split::train); }), "train.bin");
}

// ---- real data, where they are ----

class RealData : public ::testing::Test {
 protected:
  std::string place(const std::string& name) { return testing::shared_folder() + "/data/" + name; }
};

#define SKIP_WITHOUT(path) \
  if (!std::filesystem::exists(path)) GTEST_SKIP() << "no folder " << (path)

TEST_F(RealData, BasicMotions) {
  const std::string folder = place("basicmotions");
  SKIP_WITHOUT(folder);
  const auto opened = open("series:" + folder);
  EXPECT_EQ(opened->open(Split::train)->size(), 40);
  EXPECT_EQ(opened->open(Split::test)->size(), 40);
  EXPECT_EQ(opened->open(Split::train)->sample_shape(), Shape({6, 100}));
  EXPECT_EQ(opened->open(Split::train)->classes()[3], "Badminton");
}

#ifdef FOVEA_WITH_ZIP
TEST_F(RealData, AdrenalMnist) {
  const std::string path = place("adrenal3d/adrenalmnist3d.npz");
  SKIP_WITHOUT(path);
  const auto opened = open("volumes:" + path);
  EXPECT_EQ(opened->open(Split::train)->size(), 1188);
  EXPECT_EQ(opened->open(Split::validation)->size(), 98);
  EXPECT_EQ(opened->open(Split::test)->size(), 298);
  EXPECT_EQ(opened->open(Split::train)->sample_shape(), Shape({1, 28, 28, 28}));
}
#endif

#ifdef FOVEA_WITH_AUDIO
TEST_F(RealData, SpokenDigits) {
  const std::string folder = place("fsdd");
  SKIP_WITHOUT(folder);
  const auto opened = open("audio:" + folder + "?test=0-4");
  const auto test = opened->open(Split::test);
  EXPECT_EQ(test->size(), 300);
  EXPECT_EQ(opened->open(Split::train)->size(), 2700);
  EXPECT_EQ(test->classes().size(), 10U);
  EXPECT_EQ(test->sample_shape(), Shape({1, 8000}));
}
#endif

}  // namespace
}  // namespace fovea::data
