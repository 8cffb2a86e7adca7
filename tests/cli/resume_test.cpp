// Training survives: what is stopped, killed or let down by its disk goes on to the bits of a
// training that was left alone.
#include <gtest/gtest.h>
#include <sys/file.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <random>
#include <string>
#include <vector>

#include "fovea/data.h"
#include "support/errors.h"
#include "support/files.h"
#include "support/idx.h"
#include "support/process.h"
#include "support/program.h"

namespace fovea {
namespace {

using testing::FolderWatch;
using testing::Json;
using testing::lines_of;
using testing::Process;
using testing::read_file;
using testing::Result;
using testing::run;
using testing::SmallDisk;
using testing::TempFolder;
using testing::write_file;

// 18 batches of 4, two to a step, in each of 2 epochs, with all that a training can remember.
const std::vector<std::string> kSettings = {
    "--epochs",     "2",   "--batch",      "4",
    "--accumulate", "2",   "--seed",       "3",
    "--ema",        "0.8", "--validation", "0.25",
    "--clip",       "0.5", "--augment",    "flip,crop=2,rotate,erase=0.5,mixup=0.4"};

std::vector<Json> without_times(const std::string& log) {
  std::vector<Json> lines = lines_of(log);
  for (Json& line : lines) {
    EXPECT_EQ(line.erase("seconds"), 1U);
    EXPECT_EQ(line.erase("images_per_second"), 1U);
  }
  return lines;
}

std::string quoted(const std::vector<std::string>& words) {
  std::string line;
  for (const std::string& word : words) line += "'" + word + "' ";
  return line;
}

// The samples of a folder of MNIST's files as a folder of pictures.
void write_pictures(const std::string& from, const std::string& to) {
  for (const auto& [split, stem] : {std::pair("train", "/train"), {"test", "/t10k"}}) {
    const Tensor images = data::read_idx(from + stem + "-images-idx3-ubyte");
    const Tensor labels = data::read_idx(from + stem + "-labels-idx1-ubyte");
    for (std::int64_t i = 0; i < images.size(0); ++i) {
      const int label = labels.data<std::uint8_t>()[i];
      const std::string folder = to + "/" + split + "/" + std::to_string(label);
      std::filesystem::create_directories(folder);
      data::write_png(folder + "/" + std::to_string(i) + ".png", images.slice(0, i, i + 1));
    }
  }
}

// A data set, and what a training on it comes to that nothing disturbs.
class Resume : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    data_folder = new TempFolder;
    testing::write_squares(data_folder->path(), 96);
    write_pictures(data_folder->path(), *data_folder / "pictures");
    const Result result = run(quoted(fresh(*data_folder / "whole")));
    ASSERT_EQ(result.code, 0) << result.err;
    network = read_file(*data_folder / "whole/model.fovea");
    best = read_file(*data_folder / "whole/best.fovea");
    confusion = read_file(*data_folder / "whole/confusion.svg");
    log = without_times(read_file(*data_folder / "whole/log.jsonl"));
    ASSERT_EQ(log.size(), 2U);
  }
  static void TearDownTestSuite() { delete data_folder; }

  // Nothing that was decoded is kept, so the loader's threads decode each file again.
  static std::string data() { return "images:" + (*data_folder / "pictures?keep=0"); }
  // Without --run or --out.
  static std::vector<std::string> start() {
    std::vector<std::string> arguments = {"train", "lenet5", "--data", data()};
    arguments.insert(arguments.end(), kSettings.begin(), kSettings.end());
    return arguments;
  }
  static std::vector<std::string> fresh(const std::string& folder) {
    std::vector<std::string> arguments = start();
    arguments.insert(arguments.end(), {"--run", folder, "--checkpoint-every", "1"});
    return arguments;
  }
  static std::vector<std::string> again(const std::string& folder) {
    return {"train", "--resume", "--run", folder, "--checkpoint-every", "1"};
  }

