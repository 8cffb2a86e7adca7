// The program as its users meet it: run as a process, judged by its output and its exit code.
#include <gtest/gtest.h>

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

namespace fovea {
namespace {

using testing::expect_keys;
using testing::Json;
using testing::lines_of;
using testing::Result;
using testing::run;
using testing::TempFolder;

// A folder with a data set of squares and a network trained on it, made once.
class Program : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder = new TempFolder;
    testing::write_squares(folder->path(), 256);
    trained = run("train lenet5 --json --epochs 4 --batch 16 --log '" + (*folder / "log.jsonl") +
                  "' " + data() + " --out '" + model() + "'");
  }
  static void TearDownTestSuite() {
    delete folder;
    folder = nullptr;
  }
  static std::string data() { return "--data 'mnist:" + folder->path() + "'"; }
  static std::string model() { return *folder / "net.fovea"; }

  static inline TempFolder* folder = nullptr;
  static inline Result trained;
};

const std::vector<std::string> kCommands = {"train",   "evaluate", "predict", "sample", "data",
                                            "inspect", "conv",     "filter",  "bench",  "info"};

TEST(ProgramUsage, EveryCommandHasHelpWithAnExample) {
  const Result help = run("--help");
  EXPECT_EQ(help.code, 0);
  for (const std::string& command : kCommands) {
    EXPECT_CONTAINS(help.out, command);
    const Result own = run(command + " --help");
    EXPECT_EQ(own.code, 0) << command;
    EXPECT_CONTAINS(own.out, "Example");
    EXPECT_CONTAINS(own.out, "fovea " + command);
    EXPECT_EQ(own.err, "") << command;
  }
}

TEST(ProgramUsage, PrintsItsVersion) {
  const Result result = run("--version");
  EXPECT_EQ(result.code, 0);
  EXPECT_EQ(result.out, FOVEA_VERSION "\n");
}

TEST(ProgramUsage, MisuseExitsWithTwoAndOneLineOnStderr) {
  for (const std::string arguments :
       {"",
        "no-such-command",
        "train",
        "train lenet5",
        "train lenet6 --data fashion-mnist",
        "train lenet5 --data no-such-data",
        "train lenet5 --data fashion-mnist --epochs 0",
        "train lenet5 --data fashion-mnist --epochs ten",
        "train lenet5 --data fashion-mnist --optimizer magic",
        "train lenet5 --data fashion-mnist --momentum 0.5",
        "train lenet5 --data fashion-mnist --lr -1",
        "train lenet5 --data fashion-mnist --checkpoint-every 5",
        "train lenet5 --data fashion-mnist --run x --out y",
        "train --run x --data fashion-mnist",
        "train lenet5 --data fashion-mnist --augment magic",
        "train lenet5 --data fashion-mnist --nesterov",
        "train lenet5 --data fashion-mnist --ema 1",
        "train lenet5 --data fashion-mnist --validation 1",
        "train lenet5 --data fashion-mnist --early-stopping 3 --run x",
        "train lenet5 --data fashion-mnist --lr-scale fc1",
        "train lenet5 --data fashion-mnist --milestones 0.5,x",
        "data",
        "data preview fashion-mnist --out sheet.jpg",
        "data preview fashion-mnist --augment x --out sheet.png",
        "train --resume --run x --checkpoint-every soon",
        "evaluate",
        "inspect no-such-model",
        "inspect lenet5 --input 1x28x",
        "inspect lenet5 --input 0x28x28",
        "conv",
        "conv ic64",
        "conv ic1ih5oc1kh9",
        "conv ic1ih5oc1kh3 --algorithm magic",
        "conv ic1ih5oc1kh3 --pass sideways",
        "conv ic1ih5oc1kh3 --stride 2",
        "sample --data fashion-mnist --out shoe.jpg",
        "conv --input 1x5x5 --filters 1",
        "conv --input 1x5x5 --filters 1 --kernel 0",
        "conv --input 1x5x5 --filters 1 --kernel 3 --stride -1",
        "conv --input 1x5x5 --filters 1 --kernel 3 --padding 1:",
        "conv --input 1x5x5 --filters 1 --kernel 3 --padding -1",
        "conv --input 1x5x5 --filters 1 --kernel 3 --padding-mode x",
        "conv --input 3x5x5 --filters 4 --kernel 3 --groups 2",
        "info --bogus"}) {
    const Result result = run(arguments);
    EXPECT_EQ(result.code, 2) << arguments;
    EXPECT_EQ(result.out, "") << arguments;
    EXPECT_EQ(result.err.substr(0, 7), "fovea: ") << arguments;
    EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 1) << result.err;
  }
}

