// A file that appears complete or not at all.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace fovea {

// Writes to a temporary beside `path`; commit() renames it into place. Without commit(), and after
// any failure up to the rename, the temporary is removed and what was at `path` is untouched. The
// temporary of a process that was killed is removed by the next one that writes to `path`.
class AtomicFile {
 public:
  // Throws Error, which starts with `op`, if the folder cannot be written to, or if `path` is there
  // and is not a regular file. A symbolic link is followed, also to where there is no file yet.
  AtomicFile(std::string op, const std::string& path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(const void* data, std::size_t bytes);
  // Returns when the file and its name are on the disk. If only the last step fails, flushing the
  // folder, it throws Error although the new file is in place: a power failure might undo the
  // rename.
  void commit();

 private:
  void open_temporary();
  [[noreturn]] void fail(int error);
  void remove_temporary() noexcept;

  std::string op_;
  std::string path_;
  std::string temporary_;
  int fd_ = -1;
};

// All of a file at once.
void write_text_file(const std::string& op, const std::string& path, std::string_view text);

}  // namespace fovea
