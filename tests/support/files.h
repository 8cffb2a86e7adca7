// Files of tests: a folder of one's own, whole files as strings, a disk that gets full.
#pragma once

#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/mount.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

namespace fovea::testing {

// A new folder that is removed with all that it holds.
class TempFolder {
 public:
  TempFolder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "fovea-test-XXXXXX").string();
    path_ = ::mkdtemp(pattern.data());
  }
  ~TempFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;

  const std::string& path() const { return path_; }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }
  // How many files and folders it holds.
  std::ptrdiff_t entries() const {
    return std::distance(std::filesystem::directory_iterator(path_),
                         std::filesystem::directory_iterator());
  }

 private:
  std::string path_;
};

inline void write_file(const std::string& path, const std::string& bytes) {
  // ext4 flushes a file to the disk that is truncated and rewritten, which is slow; a new one it
  // does not.
  std::error_code ignored;
  std::filesystem::remove(path, ignored);
  std::ofstream(path, std::ios::binary) << bytes;
}

inline std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// A small file system, for tests of a full disk. Mounting one needs root; without, mounted() is
// false.
class SmallDisk {
 public:
  explicit SmallDisk(const std::string& size = "64k")
      : mounted_(::mount("tmpfs", folder_.path().c_str(), "tmpfs", 0, ("size=" + size).c_str()) ==
                 0) {}
  ~SmallDisk() {
    if (mounted_) ::umount(folder_.path().c_str());
  }
  SmallDisk(const SmallDisk&) = delete;
  SmallDisk& operator=(const SmallDisk&) = delete;

  bool mounted() const { return mounted_; }
  bool make_read_only() const {
    return ::mount("tmpfs", folder_.path().c_str(), "tmpfs", MS_REMOUNT | MS_RDONLY, "") == 0;
  }
  const TempFolder& folder() const { return folder_; }

 private:
  TempFolder folder_;
  bool mounted_;
};

// The folder of large data that does not belong to the project; it need not exist.
inline std::string shared_folder() {
  const char* named = std::getenv("FOVEA_SHARED");
  return named != nullptr ? named : FOVEA_SOURCE_DIR "/../shared";
}

}  // namespace fovea::testing