TEST(ProgramUsage, UnknownNamesAreAnsweredWithTheKnownOnes) {
  EXPECT_CONTAINS(run("trian lenet5").err, "there is no command 'trian'");
  EXPECT_CONTAINS(run("train lenet6 --data fashion-mnist").err, "lenet5_1998");
  EXPECT_CONTAINS(run("train lenet5 --data cifar").err, "fashion-mnist");
  EXPECT_CONTAINS(run("conv ic1ih5oc1kh3 --algorithm magic").err, "direct");
}

TEST(ProgramUsage, MisuseIsExplainedInWordsOfTheCommandLine) {
  for (const std::string value : {"0", "-1", "x", "1.5", "1e3"}) {
    EXPECT_CONTAINS(run("train lenet5 --data fashion-mnist --epochs " + value).err,
                    "--epochs: must be a whole number of at least 1, but is '" + value + "'");
  }
  EXPECT_CONTAINS(run("train lenet5 --data fashion-mnist --lr 0").err,
                  "--lr: must be a number above 0, but is '0'");
  EXPECT_CONTAINS(run("train lenet5 --data fashion-mnist --optimizer SGD").err,
                  "--optimizer: is 'SGD', expected adam, adamw, rmsprop or sgd (see ");
  EXPECT_CONTAINS(run("evaluate x.fovea --data fashion-mnist --split valid").err,
                  "--split: is 'valid', expected test, train or validation (see ");
  EXPECT_CONTAINS(run("conv ic1ih5oc1kh3 --precision high").err,
                  "is 'high', expected fast or exact");
  EXPECT_CONTAINS(run("train net.txt --data fashion-mnist").err, "'net.txt'", "ends in .net");
  EXPECT_CONTAINS(run("info --threads 2000").err, "a whole number from 1 to 1024");
  EXPECT_CONTAINS(run("sample --data fashion-mnist --out shoe.jpg").err, "'shoe.jpg'", ".png");
  EXPECT_CONTAINS(run("bench conv --bogus").err, "see fovea bench conv --help");
  EXPECT_CONTAINS(run("bench").err, "see fovea bench --help");
  EXPECT_CONTAINS(run("conv ic1ih5oc1kh3 --pass back").err, "bwd_d (backward_data)");
  EXPECT_CONTAINS(
      run("inspect lenet5 --input 28x28").err,
      "lenet5: takes samples of 3 axes, such as 1x28x28 (channels first), but got input=28x28");
}

TEST(ProgramUsage, AMissingFileIsAFailureEverywhere) {
  for (const std::string arguments :
       {"inspect none.fovea", "evaluate none.fovea --data fashion-mnist",
        "predict none.fovea x.png", "train --resume --run none"}) {
    const Result result = run(arguments);
    EXPECT_EQ(result.code, 1) << arguments;
    EXPECT_CONTAINS(result.err, "none", "o such file");
  }
}

TEST(ProgramUsage, AMissingDataSetIsAFailureThatNamesThePackage) {
  const TempFolder empty;
  const Result result = run("train lenet5 --data fashion-mnist --out '" + (empty / "x.fovea") + "'",
                            "FOVEA_DATA='" + empty.path() + "'");
  EXPECT_EQ(result.code, 1);
  EXPECT_CONTAINS(result.err, "dataset-fashion-mnist");
  const Result folder = run("train lenet5 --data 'mnist:" + (empty / "nowhere") + "' --out '" +
                            (empty / "x.fovea") + "'");
  EXPECT_EQ(folder.code, 1);
  EXPECT_CONTAINS(folder.err, "nowhere");
  EXPECT_EQ(empty.entries(), 0);
}

