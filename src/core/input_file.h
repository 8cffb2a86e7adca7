// A regular file, opened for reading, whose size is known before anything is read from it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string>

namespace fovea {

class InputFile {
 public:
  // Throws Error, which starts with `op`, unless `path` is a regular file that can be read: a pipe
  // would wait for its writer, and a folder has no bytes.
  InputFile(std::string op, std::string path);
  ~InputFile();
  InputFile(const InputFile&) = delete;
  InputFile& operator=(const InputFile&) = delete;

  const std::string& path() const { return path_; }
  std::int64_t size() const { return size_; }
  // For libraries that read by themselves.
  std::FILE* stream() const { return stream_; }

  // Reads up to `bytes`; fewer only at the end of the file. Throws Error if the disk fails.
  std::size_t read(void* data, std::size_t bytes);
  // Throws Error if the file ends before `bytes` are read.
  void read_exactly(void* data, std::size_t bytes);

 private:
  std::string op_;
  std::string path_;
  std::FILE* stream_ = nullptr;
  std::int64_t size_ = 0;
};

// All of a file of at most `most` bytes. Throws Error, which starts with `op`.
std::string read_text_file(const std::string& op, const std::string& path,
                           std::int64_t most = INT64_MAX);

}  // namespace fovea