  // A run that was stopped in its first epoch.
  void stop_early(const std::string& folder) {
    std::filesystem::create_directories(folder);
    FolderWatch watch(folder);
    Process process(FOVEA_PROGRAM, fresh(folder), folder_ / "process");
    for (int saved = 0; saved < 3; ++saved)  // the first is that of the start
      ASSERT_TRUE(watch.await(IN_MOVED_TO, "last.checkpoint"));
    process.signal(SIGTERM);
    ASSERT_EQ(process.wait(), 128 + SIGTERM) << process.err();
  }

  void expect_undisturbed(const std::string& folder) {
    EXPECT_TRUE(read_file(folder + "/model.fovea") == network);
    EXPECT_EQ(without_times(read_file(folder + "/log.jsonl")), log);
    EXPECT_TRUE(read_file(folder + "/best.fovea") == best);
    EXPECT_TRUE(read_file(folder + "/confusion.svg") == confusion);
    // Not even what was being written when the process was killed is left: the network, the best
    // one, two pictures, the log, the settings and the checkpoint are.
    EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder), {}), 7);
  }

  static inline TempFolder* data_folder = nullptr;
  static inline std::string network;
  static inline std::string best;
  static inline std::string confusion;
  static inline std::vector<Json> log;
  TempFolder folder_;
};

// What a process that was killed within a write leaves behind.
bool holds_temporary(const std::string& folder) {
  const std::filesystem::directory_iterator files(folder);
  return std::any_of(begin(files), end(files), [](const auto& file) {
    return file.path().filename().string().find(".tmp-") != std::string::npos;
  });
}

TEST_F(Resume, AfterTenKillsTheResultIsTheSame) {
  std::mt19937 random(1);
  int kills = 0;
  int within_writes = 0;
  const auto enough = [&] { return kills >= 10 && within_writes >= 3; };
  for (int round = 0; !enough(); ++round) {
    ASSERT_LT(round, 20) << kills << " kills, of which within a write " << within_writes;
    const std::string folder = folder_ / ("run" + std::to_string(round));
    std::filesystem::create_directories(folder);
    for (bool done = false; !done;) {
      FolderWatch watch(folder);
      const bool begun = std::filesystem::exists(folder + "/last.checkpoint");
      Process process(FOVEA_PROGRAM, begun ? again(folder) : fresh(folder), folder_ / "process");
      if (!enough()) {
        // Each checkpoint is made, written to several times, flushed and renamed: among so few
        // moments, many lie within a write.
        const auto events = 1 + random() % 12;
        for (auto i = events; i > 0; --i) ASSERT_NE(watch.next().what, 0U);
        process.signal(SIGKILL);
      }
      const int code = process.wait();
      done = code == 0;
      ASSERT_TRUE(done || code == -SIGKILL) << code << ": " << process.err();
      if (done) continue;
      ++kills;
      if (holds_temporary(folder)) ++within_writes;
    }
    expect_undisturbed(folder);
  }
}

TEST_F(Resume, SignalsSaveAndPrintTheCommandThatGoesOn) {
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    const std::string folder = folder_ / std::to_string(signal);
    std::filesystem::create_directories(folder);
    FolderWatch watch(folder);
    Process process(FOVEA_PROGRAM, fresh(folder), folder_ / "process");
    for (int saved = 0; saved < 3; ++saved)
      ASSERT_TRUE(watch.await(IN_MOVED_TO, "last.checkpoint"));
    process.signal(signal);
    EXPECT_EQ(process.wait(), 128 + signal);
    EXPECT_CONTAINS(process.err(), "interrupted in epoch 1 of 2, batch",
                    "fovea train --resume --run " + folder);
    const Result result = run("train --resume --run '" + folder + "' --threads 3");
    EXPECT_EQ(result.code, 0) << result.err;
    EXPECT_CONTAINS(result.out, "goes on from epoch 1 of 2, batch");
    expect_undisturbed(folder);
  }
}