TEST_F(Program, TrainReportsEachEpochAndSavesTheModel) {
  ASSERT_EQ(trained.code, 0) << trained.err;
  EXPECT_EQ(trained.err, "");
  std::vector<Json> epochs = lines_of(trained.out);
  ASSERT_EQ(epochs.size(), 4U);
  for (Json& epoch : epochs) {
    EXPECT_GT(epoch["peak_tensor_bytes"], 0);
    epoch.erase("peak_tensor_bytes");  // what the log does not have
    expect_keys(epoch, {"epoch", "loss", "train_accuracy", "test_accuracy", "lr", "seconds",
                        "images_per_second"});
  }
  EXPECT_EQ(epochs.back()["epoch"], 4);
  EXPECT_LT(epochs.back()["loss"], epochs.front()["loss"]);
  EXPECT_EQ(lines_of(testing::read_file(*folder / "log.jsonl")), epochs);
}

TEST_F(Program, EvaluateAgreesWithTheLastEpoch) {
  const Result result = run("evaluate '" + model() + "' " + data() + " --json");
  ASSERT_EQ(result.code, 0) << result.err;
  const std::vector<Json> lines = lines_of(result.out);
  ASSERT_EQ(lines.size(), 1U);
  expect_keys(lines[0], {"accuracy", "loss", "samples", "top5", "classes", "confusion"});
  EXPECT_EQ(lines[0]["samples"], 256);
  EXPECT_EQ(lines[0]["accuracy"], lines_of(trained.out).back()["test_accuracy"]);
  EXPECT_GT(lines[0]["accuracy"], 0.9);  // the squares hardly overlap: chance gives 0.1
  EXPECT_EQ(run("evaluate '" + model() + "' " + data()).code, 0);
}

TEST_F(Program, PredictNamesASampleThatWasWrittenAsAnImage) {
  const std::string image = *folder / "sample.png";
  const Result sample = run("sample " + data() + " --index 7 --out '" + image + "' --json");
  ASSERT_EQ(sample.code, 0) << sample.err;
  EXPECT_EQ(lines_of(sample.out).at(0)["label"], 7);
  const Result result = run("predict '" + model() + "' '" + image + "' --top 4 --json");
  ASSERT_EQ(result.code, 0) << result.err;
  const Json prediction = lines_of(result.out).at(0);
  expect_keys(prediction, {"image", "class", "predictions"});
  ASSERT_EQ(prediction["predictions"].size(), 4U);
  EXPECT_EQ(prediction["predictions"][0]["label"], 7);
  EXPECT_GE(prediction["predictions"][0]["probability"],
            prediction["predictions"][1]["probability"]);
}

TEST_F(Program, SampleWritesTheVeryPixelsOfTheDataSet) {
  const std::string image = *folder / "pixels.png";
  ASSERT_EQ(run("sample " + data() + " --split train --index 3 --out '" + image + "'").code, 0);
  const Tensor all = data::read_idx(*folder / "train-images-idx3-ubyte");
  EXPECT_EQ(data::read_png(image).to_vector<std::uint8_t>(),
            all.slice(0, 3, 4).to_vector<std::uint8_t>());
  const Result beyond =
      run("sample " + data() + " --index 256 --out '" + (*folder / "none.png") + "'");
  EXPECT_EQ(beyond.code, 1);
  EXPECT_CONTAINS(beyond.err, "256");
}

