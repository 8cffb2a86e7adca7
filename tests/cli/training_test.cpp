// fovea train with its settings, fovea evaluate and fovea data preview, as their users meet them.
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <string>
#include <vector>

#include "fovea/data.h"
#include "fovea/models.h"
#include "fovea/save.h"
#include "support/errors.h"
#include "support/files.h"
#include "support/idx.h"
#include "support/program.h"
#include "support/tensors.h"

namespace fovea {
namespace {

using testing::expect_identical;
using testing::expect_keys;
using testing::Json;
using testing::lines_of;
using testing::read_file;
using testing::Result;
using testing::run;
using testing::TempFolder;
using testing::write_file;

class TrainProgram : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    data_folder = new TempFolder;
    testing::write_squares(data_folder->path(), 160);
  }
  static void TearDownTestSuite() { delete data_folder; }

  static std::string data() { return "'mnist:" + data_folder->path() + "'"; }
  std::string in(const std::string& name) const { return "'" + (folder_ / name) + "'"; }
  // Trains lenet5; the lines of its --json.
  std::vector<Json> train(const std::string& options, const std::string& out) const {
    const Result result =
        run("train lenet5 --json --data " + data() + " " + options + " --out " + in(out));
    EXPECT_EQ(result.code, 0) << result.err;
    return lines_of(result.out);
  }
  std::string refusal(const std::string& options, int code) const {
    const Result result =
        run("train lenet5 --data " + data() + " " + options + " --out " + in("refused"));
    EXPECT_EQ(result.code, code) << options;
    EXPECT_EQ(result.out, "") << options;
    EXPECT_FALSE(std::filesystem::exists(folder_ / "refused"));
    return result.err;
  }

  static inline TempFolder* data_folder = nullptr;
  TempFolder folder_;
};

TEST_F(TrainProgram, ARunFolderTellsAllOfItsTraining) {
  const Result result = run("train lenet5 --epochs 3 --batch 16 --validation 0.2 --data " + data() +
                            " --run " + in("run"));
  ASSERT_EQ(result.code, 0) << result.err;
  EXPECT_CONTAINS(result.out, "130 training, 30 validation and 160 test samples", "validation ",
                  "\ntest ");
  const Json config = Json::parse(read_file(folder_ / "run/config.json"));
  EXPECT_EQ(config["settings"]["network"], "lenet5");
  EXPECT_EQ(config["settings"]["validation"], 0.2);
  EXPECT_EQ(config["data"]["validation samples"], 30) << "a fifth of 16 of each class";
  const std::vector<Json> log = lines_of(read_file(folder_ / "run/log.jsonl"));
  ASSERT_EQ(log.size(), 3U);
  expect_keys(log[0], {"epoch", "validation_accuracy", "validation_loss"});
  EXPECT_CONTAINS(read_file(folder_ / "run/curves.svg"), "<svg", "polyline", ">train</text>",
                  ">validation</text>", " %</text>", "</svg>");
  EXPECT_CONTAINS(read_file(folder_ / "run/confusion.svg"), "<svg", "<rect", "</svg>");
  double best = 0;
  for (const Json& epoch : log) best = std::max(best, epoch["validation_accuracy"].get<double>());
  // The best network is that of the first epoch with the best accuracy.
  const nn::Model kept = load(folder_ / "run/best.fovea");
  EXPECT_GT(best, 0.1);
  EXPECT_EQ(kept.info.classes.size(), 10U);
  EXPECT_EQ(run("evaluate " + in("run/best.fovea") + " --data " + data()).code, 0);
}

TEST_F(TrainProgram, ValidationMayBeAPartOfTheSource) {
  const std::string common = "train lenet5 --epochs 1 --batch 16 --log " + in("log") + " --out ";
  const Result option = run(common + in("a") + " --validation 0.2 --data " + data());
  const Result source =
      run(common + in("b") + " --data 'mnist:" + data_folder->path() + "?validation=0.2'");
  ASSERT_EQ(option.code + source.code, 0) << option.err << source.err;
  EXPECT_TRUE(read_file(folder_ / "a") == read_file(folder_ / "b"));
  EXPECT_CONTAINS(source.out, "130 training, 30 validation and 160 test samples");
}