TEST_F(Resume, KeepsThePlansItWasStartedWith) {
  // Both convolutions of LeNet-5 by an algorithm that rounds otherwise than what auto takes.
  const std::string plans = folder_ / "plans.json";
  for (const char* problem : {"mb4ic1ih28oc6kh5ph2", "mb4ic6ih14oc16kh5"}) {
    const std::string search = "conv " + std::string(problem) + " --search --plan-file '";
    ASSERT_EQ(run(search + plans + "'").code, 0);
  }
  Json file = Json::parse(read_file(plans));
  for (Json& entry : file["entries"]) entry["algorithm"] = "im2col";
  write_file(plans, file.dump());
  const auto planned = [&](const std::string& folder) {
    std::vector<std::string> arguments = fresh(folder);
    arguments.insert(arguments.end(), {"--plan-file", plans});
    return arguments;
  };
  ASSERT_EQ(run(quoted(planned(folder_ / "whole"))).code, 0);
  EXPECT_FALSE(read_file(folder_ / "whole/model.fovea") == network);
  const std::string stopped = folder_ / "stopped";
  std::filesystem::create_directories(stopped);
  FolderWatch watch(stopped);
  Process process(FOVEA_PROGRAM, planned(stopped), folder_ / "process");
  for (int saved = 0; saved < 3; ++saved) ASSERT_TRUE(watch.await(IN_MOVED_TO, "last.checkpoint"));
  process.signal(SIGTERM);
  ASSERT_EQ(process.wait(), 128 + SIGTERM) << process.err();
  file["entries"].erase(0);
  write_file(folder_ / "others.json", file.dump());
  const std::string resume = "train --resume --run '" + stopped + "'";
  const Result others = run(resume + " --plan-file '" + (folder_ / "others.json") + "'");
  EXPECT_EQ(others.code, 2);
  EXPECT_CONTAINS(others.err, "others.json", "other plans");
  const Result result = run(resume);
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_TRUE(read_file(stopped + "/model.fovea") == read_file(folder_ / "whole/model.fovea"));
}

TEST_F(Resume, WithoutAFolderTheCheckpointLiesBesideTheNetwork) {
  const std::string out = folder_ / "net.fovea";
  FolderWatch watch(folder_.path());
  std::vector<std::string> arguments = start();
  arguments.insert(arguments.end(), {"--out", out, "--log", folder_ / "log.jsonl"});
  Process process(FOVEA_PROGRAM, arguments, folder_ / "process");
  ASSERT_TRUE(watch.await(IN_CREATE, "log.jsonl"));
  process.signal(SIGINT);
  ASSERT_EQ(process.wait(), 128 + SIGINT) << process.err();
  EXPECT_CONTAINS(process.err(), "fovea train --resume --out " + out);
  EXPECT_FALSE(std::filesystem::exists(out));
  ASSERT_TRUE(std::filesystem::exists(folder_ / "net.checkpoint"));
  const Result result = run("train --resume --out '" + out + "'");
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_TRUE(read_file(out) == network);
  EXPECT_EQ(without_times(read_file(folder_ / "log.jsonl")), log);
  EXPECT_FALSE(std::filesystem::exists(folder_ / "net.checkpoint"));
  EXPECT_EQ(run("train --resume --out '" + out + "'").code, 1);
}

