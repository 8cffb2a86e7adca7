// What a training leaves on the disk: the network, the checkpoint, and the log, in a folder of its
// own (--run) or beside --out.
#pragma once

#include <cstdint>
#include <string>

namespace cli {

struct TrainFiles {
  std::string folder;      // of --run; empty without
  std::string network;     // model.fovea, or --out
  std::string checkpoint;  // last.checkpoint, or beside --out
  std::string log;         // log.jsonl, or --log; may be empty
  // In the folder only:
  std::string config;     // config.json: the settings
  std::string best;       // best.fovea, by validation accuracy
  std::string curves;     // curves.svg
  std::string confusion;  // confusion.svg
  std::string resume;     // the command that goes on
};

// Of `fovea train --run RUN`, or of `--out OUT --log LOG`. Throws Misuse if two of them are the
// same file.
TrainFiles train_files(const std::string& run, const std::string& out, const std::string& log);

// A folder in which one process at a time may train; free again when the process ends, however it
// ends. Makes the folder if it is missing.
class FolderLock {
 public:
  FolderLock() = default;
  // Throws Error if another process trains there, or if it cannot be made.
  explicit FolderLock(const std::string& folder);
  ~FolderLock();
  FolderLock(FolderLock&& other) noexcept;
  FolderLock& operator=(FolderLock&& other) noexcept;

 private:
  int fd_ = -1;
};

// One line per epoch, each on the disk before append() returns. Its text is kept, for checkpoints:
// with it, the log of a training that goes on is put right, whatever state it was left in.
class EpochLog {
 public:
  explicit EpochLog(std::string path) : path_(std::move(path)) {}
  ~EpochLog();
  EpochLog(const EpochLog&) = delete;
  EpochLog& operator=(const EpochLog&) = delete;

  // Goes on behind `text`, the lines up to a checkpoint. A torn line and lines of epochs that will
  // be trained again are dropped, lost ones are written again. Throws Error if the file holds
  // anything else, which is not of this training.
  void resume(const std::string& text);
  // From the first epoch on; empties the file.
  void start();
  void append(const std::string& line);
  const std::string& text() const { return text_; }

 private:
  void open();
  void write(const std::string& text);
  [[noreturn]] void fail() const;

  std::string path_;  // empty: there is no file
  std::string text_;
  int fd_ = -1;
};

}  // namespace cli