TEST_F(TrainProgram, StopsEarlyAndKeepsTheBest) {
  // At such a rate nothing changes, so no epoch is better than the first.
  const Result result =
      run("train lenet5 --epochs 9 --lr 1e-30 --validation 0.2 --early-stopping 2 --data " +
          data() + " --run " + in("run"));
  ASSERT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(lines_of(read_file(folder_ / "run/log.jsonl")).size(), 3U);
  EXPECT_CONTAINS(result.out, "that of epoch 1 in 2 epochs");
  EXPECT_TRUE(read_file(folder_ / "run/model.fovea") == read_file(folder_ / "run/best.fovea"));
  const Result again = run("train --resume --run " + in("run"));
  EXPECT_EQ(again.code, 0) << again.err;
  EXPECT_CONTAINS(again.out, "goes on from its end");
  EXPECT_EQ(lines_of(read_file(folder_ / "run/log.jsonl")).size(), 3U);
}

// Two classes of noise, so that accuracy, loss and AUC go ways of their own.
std::string write_noise(const std::string& folder) {
  unsigned noise = 1;
  for (const std::string name : {"no", "yes"}) {
    std::filesystem::create_directories(folder + "/" + name);
    for (int i = 0; i < 24; ++i) {
      Tensor image = Tensor::empty({1, 28, 28}, DType::uint8);
      for (std::int64_t cell = 0; cell < image.numel(); ++cell) {
        noise = noise * 1664525 + 1013904223;
        image.mutable_data<std::uint8_t>()[cell] = static_cast<std::uint8_t>(noise >> 24);
      }
      data::write_png(folder + "/" + name + "/" + std::to_string(i) + ".png", image);
    }
  }
  return " --data 'images:" + folder + "?test=0.25&validation=0.5'";
}

TEST_F(TrainProgram, TheBestEpochIsThatOfTheMeasureAskedFor) {
  const std::string data = write_noise(folder_ / "noise");
  for (const std::string measure : {"auc", "loss", "accuracy"}) {
    const std::string run_folder = " --run " + in(measure);
    const Result result =
        run("train lenet5 --epochs 6 --batch 4 --select " + measure + data + run_folder);
    ASSERT_EQ(result.code, 0) << result.err;
    EXPECT_CONTAINS(result.out, "AUC 0.", "AUC 0.");
    const std::vector<Json> log = lines_of(read_file(folder_ / (measure + "/log.jsonl")));
    ASSERT_EQ(log.size(), 6U);
    const std::string key = "validation_" + measure;
    std::size_t best = 0;
    for (std::size_t i = 1; i < log.size(); ++i) {
      const double gain = log[i][key].get<double>() - log[best][key].get<double>();
      if (measure == "loss" ? gain < 0 : gain > 0) best = i;
    }
    EXPECT_CONTAINS(result.out, "on the validation samples: that of epoch " +
                                    std::to_string(log[best]["epoch"].get<int>()) + ",");
    const Json kept =
        lines_of(
            run("evaluate --json --split validation " + in(measure + "/best.fovea") + data).out)
            .at(0);
    EXPECT_NEAR(kept[measure].get<double>(), log[best][key].get<double>(), 1e-6) << measure;
    EXPECT_CONTAINS(read_file(folder_ / (measure + "/curves.svg")), ">AUC, validation</text>");
    const Result again = run("train --resume" + run_folder);
    EXPECT_CONTAINS(again.out, result.out.substr(result.out.find("\nbest "), 50));
  }
  const Result other = run("train --resume --select loss --run " + in("auc"));
  EXPECT_EQ(other.code, 2);
  EXPECT_CONTAINS(other.err, "--select is loss", "started with auc");
}

