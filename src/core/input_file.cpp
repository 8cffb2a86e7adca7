// Files from outside: opened without waiting, refused unless regular, every read checked.
#include "core/input_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "core/check.h"

namespace fovea {
namespace {

[[noreturn]] void fail(int fd, const std::string& op, const std::string& path, const char* why) {
  if (fd >= 0) ::close(fd);
  throw_error(fmt::format("{}: cannot read '{}': {}", op, path, why));
}

}  // namespace

InputFile::InputFile(std::string op, std::string path)
    : op_(std::move(op)), path_(std::move(path)) {
  FOVEA_CHECK(path_.find('\0') == std::string::npos, "{}: the file name holds a zero byte", op_);
  // O_NONBLOCK: opening a named pipe must not wait. It changes nothing for regular files.
  const int fd = ::open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) fail(fd, op_, path_, std::strerror(errno));
  struct stat status {};
  if (::fstat(fd, &status) != 0) fail(fd, op_, path_, std::strerror(errno));
  if (S_ISDIR(status.st_mode)) fail(fd, op_, path_, "it is a folder, expected a file");
  if (!S_ISREG(status.st_mode)) fail(fd, op_, path_, "it is not a regular file");
  size_ = status.st_size;
  stream_ = ::fdopen(fd, "rb");
  if (stream_ == nullptr) fail(fd, op_, path_, std::strerror(errno));
}

InputFile::~InputFile() {
  std::fclose(stream_);
}

std::size_t InputFile::read(void* data, std::size_t bytes) {
  const std::size_t count = std::fread(data, 1, bytes, stream_);
  FOVEA_CHECK(count == bytes || std::ferror(stream_) == 0, "{}: cannot read '{}': {}", op_, path_,
              std::strerror(errno));
  return count;
}

void InputFile::read_exactly(void* data, std::size_t bytes) {
  const std::size_t count = read(data, bytes);
  FOVEA_CHECK(count == bytes, "{}: '{}' ends {} bytes too early: it is truncated", op_, path_,
              bytes - count);
}

std::string read_text_file(const std::string& op, const std::string& path, std::int64_t most) {
  InputFile file(op, path);
  FOVEA_CHECK(file.size() <= most, "{}: '{}' has {} bytes, more than the {} that are expected", op,
              path, file.size(), most);
  std::string text(static_cast<std::size_t>(file.size()), '\0');
  file.read_exactly(text.data(), text.size());
  return text;
}

}  // namespace fovea
