// The progress bar: one line on stderr while it is a terminal, nothing otherwise.
#pragma once

#include <cstdint>
#include <string>

namespace cli {

class Progress {
 public:
  // `total` batches, of which `first` were done before.
  Progress(std::string label, std::int64_t total, std::int64_t first = 0);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  // After `done` batches, with `images` images in those that were not done before; redraws at most
  // ten times a second.
  void update(std::int64_t done, std::int64_t images, double loss);
  // Wipes the line, so that what is printed next starts on a clean one.
  void clear();

 private:
  std::string label_;
  std::int64_t total_;
  std::int64_t first_;
  double start_;
  double last_drawn_ = 0;
  bool terminal_;
};

}  // namespace cli