TEST_F(TrainProgram, WhatCannotBeMeasuredSelectsNothing) {
  EXPECT_CONTAINS(refusal("--select loss", 2), "--select needs --validation");
  EXPECT_CONTAINS(refusal("--select auc --validation 0.2", 2), "two classes", "10");
  EXPECT_CONTAINS(refusal("--select iou --validation 0.2", 2), "masks", "labels");
  EXPECT_CONTAINS(refusal("--select f1 --validation 0.2", 2), "f1", "auc", "iou");
}

TEST_F(TrainProgram, ARecipeIsTheSameAsItsOptions) {
  write_file(folder_ / "recipe.txt",
             "# all of it\n\nnetwork = lenet5\nepochs = 1\nbatch=16   # small\n"
             "optimizer = sgd\nnesterov = true\nlr = 0.05\nweight-decay = 0.01\n"
             "spare-biases = true\nschedule = step\nmilestones = 0.3,0.6\nwarmup = 0.1\r\n"
             "augment = crop=1,erase\nlabel-smoothing = 0.1\nclass-weights = balanced\n"
             "lr-scale = fc3=2,conv*=0.5\nseed = 9\n");
  const Result recipe = run("train --recipe " + in("recipe.txt") + " --seed 4 --data " + data() +
                            " --out " + in("a.fovea"));
  ASSERT_EQ(recipe.code, 0) << recipe.err;
  train(
      "--epochs 1 --batch 16 --optimizer sgd --nesterov --lr 0.05 --weight-decay 0.01 "
      "--spare-biases --schedule step --milestones 0.3,0.6 --warmup 0.1 --augment crop=1,erase "
      "--label-smoothing 0.1 --class-weights balanced --lr-scale 'fc3=2,conv*=0.5' --seed 4",
      "b.fovea");
  EXPECT_TRUE(read_file(folder_ / "a.fovea") == read_file(folder_ / "b.fovea"));
}

TEST_F(TrainProgram, EveryRecipeIsUnderstood) {
  int recipes = 0;
  for (const auto& file : std::filesystem::directory_iterator(FOVEA_SOURCE_DIR "/recipes")) {
    if (file.path().extension() != ".txt") continue;
    // What is understood goes on to look for the data.
    const Result result = run("train --recipe '" + file.path().string() +
                              "' --data 'mnist:" + (folder_ / "none") + "' --out " + in("out"));
    EXPECT_EQ(result.code, 1) << file.path();
    EXPECT_CONTAINS(result.err, "there is no folder");
    ++recipes;
  }
  EXPECT_GE(recipes, 9);
}

TEST_F(TrainProgram, ErrorsInARecipeNameFileAndLine) {
  const auto error = [&](const std::string& text) {
    write_file(folder_ / "recipe.txt", text);
    return refusal("--recipe " + in("recipe.txt"), 2);
  };
  EXPECT_CONTAINS(error("epochs = 1\nepoch = 2\n"), "recipe.txt', line 2",
                  "there is no setting 'epoch'", "label-smoothing");
  EXPECT_CONTAINS(error("\n\nepochs = none"), "line 3", "--epochs", "whole number", "'none'");
  EXPECT_CONTAINS(error("epochs = 1\nepochs = 1\n"), "line 2", "epochs is set twice");
  EXPECT_CONTAINS(error("epochs 1\n"), "line 1", "NAME = VALUE");
  EXPECT_CONTAINS(error("epochs =\n"), "line 1", "has no value");
  EXPECT_CONTAINS(error("augment = flip,magic\n"), "line 1", "magic", "mixup");
  EXPECT_CONTAINS(error("run = x\n"), "line 1", "there is no setting 'run'");
  EXPECT_CONTAINS(error(std::string(100000, 'x')), "line 1", "too long");
  EXPECT_CONTAINS(refusal("--recipe " + in("none.txt"), 1), "none.txt", "No such file");
}