TEST_F(Resume, AFinishedTrainingMayGetMoreEpochs) {
  // With a constant rate, two epochs are one epoch and another one.
  const std::string common = " lenet5 --data '" + data() + "' --schedule constant --optimizer sgd ";
  ASSERT_EQ(run("train" + common + "--epochs 2 --run '" + (folder_ / "two") + "'").code, 0);
  ASSERT_EQ(run("train" + common + "--epochs 1 --run '" + (folder_ / "one") + "'").code, 0);
  const Result more = run("train --resume --epochs 2 --run '" + (folder_ / "one") + "'");
  ASSERT_EQ(more.code, 0) << more.err;
  EXPECT_CONTAINS(more.out, "goes on from epoch 2 of 2, batch 0");
  EXPECT_TRUE(read_file(folder_ / "one/model.fovea") == read_file(folder_ / "two/model.fovea"));
  EXPECT_EQ(without_times(read_file(folder_ / "one/log.jsonl")),
            without_times(read_file(folder_ / "two/log.jsonl")));
  const Result fewer = run("train --resume --epochs 1 --run '" + (folder_ / "one") + "'");
  EXPECT_EQ(fewer.code, 2);
  EXPECT_CONTAINS(fewer.err, "--epochs is 1", "epoch 2");
  std::filesystem::remove(folder_ / "one/model.fovea");  // as if killed before it was written
  EXPECT_EQ(run("train --resume --run '" + (folder_ / "one") + "'").code, 0);
  EXPECT_TRUE(read_file(folder_ / "one/model.fovea") == read_file(folder_ / "two/model.fovea"));
}

TEST_F(Resume, OptionsThatDifferAreNamedWithBothValues) {
  const std::string folder = folder_ / "run";
  stop_early(folder);
  const std::string before = read_file(folder + "/last.checkpoint");
  const auto refused = [&](const std::string& arguments) {
    const Result result = run("train --resume --run '" + folder + "' " + arguments);
    EXPECT_EQ(result.code, 2) << arguments;
    return result.err;
  };
  EXPECT_CONTAINS(refused("--batch 8"), "--batch is 8", "started with 4");
  EXPECT_CONTAINS(refused("--lr 0.25"), "--lr is 0.25", "started with 0.003");
  EXPECT_CONTAINS(refused("--seed 4"), "--seed is 4", "started with 3");
  EXPECT_CONTAINS(refused("--optimizer sgd"), "--optimizer is sgd", "started with adam");
  EXPECT_CONTAINS(refused("--momentum 0.5"), "--momentum is 0.5", "started with none");
  EXPECT_CONTAINS(refused("--schedule cosine"), "--schedule is cosine", "with one-cycle");
  EXPECT_CONTAINS(refused("lenet5_1998"), "network is lenet5_1998", "started with lenet5");
  EXPECT_CONTAINS(refused("--out x"), "--out");
  EXPECT_TRUE(read_file(folder + "/last.checkpoint") == before);
  // What is repeated alike is no difference.
  EXPECT_EQ(run("train lenet5 --batch 4 --lr 0.003 --resume --run '" + folder + "'").code, 0);
  expect_undisturbed(folder);
}

TEST_F(Resume, AFolderThatIsTakenIsLeftAlone) {
  const std::string folder = folder_ / "run";
  stop_early(folder);
  const std::string before = read_file(folder + "/last.checkpoint");
  const Result second = run(quoted(fresh(folder)));
  EXPECT_EQ(second.code, 1);
  EXPECT_CONTAINS(second.err, "holds a training already", "--resume");
  const int lock = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY);  // as a training that runs
  ASSERT_EQ(::flock(lock, LOCK_EX | LOCK_NB), 0);
  const Result both = run("train --resume --run '" + folder + "'");
  ::close(lock);
  EXPECT_EQ(both.code, 1);
  EXPECT_CONTAINS(both.err, "another process is training in '" + folder + "'");
  EXPECT_TRUE(read_file(folder + "/last.checkpoint") == before);
}

TEST_F(Resume, NothingToGoOnWithIsSaid) {
  EXPECT_EQ(run("train --resume").code, 2);
  const Result none = run("train --resume --run '" + (folder_ / "none") + "'");
  EXPECT_EQ(none.code, 1);
  EXPECT_CONTAINS(none.err, "nothing to go on with", "none/last.checkpoint");
  EXPECT_EQ(folder_.entries(), 0);
}