TEST_F(Program, PredictTurnsColourToGreyAndTellsTheSizeItNeeds) {
  const std::string colour = *folder / "colour.png";
  data::write_png(colour, Tensor::full({3, 28, 28}, 90, DType::uint8));
  const std::string grey = *folder / "grey.png";
  data::write_png(grey, Tensor::full({1, 28, 28}, 90, DType::uint8));
  const Json from_colour =
      lines_of(run("predict '" + model() + "' '" + colour + "' --json").out).at(0);
  const Json from_grey = lines_of(run("predict '" + model() + "' '" + grey + "' --json").out).at(0);
  // Weights that add to one give 90 again, up to the rounding of three products: far below what a
  // class can tell.
  EXPECT_NEAR(from_colour["predictions"][0]["probability"].get<double>(),
              from_grey["predictions"][0]["probability"].get<double>(), 1e-4);
  const std::string large = *folder / "large.png";
  data::write_png(large, Tensor::full({1, 30, 28}, 90, DType::uint8));
  const Result result = run("predict '" + model() + "' '" + large + "'");
  EXPECT_EQ(result.code, 1);
  EXPECT_CONTAINS(result.err, "28 wide and 28 high", "--resize crop, stretch or pad");
  const Json resized =
      lines_of(run("predict '" + model() + "' '" + large + "' --resize crop --json").out).at(0);
  EXPECT_EQ(resized["predictions"], from_grey["predictions"]);
}

// What a program that uses the library may save: with and without a description, in double
// precision.
TEST_F(Program, ModelsSavedByTheLibraryWork) {
  const std::string image = *folder / "grey2.png";
  data::write_png(image, Tensor::full({1, 28, 28}, 90, DType::uint8));
  const std::string path = *folder / "own.fovea";
  nn::Model model = models::lenet5();
  model.module().to(DType::float64);
  save(model, path);
  EXPECT_EQ(run("evaluate '" + path + "' " + data()).code, 0);
  const Result refused = run("predict '" + path + "' '" + image + "'");
  EXPECT_EQ(refused.code, 1);
  EXPECT_CONTAINS(refused.err, "does not say how its inputs are normalised", "describe");
  data::describe(model, *data::mnist(folder->path(), data::Split::train));
  save(model, path);
  EXPECT_EQ(run("evaluate '" + path + "' " + data()).code, 0);
  const Result result = run("predict '" + path + "' '" + image + "'");
  EXPECT_EQ(result.code, 0) << result.err;
}

TEST_F(Program, ANetworkOfOtherDataIsNotTakenForOneOfThese) {
  const std::string path = *folder / "other.fovea";
  nn::Model model = models::lenet5();
  data::describe(model, *data::mnist(folder->path(), data::Split::train));
  model.info.classes = {"0", "one", "two", "three", "four", "5", "6", "7", "8", "9"};
  save(model, path);
  const Result named = run("evaluate '" + path + "' " + data());
  EXPECT_EQ(named.code, 0) << named.err;
  EXPECT_EQ(named.err,
            "note: " + path + " was trained on one, two, three, ...; these are 1, 2, 3, ...\n");
  model.info.mean = {-6.5};
  save(model, path);
  const std::string image = *folder / "grey3.png";
  data::write_png(image, Tensor::full({1, 28, 28}, 90, DType::uint8));
  const Result refused = run("predict '" + path + "' '" + image + "'");
  EXPECT_EQ(refused.code, 1);
  EXPECT_CONTAINS(refused.err, "a mean of -6.5, which are no images");
}

TEST_F(Program, InspectReadsModelFilesAndNamesOfNetworks) {
  const Result file = run("inspect '" + model() + "' --json");
  const Result name = run("inspect lenet5 --input 1x28x28 --json");
  ASSERT_EQ(file.code, 0) << file.err;
  EXPECT_EQ(file.out, name.out);
  const std::vector<Json> lines = lines_of(name.out);
  ASSERT_GE(lines.size(), 13U);
  expect_keys(lines.front(), {"path", "operation", "layer", "output", "parameters", "multiply_adds",
                              "output_bytes", "receptive_field"});
  EXPECT_EQ(lines.back()["parameters"], 61706);
  EXPECT_CONTAINS(run("inspect lenet5").out, "61,706");
  EXPECT_CONTAINS(run("inspect lenet5 --input 3x28x28").out,
                  "adapted: its first layer takes 3 channels instead of 1");
  const Result wrong = run("inspect '" + model() + "' --input 3x28x28");
  EXPECT_EQ(wrong.code, 1);
  EXPECT_CONTAINS(wrong.err, "reads samples of 1x28x28 (channels first), not of 3x28x28");
}