TEST_F(TrainProgram, WeightsAreLoadedByNameAndFrozenOnesStay) {
  train("--epochs 1 --seed 2", "base.fovea");
  const std::string tuned =
      "--epochs 1 --seed 3 --freeze 'conv*,fc1' --weights " + in("base.fovea");
  const Result result =
      run("train lenet5 --data " + data() + " " + tuned + " --out " + in("tuned"));
  ASSERT_EQ(result.code, 0) << result.err;
  EXPECT_CONTAINS(result.out, "weights: 10 of 10 tensors", "frozen: 6 of 10 parameter tensors");
  const auto before = read_safetensors(folder_ / "base.fovea").tensors;
  const auto after = read_safetensors(folder_ / "tuned").tensors;
  for (const std::string name : {"conv1.weight", "conv2.bias", "fc1.weight"})
    expect_identical(after.at(name), before.at(name));
  EXPECT_NE(after.at("fc2.weight").to_vector<float>(), before.at("fc2.weight").to_vector<float>());
  // A part, and nothing at all.
  TensorFile part;
  part.tensors = {{"conv1.weight", before.at("conv1.weight")},
                  {"fc3.weight", Tensor::zeros({3, 84})},
                  {"other", Tensor::zeros({1})}};
  write_safetensors(folder_ / "part", part);
  const Result partial = run("train lenet5 --epochs 1 --freeze conv1.weight --data " + data() +
                             " --weights " + in("part") + " --out " + in("partly"));
  ASSERT_EQ(partial.code, 0) << partial.err;
  EXPECT_CONTAINS(partial.out, "weights: 1 of 10 tensors",
                  "Missing from the file: ", "Unexpected in the file: other",
                  "fc3.weight: file [3, 84], network [10, 84]");
  expect_identical(read_safetensors(folder_ / "partly").tensors.at("conv1.weight"),
                   before.at("conv1.weight"));
  part.tensors = {{"other", Tensor::zeros({1})}};
  write_safetensors(folder_ / "part", part);
  EXPECT_CONTAINS(refusal("--weights " + in("part"), 1), "no weights that fit lenet5");
  EXPECT_CONTAINS(refusal("--freeze conv9", 2), "'conv9'", "fovea inspect lenet5");
  EXPECT_CONTAINS(refusal("--freeze '*'", 2), "nothing is left to train");
  EXPECT_CONTAINS(refusal("--freeze fc3 --lr-scale fc3=10", 2), "'fc3'");
}

TEST_F(TrainProgram, AccumulatedBatchesAreOneLargeBatch) {
  // 160 samples: 5 batches of 32, the last step of which is short.
  const Json whole = train("--epochs 1 --batch 64 --schedule constant --lr 0.001", "a").at(0);
  const Json parts =
      train("--epochs 1 --batch 32 --accumulate 2 --schedule constant --lr 0.001", "b").at(0);
  // The sums of gradients are rounded otherwise, which Adam's first steps enlarge.
  EXPECT_NEAR(parts["test_loss"].get<double>(), whole["test_loss"].get<double>(), 1e-4);
  const Json other = train("--epochs 1 --batch 32 --schedule constant --lr 0.001", "c").at(0);
  EXPECT_GT(std::abs(other["test_loss"].get<double>() - whole["test_loss"].get<double>()), 1e-3);
}

TEST_F(TrainProgram, TheMovingAverageIsWhatIsScoredAndSaved) {
  const std::string options = "--epochs 2 --batch 16 ";
  const std::vector<Json> plain = train(options, "plain.fovea");
  const std::vector<Json> averaged = train(options + "--ema 0.9", "averaged.fovea");
  // The same steps, another network.
  EXPECT_EQ(plain[1]["loss"], averaged[1]["loss"]);
  EXPECT_NE(plain[1]["test_loss"], averaged[1]["test_loss"]);
  const Json evaluated =
      lines_of(run("evaluate --json " + in("averaged.fovea") + " --data " + data()).out).at(0);
  EXPECT_EQ(evaluated["accuracy"], averaged[1]["test_accuracy"]);
}