TEST_F(Resume, TheLogIsPutRight) {
  const std::string folder = folder_ / "run";
  const std::string path = folder + "/log.jsonl";
  // One epoch of a constant rate, to be gone on with each time.
  const std::string first = "train lenet5 --data '" + data() + "' --schedule constant --epochs 1";
  ASSERT_EQ(run(first + " --run '" + folder + "'").code, 0);
  const std::string line = read_file(path);
  const std::string checkpoint = read_file(folder + "/last.checkpoint");
  for (const std::string& left :
       {line, std::string(), line.substr(0, 20), line + "{\"epoch\":2,\"loss\":0.5}\n",
        line + "{\"epoch\":2,\"lo", line + "{\"ep"}) {
    write_file(path, left);
    write_file(folder + "/last.checkpoint", checkpoint);
    const Result result = run("train --resume --epochs 2 --run '" + folder + "'");
    ASSERT_EQ(result.code, 0) << result.err;
    const std::string text = read_file(path);
    EXPECT_EQ(text.substr(0, line.size()), line);
    const std::vector<Json> lines = lines_of(text);
    ASSERT_EQ(lines.size(), 2U) << left;
    EXPECT_EQ(lines[1]["epoch"], 2);
  }
  std::filesystem::remove(path);
  write_file(folder + "/last.checkpoint", checkpoint);
  ASSERT_EQ(run("train --resume --epochs 2 --run '" + folder + "'").code, 0);
  EXPECT_EQ(lines_of(read_file(path)).size(), 2U);
  for (const std::string& foreign :
       {std::string("notes of mine\n"), line + "{\"epoch\":3,\"loss\":0.5}\n", line + "x"}) {
    write_file(path, foreign);
    write_file(folder + "/last.checkpoint", checkpoint);
    const Result result = run("train --resume --epochs 2 --run '" + folder + "'");
    EXPECT_EQ(result.code, 1) << foreign;
    EXPECT_CONTAINS(result.err, "is not the log of this training");
    EXPECT_EQ(read_file(path), foreign);
    EXPECT_TRUE(read_file(folder + "/last.checkpoint") == checkpoint);
  }
}

TEST_F(Resume, DataThatVanishedOrChangedAreNamed) {
  const TempFolder data;
  testing::write_squares(data.path(), 96);
  const std::string folder = folder_ / "run";
  const std::string resume = "train --resume --run '" + folder + "'";
  ASSERT_EQ(run("train lenet5 --schedule constant --epochs 1 --data 'mnist:" + data.path() +
                "' --run '" + folder + "'")
                .code,
            0);
  const std::string checkpoint = read_file(folder + "/last.checkpoint");
  std::filesystem::rename(data / "train-images-idx3-ubyte", data / "moved");
  const Result gone = run(resume);
  EXPECT_EQ(gone.code, 1);
  EXPECT_CONTAINS(gone.err, "'" + data.path() + "' has no file train-images");
  EXPECT_CONTAINS(gone.err, "last.checkpoint is as it was");
  testing::write_squares(data.path(), 90);
  const Result other = run(resume);
  EXPECT_EQ(other.code, 1);
  EXPECT_CONTAINS(other.err, "96", "90");
  EXPECT_TRUE(read_file(folder + "/last.checkpoint") == checkpoint);
  // The same data elsewhere will do.
  const TempFolder elsewhere;
  testing::write_squares(elsewhere.path(), 96);
  const Result moved = run(resume + " --epochs 2 --data 'mnist:" + elsewhere.path() + "'");
  EXPECT_EQ(moved.code, 0) << moved.err;
}

