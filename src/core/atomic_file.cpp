// Replacing a file: write beside it, flush to the disk, rename, flush the folder. A rename within a
// folder is atomic, so a reader, a crash or a full disk sees the old file or the new one.
//
// A process that is killed leaves its temporary behind; the next one that writes the same file
// removes it. Who writes a temporary holds a lock on it, so one that can be locked is nobody's.
#include "core/atomic_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <string_view>
#include <system_error>
#include <utility>

#include "core/check.h"

namespace fovea {
namespace {

// Where a chain of symbolic links leads, whether or not there is a file at its end.
std::string resolve(std::filesystem::path path) {
  constexpr int kMostLinks = 40;  // as Linux has it; stat() has refused longer chains
  std::error_code no_link;
  for (int i = 0; i < kMostLinks; ++i) {
    const std::filesystem::path target = std::filesystem::read_symlink(path, no_link);
    if (no_link) break;
    path = path.parent_path() / target;  // the target alone if it is absolute
  }
  return path.string();
}

std::string folder_of(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

constexpr std::string_view kTemporary = ".tmp-";  // PATH.tmp-PROCESS-NUMBER

// Whether `name` is that of a temporary of the file called `file`.
bool is_temporary(std::string_view name, std::string_view file) {
  if (!name.starts_with(file)) return false;
  name.remove_prefix(file.size());
  if (!name.starts_with(kTemporary)) return false;
  name.remove_prefix(kTemporary.size());
  const std::size_t dash = name.find('-');
  const auto is_number = [](std::string_view text) {
    return !text.empty() &&
           std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
  };
  return dash != std::string_view::npos && is_number(name.substr(0, dash)) &&
         is_number(name.substr(dash + 1));
}

void remove_leftovers(const std::string& path) {
  const std::string file = std::filesystem::path(path).filename().string();
  std::error_code failed;  // whoever may write to a folder need not be allowed to list it
  std::filesystem::directory_iterator entry(folder_of(path), failed);
  for (; !failed && entry != std::filesystem::directory_iterator(); entry.increment(failed)) {
    if (!is_temporary(entry->path().filename().string(), file)) continue;
    const std::string leftover = entry->path().string();
    const int fd = ::open(leftover.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0) continue;
    if (::flock(fd, LOCK_EX | LOCK_NB) == 0) ::unlink(leftover.c_str());
    ::close(fd);
  }
}

std::string explain(int error) {
  if (error == ENOSPC || error == EDQUOT) {
    return fmt::format("the disk is full ({})", std::strerror(error));
  }
  return std::strerror(error);
}

// The rename itself must survive a power failure. Some file systems cannot flush a folder (EINVAL);
// they give no better promise.
int flush_folder(const std::string& folder) {
  const int fd = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return errno == EACCES ? 0 : errno;  // a folder may be writable and not readable
  const int error = ::fsync(fd) == 0 || errno == EINVAL || errno == ENOTSUP ? 0 : errno;
  ::close(fd);
  return error;
}

}  // namespace

AtomicFile::AtomicFile(std::string op, const std::string& path) : op_(std::move(op)), path_(path) {
  FOVEA_CHECK(!path.empty() && path.find('\0') == std::string::npos,
              "{}: the name of the file to write is empty or holds a zero byte", op_);
  struct stat old {};
  const bool exists = ::stat(path_.c_str(), &old) == 0;
  if (!exists && errno != ENOENT) fail(errno);
  // A rename would replace a device or a pipe by a plain file.
  FOVEA_CHECK(
      !exists || S_ISREG(old.st_mode), "{}: cannot write '{}': {}", op_, path_,
      S_ISDIR(old.st_mode) ? "it is a folder, expected a file" : "it is not a regular file");
  path_ = resolve(path_);
  remove_leftovers(path_);
  open_temporary();
  if (exists && ::fchmod(fd_, old.st_mode & 07777) != 0) fail(errno);
}

AtomicFile::~AtomicFile() {
  remove_temporary();
}

void AtomicFile::open_temporary() {
  static std::atomic<std::uint64_t> counter{0};
  while (true) {
    temporary_ = fmt::format("{}{}{}-{}", path_, kTemporary, ::getpid(), counter.fetch_add(1));
    fd_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd_ < 0) {
      const int error = errno;
      temporary_.clear();
      if (error == EEXIST) continue;  // of a process with the same number, in another container
      fail(error);
    }
    ::flock(fd_, LOCK_EX);  // where there are no locks, nothing can be taken for a leftover either
    struct stat status {};
    if (::fstat(fd_, &status) == 0 && status.st_nlink > 0) return;
    ::close(std::exchange(fd_, -1));  // removed before it was locked
  }
}

void AtomicFile::write(const void* data, std::size_t bytes) {
  const auto* cursor = static_cast<const char*>(data);
  while (bytes > 0) {
    const ssize_t written = ::write(fd_, cursor, bytes);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) fail(errno);
    cursor += written;
    bytes -= static_cast<std::size_t>(written);
  }
}

void AtomicFile::commit() {
  if (::fsync(fd_) != 0) fail(errno);
  if (::rename(temporary_.c_str(), path_.c_str()) != 0) fail(errno);
  temporary_.clear();
  ::close(
      std::exchange(fd_, -1));  // not earlier, for the lock; all is written, so nothing can fail
  if (const int error = flush_folder(folder_of(path_)); error != 0) fail(error);
}

void AtomicFile::fail(int error) {
  remove_temporary();
  std::error_code ignored;
  const std::string folder = folder_of(path_);
  const bool no_folder = error == ENOENT && !std::filesystem::exists(folder, ignored);
  throw_error(
      fmt::format("{}: cannot write '{}': {}", op_, path_,
                  no_folder ? fmt::format("there is no folder '{}'", folder) : explain(error)));
}

void AtomicFile::remove_temporary() noexcept {
  if (fd_ >= 0) ::close(std::exchange(fd_, -1));
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
  temporary_.clear();
}

void write_text_file(const std::string& op, const std::string& path, std::string_view text) {
  AtomicFile file(op, path);
  file.write(text.data(), text.size());
  file.commit();
}

}  // namespace fovea