TEST_F(TrainProgram, ClassWeightsAreCheckedAgainstTheClasses) {
  train("--epochs 1 --class-weights 1,1,1,1,1,1,1,1,1,0.5", "weighted");
  EXPECT_CONTAINS(refusal("--class-weights 1,2", 2), "2 for the 10 classes");
  EXPECT_CONTAINS(refusal("--class-weights 1,x", 2), "'x'", "balanced");
}

TEST_F(TrainProgram, EachOptimizerLearns) {
  for (const std::string method : {"adam", "adamw", "rmsprop", "sgd --momentum 0.9 --lr 0.02"}) {
    const std::vector<Json> epochs = train("--epochs 4 --batch 16 --optimizer " + method, "net");
    EXPECT_LT(epochs.back()["loss"], epochs.front()["loss"]) << method;
  }
}

TEST_F(TrainProgram, EvaluateTellsClassesApartAndShowsMistakes) {
  train("--epochs 1 --batch 16 --lr 0.001", "net.fovea");
  const std::string evaluate = "evaluate " + in("net.fovea") + " --data " + data() +
                               " --mistakes " + in("mistakes.png") + " --count 11";
  const Result result = run(evaluate + " --json");
  ASSERT_EQ(result.code, 0) << result.err;
  const Json report = lines_of(result.out).at(0);
  double correct = 0;
  double samples = 0;
  for (std::size_t label = 0; label < 10; ++label) {
    double row = 0;
    double column = 0;
    for (std::size_t other = 0; other < 10; ++other) {
      row += report["confusion"][label][other].get<double>();
      column += report["confusion"][other][label].get<double>();
    }
    const auto right = report["confusion"][label][label].get<double>();
    EXPECT_EQ(report["classes"][label]["samples"], row);
    EXPECT_DOUBLE_EQ(report["classes"][label]["recall"].get<double>(), right / row);
    EXPECT_DOUBLE_EQ(report["classes"][label]["precision"].get<double>(),
                     column == 0 ? 0 : right / column);
    correct += right;
    samples += row;
  }
  EXPECT_EQ(samples, 160);
  EXPECT_DOUBLE_EQ(report["accuracy"].get<double>(), correct / samples);
  EXPECT_GE(report["top5"], report["accuracy"]);
  ASSERT_EQ(report["mistakes"].size(), 11U) << "one epoch leaves more than that";
  for (std::size_t i = 1; i < 11; ++i) {
    EXPECT_GE(report["mistakes"][i - 1]["probability"], report["mistakes"][i]["probability"]);
    EXPECT_NE(report["mistakes"][i]["class"], report["mistakes"][i]["predicted"]);
  }
  // 8 in a row, 2 rows, each twice as large, 2 pixels apart.
  EXPECT_EQ(data::read_png(folder_ / "mistakes.png").shape(), (Shape{1, 2 * 58 + 2, 8 * 58 + 2}));
  EXPECT_CONTAINS(run(evaluate).out, "accuracy ", "top-5 ", "precision", "11 most confident");
}

TEST_F(TrainProgram, PreviewShowsSamplesAsTheyAreAndAugmented) {
  const std::string preview = "data preview " + data() + " --out " + in("sheet.png");
  const Result result =
      run(preview + " --split train --samples 3 --variants 2 --augment flip=1,noise");
  ASSERT_EQ(result.code, 0) << result.err;
  const Tensor sheet = data::read_png(folder_ / "sheet.png");
  ASSERT_EQ(sheet.shape(), (Shape{1, 3 * 58 + 2, 3 * 58 + 2}));
  const Tensor pixels = data::read_idx(*data_folder / "train-images-idx3-ubyte");
  for (std::int64_t row = 0; row < 3; ++row)
    EXPECT_EQ(sheet.at({0, 2 + 58 * row + 20, 2 + 20}), pixels.at({row, 10, 10}));
  EXPECT_CONTAINS(run(preview + " --augment magic").err, "'magic'", "resized-crop");
}

}  // namespace
}  // namespace fovea