TEST_F(Program, TrainingIsBitIdenticalForAnyNumberOfThreads) {
  std::vector<std::string> files;
  for (const std::string threads : {"1", "2", "3"}) {
    const std::string out = *folder / ("threads" + threads + ".fovea");
    const Result result =
        run("train lenet5 --epochs 1 --batch 48 --seed 5 " + data() + " --out '" + out + "'",
            "FOVEA_THREADS=" + threads);
    ASSERT_EQ(result.code, 0) << result.err;
    files.push_back(testing::read_file(out));
  }
  ASSERT_FALSE(files[0].empty());
  EXPECT_TRUE(files[0] == files[1]);
  EXPECT_TRUE(files[0] == files[2]);
  EXPECT_FALSE(files[0] == testing::read_file(model()));
}

TEST_F(Program, AnUnwritableOutputStopsBeforeTraining) {
  const std::ptrdiff_t before = folder->entries();
  for (const std::string option : {"--out", "--log"}) {
    for (const std::string& path : {*folder / "no/such/folder/x", folder->path()}) {
      const std::string other =
          option == "--log" ? " --out '" + (*folder / "unused.fovea") + "'" : "";
      const Result result =
          run("train lenet5 " + data() + " " + option + " '" + path + "'" + other);
      EXPECT_EQ(result.code, 1) << option << " " << path;
      EXPECT_EQ(result.out, "") << "no epoch may have run";
      EXPECT_CONTAINS(result.err, "cannot write '" + path + "'");
      if (path != folder->path()) {
        EXPECT_CONTAINS(result.err, "there is no folder '" + (*folder / "no/such/folder") + "'");
      }
    }
  }
  EXPECT_EQ(folder->entries(), before);
}

TEST_F(Program, TheLogIsEmptiedOnlyWhenTrainingStarts) {
  const std::string log = *folder / "old.jsonl";
  testing::write_file(log, "old");
  const std::string options = " --log '" + log + "' --out '" + (*folder / "unused.fovea") + "'";
  EXPECT_EQ(run("train lenet5 --data 'mnist:" + (*folder / "none") + "'" + options).code, 1);
  EXPECT_EQ(testing::read_file(log), "old");
  const Result same = run("train lenet5 " + data() + " --log '" + (*folder / "./x") + "' --out '" +
                          (*folder / "x") + "'");
  EXPECT_EQ(same.code, 2);
  EXPECT_CONTAINS(same.err, "same file");
  EXPECT_EQ(run("train lenet5 " + data() + " --log no-such-file --out ./no-such-file").code, 2);
}

TEST_F(Program, TrainingThatDivergesFailsAndSavesNothing) {
  const std::string out = *folder / "diverged.fovea";
  const Result result = run("train lenet5 --optimizer sgd --lr 1e30 --schedule constant " + data() +
                            " --out '" + out + "'");
  EXPECT_EQ(result.code, 1);
  EXPECT_CONTAINS(result.err, "diverged");
  EXPECT_FALSE(std::filesystem::exists(out));
}

TEST_F(Program, FilesThatAreNoModelsAreRefused) {
  testing::write_file(*folder / "mine.txt", "input 1x28x28\nflatten\nlinear classes\n");
  EXPECT_CONTAINS(run("inspect '" + (*folder / "mine.txt") + "'").err,
                  "mine.txt' is no .fovea or safetensors file", "ends in .net");
  const std::string path = *folder / "garbage.fovea";
  testing::write_file(path, "not a model");
  for (const std::string& arguments : {"evaluate '" + path + "' " + data(),
                                       "predict '" + path + "' x.png", "inspect '" + path + "'"}) {
    const Result result = run(arguments);
    EXPECT_EQ(result.code, 1) << arguments;
    EXPECT_CONTAINS(result.err, "garbage.fovea' is no .fovea or safetensors file");
  }
}