TEST_F(Resume, AFullDiskLeavesTheLastCheckpoint) {
  const SmallDisk disk("4m");
  if (!disk.mounted()) GTEST_SKIP() << "mounting a small file system needs root";
  const std::string folder = disk.folder() / "run";
  stop_early(folder);
  const std::string checkpoint = read_file(folder + "/last.checkpoint");
  const std::string filler = disk.folder() / "filler";
  write_file(filler, std::string(std::size_t{4} << 20, 'x'));  // as much of it as there is room for
  const Result full = run(quoted(again(folder)));
  EXPECT_EQ(full.code, 1);
  EXPECT_CONTAINS(full.err, "the disk is full", "last.checkpoint");
  EXPECT_CONTAINS(full.err, "`fovea train --resume --run " + folder + "` goes on");
  EXPECT_TRUE(read_file(folder + "/last.checkpoint") == checkpoint);
  std::filesystem::remove(filler);
  ASSERT_EQ(run(quoted(again(folder))).code, 0);
  expect_undisturbed(folder);
}

TEST_F(Resume, AFileThatMayNotGrowIsAFailureAndNoSignal) {
  const std::string folder = folder_ / "run";
  stop_early(folder);
  const std::string checkpoint = read_file(folder + "/last.checkpoint");
  const Result limited = run(quoted(again(folder)), "ulimit -f 200;");
  EXPECT_EQ(limited.code, 1);
  EXPECT_CONTAINS(limited.err, "cannot write", "last.checkpoint", "File too large");
  EXPECT_TRUE(read_file(folder + "/last.checkpoint") == checkpoint);
}

TEST_F(Resume, AReadOnlyFolderIsNamedBeforeTraining) {
  const SmallDisk disk("4m");
  if (!disk.mounted()) GTEST_SKIP() << "mounting a small file system needs root";
  const std::string folder = disk.folder() / "run";
  stop_early(folder);
  const std::string checkpoint = read_file(folder + "/last.checkpoint");
  ASSERT_TRUE(disk.make_read_only());
  const std::vector<std::string> attempts = {
      quoted(again(folder)), quoted(fresh(disk.folder() / "other")),
      quoted(start()) + "--out '" + (disk.folder() / "net.fovea") + "'"};
  for (const std::string& arguments : attempts) {
    const Result result = run(arguments);
    EXPECT_EQ(result.code, 1) << arguments;
    EXPECT_EQ(result.out, "") << "no epoch may have run";
    EXPECT_CONTAINS(result.err, disk.folder().path(), "Read-only file system");
  }
  EXPECT_TRUE(read_file(folder + "/last.checkpoint") == checkpoint);
}

TEST_F(Resume, OutOfMemoryIsSaidAndLeavesTheOldNetwork) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "sanitizers need more address space than any limit leaves";
#endif
  const TempFolder large;
  testing::write_squares(large.path(), 1000);
  const std::string out = folder_ / "net.fovea";
  write_file(out, "old");
  // 60 MB hold the program, the data and small batches. One map of the first layer takes 19 MB for
  // 1000 images, and there are several of them.
  const Result result = run("train lenet5 --threads 1 --data 'mnist:" + large.path() +
                                "' --batch 1000 --out '" + out + "'",
                            "ulimit -v 60000;");
  EXPECT_EQ(result.code, 1) << result.out;
  EXPECT_CONTAINS(result.err, "fovea: ", "memory");
  EXPECT_TRUE(read_file(out) == "old");
  EXPECT_EQ(folder_.entries(), 1);
}

TEST_F(Resume, CheckpointsOfOthersAreRefused) {
  const std::string folder = folder_ / "run";
  std::filesystem::create_directories(folder);
  for (const std::string& bytes : {std::string("garbage"), network}) {
    write_file(folder + "/last.checkpoint", bytes);
    const Result result = run("train --resume --run '" + folder + "'");
    EXPECT_EQ(result.code, 1);
    EXPECT_CONTAINS(result.err, "last.checkpoint");
  }
  stop_early(folder_ / "other");
  const Result evaluated =
      run("evaluate '" + (folder_ / "other/last.checkpoint") + "' --data '" + data() + "'");
  EXPECT_EQ(evaluated.code, 1);
  EXPECT_CONTAINS(evaluated.err, "the checkpoint of a training");
}

}  // namespace
}  // namespace fovea
