// Networks in files: what was saved comes back, and what does not fit is reported by name.
#include "fovea/save.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <fstream>

#include "fovea/memory.h"
#include "fovea/models.h"
#include "fovea/random.h"
#include "support/errors.h"
#include "support/files.h"

namespace fovea {
namespace {

using testing::error_of;
using testing::read_file;
using testing::TempFolder;

// A network with a parameter, a buffer and a child.
class Small : public nn::Module {
 public:
  explicit Small(std::uint64_t seed, std::int64_t width = 4)
      : generator_{.seed = seed}, fc_(3, width, generator_) {
    scale_ = normal({2, 1}, 0, 1, generator_);
    running_ = normal({width}, 0, 1, generator_);
    add_parameter("scale", scale_);
    add_buffer("running", running_);
    add_module("fc", fc_);
  }
  std::string describe() const override { return "Small()"; }

 protected:
  Tensor forward(const Tensor& input) override { return fc_(input); }

 private:
  Generator generator_;
  Tensor scale_;
  Tensor running_;
  nn::Linear fc_;
};

std::vector<double> all_values(const nn::Module& module) {
  std::vector<double> values;
  for (const auto& list : {module.named_parameters(), module.named_buffers()}) {
    for (const auto& [name, tensor] : list) {
      for (const double value : tensor.to_vector<double>()) values.push_back(value);
    }
  }
  return values;
}

nn::Model described_lenet() {
  nn::Model model = models::lenet5({.classes = 3, .seed = 5});
  model.info.mean = {0.1};
  model.info.stddev = {1.0 / 3};
  model.info.classes = {"one", "zwei \"2\"", "three"};
  return model;
}

class Save : public ::testing::Test {
 protected:
  // Saves a described network with some metadata changed, and gives the error of loading it.
  std::string error_with(const std::string& key, const std::string& value) {
    save(described_lenet(), path_);
    TensorFile file = read_safetensors(path_);
    file.metadata[key] = value;
    file.metadata.erase("checksum");
    write_safetensors(path_, file);
    std::string message = error_of([&] { load(path_); });
    EXPECT_CONTAINS(message, path_);
    return message;
  }
  TempFolder folder_;
  std::string path_ = folder_ / "model.fovea";
};

TEST_F(Save, ModelsComeBackWithWeightsAndDescription) {
  const nn::Model model = described_lenet();
  save(model, path_);
  const nn::Model back = load(path_);
  EXPECT_EQ(back.info.architecture, "lenet5");
  EXPECT_EQ(back.info.options, model.info.options);
  EXPECT_EQ(back.info.input, model.info.input);
  EXPECT_EQ(back.info.mean, model.info.mean);
  EXPECT_EQ(back.info.stddev, model.info.stddev);
  EXPECT_EQ(back.info.classes, model.info.classes);
  EXPECT_EQ(all_values(back.module()), all_values(model.module()));
}

TEST_F(Save, EveryNetworkOfTheListComesBack) {
  for (const auto& def : models::list()) {
    nn::Model model = def.build({.classes = 4, .seed = 9, .width = 1.0 / 16});
    for (Tensor parameter : model.parameters()) parameter.fill(0.25);
    save(model, path_);
    EXPECT_EQ(all_values(load(path_).module()), all_values(model.module())) << def.name;
  }
}

TEST_F(Save, DoublePrecisionIsKept) {
  nn::Model model = described_lenet();
  model.module().to(DType::float64);
  for (Tensor parameter : model.parameters()) parameter.fill(0.1);
  save(model, path_);
  const nn::Model back = load(path_);
  EXPECT_EQ(back.parameters()[0].dtype(), DType::float64);
  EXPECT_EQ(all_values(back.module()), all_values(model.module()));
}

TEST_F(Save, SavingTwiceGivesTheSameBytes) {
  save(described_lenet(), path_);
  const std::string first = read_file(path_);
  save(load(path_), path_);
  EXPECT_EQ(read_file(path_), first);
}

TEST_F(Save, WeightsAndBuffersLoadByName) {
  save(Small(1), path_);
  Small other(2);
  EXPECT_NE(all_values(other), all_values(Small(1)));
  EXPECT_TRUE(load_weights(other, path_).complete());
  EXPECT_EQ(all_values(other), all_values(Small(1)));
}

TEST_F(Save, LoadingConvertsToTheTypeOfTheModule) {
  save(Small(1), path_);
  Small other(2);
  other.to(DType::float64);
  load_weights(other, path_);
  EXPECT_EQ(other.parameters()[0].dtype(), DType::float64);
  EXPECT_EQ(all_values(other), all_values(Small(1)));
}

TEST_F(Save, StrictLoadingChangesNothingUnlessAllFits) {
  TensorFile file;
  file.tensors["scale"] = Tensor::zeros({2, 1});
  file.tensors["running"] = Tensor::zeros({4});
  file.tensors["fc.weight"] = Tensor::zeros({5, 3});
  file.tensors["extra"] = Tensor::zeros({1});
  write_safetensors(path_, file);
  Small module(1);
  const auto before = all_values(module);
  const std::string message = error_of([&] { load_weights(module, path_); });
  EXPECT_CONTAINS(message, path_);
  EXPECT_CONTAINS(message, "Missing from the file: fc.bias.");
  EXPECT_CONTAINS(message, "Unexpected in the file: extra.");
  EXPECT_CONTAINS(message, "fc.weight: file [5, 3], network [4, 3]");
  EXPECT_EQ(all_values(module), before);
}

TEST_F(Save, CountersThatAFileLacksAreNotCountedAsLoaded) {
  TensorFile file;
  file.tensors["other"] = Tensor::zeros({1});
  write_safetensors(path_, file);
  nn::BatchNorm2d norm(3);
  const LoadReport report = load_weights(norm, path_, {.strict = false});
  EXPECT_EQ(report.fitting, 0U);
  EXPECT_EQ(report.missing.size(), 4U);  // the counter may be missing
}

TEST(LoadReport, NamesTheFirstOfLongLists) {
  const LoadReport report{.missing = {"a", "b", "c", "d", "e", "f", "g"},
                          .unexpected = {"1", "2", "3", "4", "5", "6"},
                          .mis_shaped = {}};
  EXPECT_EQ(report.to_string(),
            "Missing from the file: a, b, c, d, e and 2 more. "
            "Unexpected in the file: 1, 2, 3, 4, 5, 6.");
}

TEST_F(Save, LenientLoadingTakesWhatFitsAndReports) {
  save(Small(1, 6), path_);
  Small module(2, 4);
  const LoadReport report = load_weights(module, path_, {.strict = false});
  EXPECT_TRUE(report.missing.empty());
  EXPECT_TRUE(report.unexpected.empty());
  EXPECT_EQ(report.mis_shaped.size(), 3U);
  const auto scale = [](const nn::Module& m) {
    return m.named_parameters()[0].tensor.to_vector<double>();
  };
  EXPECT_EQ(scale(module), scale(Small(1, 6)));
}

TEST_F(Save, WeightsAloneAreNotAModel) {
  save(Small(1), path_);
  const std::string message = error_of([&] { load(path_); });
  EXPECT_CONTAINS(message, "weights only");
  EXPECT_CONTAINS(message, "load_weights");
}

TEST_F(Save, NetworksOfOnesOwnLoadAsWeights) {
  nn::Model model(std::make_shared<Small>(1), nn::ModelInfo{});
  save(model, path_);
  EXPECT_CONTAINS(error_of([&] { load(path_); }), "load_weights");
  Small other(2);
  EXPECT_TRUE(load_weights(other, path_).complete());
}

TEST_F(Save, DamagedMetadataIsRefused) {
  EXPECT_CONTAINS(error_with("format", "pt"), "weights only");
  EXPECT_CONTAINS(error_with("format_version", "2"), "version 2");
  EXPECT_CONTAINS(error_with("architecture", "lenet6"), "lenet6");
  EXPECT_CONTAINS(error_with("options", "{"), "damaged 'options'");
  EXPECT_CONTAINS(error_with("options", R"({"classes": 3})"), "damaged 'options'");
  EXPECT_CONTAINS(error_with("options", R"({"classes": "3x"})"), "'3x', expected a number");
  EXPECT_CONTAINS(error_with("options", R"({"classes": "-1"})"), "-1 classes");
  EXPECT_CONTAINS(error_with("options", R"({"classes": "1000000000000"})"),
                  "1000000000000 classes");
  EXPECT_CONTAINS(error_with("options", R"({"depth": "3"})"), "'depth'");
  EXPECT_CONTAINS(error_with("options", R"({"classes": "4"})"), "3 classes, but has 4");
  EXPECT_CONTAINS(error_with("input", "[1, 28]"), "3 axes", "input=1x28");
  EXPECT_CONTAINS(error_with("input", "[1, 32, 28]"), "fc1.weight");
  EXPECT_CONTAINS(error_with("options", R"({"classes": "3", "width": "nan"})"), "width");
  EXPECT_CONTAINS(error_with("input", "[]"), "0 axes");
  EXPECT_CONTAINS(error_with("input", "[1,1,1,1,1,1,1,1,1]"), "9 axes");
  EXPECT_CONTAINS(error_with("input", "[1, 28, 4.6e19]"), "no list of sizes");
  EXPECT_CONTAINS(error_with("input", "[1, 28, -28]"), "no list of sizes");
  EXPECT_CONTAINS(error_with("input", "[1, 28, 18446744073709551615]"), "no list of sizes");
  EXPECT_CONTAINS(error_with("input", "28"), "no list of sizes");
  EXPECT_CONTAINS(error_with("mean", "[0.1, 0.2]"), "2 means");
  EXPECT_CONTAINS(error_with("stddev", "[0]"), "deviation 0");
  EXPECT_CONTAINS(error_with("mean", "[null]"), "damaged 'mean'");
  EXPECT_CONTAINS(error_with("classes", R"(["a"])"), "names 1 classes");
  EXPECT_CONTAINS(error_with("classes", "[[[[]]]]"), "damaged 'classes'");
  EXPECT_CONTAINS(error_with("mean", "[\x7f]"), R"(\x7f)");
}

TEST_F(Save, EditedMetadataIsNoticed) {
  save(described_lenet(), path_);
  TensorFile file = read_safetensors(path_);
  file.metadata["mean"] = "[0.2]";
  write_safetensors(path_, file);
  EXPECT_CONTAINS(error_of([&] { load(path_); }), path_, "checksum");
  file.metadata.erase("checksum");
  write_safetensors(path_, file);
  EXPECT_EQ(load(path_).info.mean, std::vector<double>{0.2});
}

// What the file tells of itself, and all weights.
void expect_same_model(const nn::Model& model, const nn::Model& expected) {
  EXPECT_EQ(model.info.architecture, expected.info.architecture);
  EXPECT_EQ(model.info.options, expected.info.options);
  EXPECT_EQ(model.info.input, expected.info.input);
  EXPECT_EQ(model.info.mean, expected.info.mean);
  EXPECT_EQ(model.info.stddev, expected.info.stddev);
  EXPECT_EQ(model.info.classes, expected.info.classes);
  EXPECT_EQ(all_values(model.module()), all_values(expected.module()));
}

TEST_F(Save, EachFlippedByteOfTheHeaderIsRefusedOrLoadsTheSame) {
  const nn::Model model = described_lenet();
  save(model, path_);
  const std::string bytes = read_file(path_);
  std::uint64_t length = 0;
  std::memcpy(&length, bytes.data(), sizeof(length));
  std::size_t refused = 0;
  for (std::size_t i = 0; i < 8 + length; ++i) {
    for (const int flip : {0x01, 0x20, 0xff}) {
      // In place: writing the whole file anew for each byte would take most of the time.
      std::fstream file(path_, std::ios::binary | std::ios::in | std::ios::out);
      const auto put = [&](char byte) {
        file.seekp(static_cast<std::streamoff>(i)).put(byte).flush();
      };
      put(static_cast<char>(bytes[i] ^ flip));
      try {
        expect_same_model(load(path_), model);
      } catch (const Error& caught) {
        EXPECT_CONTAINS(caught.what(), path_);
        ++refused;
      }
      put(bytes[i]);
    }
  }
  EXPECT_GT(refused, 2 * length);
  expect_same_model(load(path_), model);
}

TEST_F(Save, EachTruncationIsRefused) {
  save(described_lenet(), path_);
  const std::string bytes = read_file(path_);
  for (std::size_t length = 0; length <= 4096; ++length) {
    testing::write_file(path_, bytes.substr(0, length));
    EXPECT_CONTAINS(error_of([&] { load(path_); }), path_);
  }
}

TEST_F(Save, LyingClassCountsAreRefusedBeforeMemoryIsReserved) {
  save(described_lenet(), path_);
  TensorFile file = read_safetensors(path_);
  file.metadata["options"] = R"({"classes": "1000000"})";
  file.metadata["classes"] = "[]";
  file.metadata.erase("checksum");
  write_safetensors(path_, file);
  file = {};
  reset_high_water();
  const std::size_t before = memory_stats().high_water;
  EXPECT_CONTAINS(error_of([&] { load(path_); }),
                  "fc3.weight: file [3, 84], network [1000000, 84]");
  // What was read of the file itself, and not 336 MB for a layer.
  EXPECT_LT(memory_stats().high_water, before + 2 * read_file(path_).size());
}

TEST_F(Save, WeightsThatDoNotFitTheArchitectureAreRefused) {
  save(described_lenet(), path_);
  TensorFile file = read_safetensors(path_);
  file.tensors.erase("fc1.bias");
  write_safetensors(path_, file);
  EXPECT_CONTAINS(error_of([&] { load(path_); }), "Missing from the file: fc1.bias.");
}

TEST_F(Save, NamesFromAFileCannotDriveATerminal) {
  write_safetensors(path_, {.tensors = {{"\x1b[2J", Tensor::zeros({1})}}, .metadata = {}});
  Small module(1);
  EXPECT_CONTAINS(error_of([&] { load_weights(module, path_); }), R"(in the file: \x1b[2J)");
  EXPECT_CONTAINS(error_with("architecture", "a\nb"), R"('a\x0ab')");
}

TEST_F(Save, RequireWritableAsksAndLeavesNoTrace) {
  require_writable(path_);
  EXPECT_EQ(folder_.entries(), 0);
  EXPECT_CONTAINS(error_of([] { require_writable("/dev/null"); }), "not a regular file");
  EXPECT_CONTAINS(error_of([&] { require_writable(folder_ / "none/model"); }), "none/model");
}

TEST_F(Save, AnEmptyModelIsAnError) {
  EXPECT_CONTAINS(error_of([&] { save(nn::Model{}, path_); }), "empty");
  EXPECT_CONTAINS(error_of([] { nn::Model{}(Tensor::zeros({1})); }), "empty");
  EXPECT_EQ(folder_.entries(), 0);
}

TEST_F(Save, AFailedSaveLeavesTheOldFile) {
  save(described_lenet(), path_);
  const std::string before = read_file(path_);
  nn::Model model = described_lenet();
  model.info.classes[0] = "\xff";
  EXPECT_CONTAINS(error_of([&] { save(model, path_); }), "UTF-8");
  EXPECT_EQ(read_file(path_), before);
  EXPECT_CONTAINS(error_of([&] { save(model.module(), folder_ / "none/model"); }), "none/model");
  EXPECT_EQ(folder_.entries(), 1);
}

}  // namespace
}  // namespace fovea