TEST(ProgramConv, ExplainsAndRunsEachPass) {
  const Result result =
      run("conv --input 4x9x7 --filters 6 --kernel 3x2 --stride 2 --padding 1x0 --batch 2 --json");
  ASSERT_EQ(result.code, 0) << result.err;
  const std::vector<Json> lines = lines_of(result.out);
  ASSERT_EQ(lines.size(), 4U);
  expect_keys(lines[0], {"problem", "input", "weight", "output", "axes", "weights", "multiply_adds",
                         "locally_connected_weights", "fully_connected_weights", "unread"});
  EXPECT_EQ(lines[0]["output"], (Json{2, 6, 5, 3}));
  EXPECT_EQ(lines[0]["weights"], 6 * 4 * 6);
  EXPECT_EQ(lines[0]["unread"], 9);  // the last of seven columns
  EXPECT_EQ(lines[0]["axes"][0]["formula"], "floor((9 + 1 + 1 - 1*(3 - 1) - 1) / 2) + 1 = 5");
  for (std::size_t pass = 1; pass < lines.size(); ++pass) {
    expect_keys(lines[pass], {"pass", "algorithm", "reason", "seconds", "gflops", "candidates"});
    EXPECT_GT(lines[pass]["gflops"], 0.0);
  }
}

TEST(ProgramConv, TheDescriptorItPrintsMeansTheSameProblem) {
  const std::string options =
      run("conv --input 4x9 --filters 6 --kernel 3 --dilation 2 --pass forward --json").out;
  const std::string descriptor = lines_of(options).at(0)["problem"];
  const Json again = lines_of(run("conv " + descriptor + " --pass forward --json").out).at(0);
  EXPECT_EQ(again, lines_of(options).at(0));
}

TEST(ProgramConv, PadsAsItIsTold) {
  const std::string layer =
      "conv --input 3x9x7 --filters 4 --kernel 4 --stride 2 --pass forward --json";
  const auto problem = [&](const std::string& padding) {
    return lines_of(run(layer + padding).out).at(0)["problem"].get<std::string>();
  };
  EXPECT_EQ(problem(" --padding same --padding-mode reflect"),
            "mb1ic3ih9iw7oc4oh5ow4kh4sh2ph1+ph1:2+pw1:2+reflect");
  EXPECT_EQ(problem(" --padding full --padding-mode constant --padding-value -0.5"),
            "mb1ic3ih9iw7oc4oh6ow5kh4sh2ph3+constant:-0.5");
  EXPECT_EQ(problem(" --padding 1:0x2"), "mb1ic3ih9iw7oc4oh4kh4sh2ph1pw2+ph1:0");
}

TEST(ProgramConv, RunsTheAlgorithmThatWasForced) {
  const Result result = run("conv ic2ih6oc2kh3 --algorithm reference --pass bwd_d --json");
  ASSERT_EQ(result.code, 0) << result.err;
  const std::vector<Json> lines = lines_of(result.out);
  ASSERT_EQ(lines.size(), 2U);
  EXPECT_EQ(lines[1]["pass"], "backward_data");
  EXPECT_EQ(lines[1]["algorithm"], "reference");
}

TEST(ProgramConv, AProblemThatFitsNoMemoryIsRefusedAtOnce) {
  const Result result = run("conv ic4096ih100000oc4096kh3ph1");
  EXPECT_EQ(result.code, 1);
  EXPECT_CONTAINS(result.err, "this machine has");
}

TEST(ProgramInfo, TellsWhatItRunsOn) {
  const Result result = run("info --threads 3 --json");
  ASSERT_EQ(result.code, 0) << result.err;
  const Json info = lines_of(result.out).at(0);
  expect_keys(
      info, {"version", "simd", "simd_targets", "threads", "networks", "data_sets", "algorithms"});
  EXPECT_EQ(info["threads"], 3);
  EXPECT_EQ(info["version"], FOVEA_VERSION);
  EXPECT_CONTAINS(run("info").out, "threads");
}

TEST(ProgramInfo, OutputThatCannotBeWrittenIsAFailure) {
  if (!std::filesystem::exists("/dev/full")) GTEST_SKIP() << "/dev/full is missing";
  EXPECT_EQ(run("info > /dev/full").code, 1);
}

}  // namespace
}  // namespace fovea
