// See train_files.h.
#include "train_files.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <fovea/fovea.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <utility>

#include "commands.h"
#include "support.h"

namespace cli {
namespace {

constexpr std::string_view kNetworkExtension = ".fovea";

// Where a path leads, as far as it exists.
std::filesystem::path canonical(const std::string& path) {
  std::error_code failed;
  // Of a relative path, only what exists would be made absolute.
  std::filesystem::path found =
      std::filesystem::weakly_canonical(std::filesystem::current_path(failed) / path, failed);
  return failed ? std::filesystem::path(path) : found;
}

// As a shell reads it back.
std::string quoted(const std::string& word) {
  const bool plain = !word.empty() && std::all_of(word.begin(), word.end(), [](unsigned char c) {
    return std::isalnum(c) != 0 ||
           std::string_view("/._-+=:,@%").find(static_cast<char>(c)) != std::string_view::npos;
  });
  if (plain) return word;
  std::string result = "'";
  for (const char c : word) result += c == '\'' ? "'\\''" : std::string(1, c);
  return result + "'";
}

// The first `most` bytes of a regular file; nothing if there is none.
std::string head_of(const std::string& path, std::size_t most) {
  std::error_code ignored;
  std::string text;
  if (!std::filesystem::is_regular_file(path, ignored)) return text;
  std::ifstream file(path, std::ios::binary);
  text.resize(most);
  file.read(text.data(), static_cast<std::streamsize>(most));
  text.resize(static_cast<std::size_t>(file.gcount()));
  return text;
}

// Whether one of the two starts with the other.
bool agree(std::string_view a, std::string_view b) {
  const std::size_t common = std::min(a.size(), b.size());
  return a.substr(0, common) == b.substr(0, common);
}

}  // namespace

TrainFiles train_files(const std::string& run, const std::string& out, const std::string& log) {
  if (!run.empty()) {
    const std::filesystem::path folder(run);
    return {.folder = run,
            .network = folder / "model.fovea",
            .checkpoint = folder / "last.checkpoint",
            .log = folder / "log.jsonl",
            .config = folder / "config.json",
            .best = folder / "best.fovea",
            .curves = folder / "curves.svg",
            .confusion = folder / "confusion.svg",
            .resume = fmt::format("fovea train --resume --run {}", quoted(run))};
  }
  TrainFiles files;
  std::string stem = out;
  if (stem.ends_with(kNetworkExtension)) stem.resize(stem.size() - kNetworkExtension.size());
  files.network = out;
  files.checkpoint = stem + ".checkpoint";
  files.log = log;
  files.resume = fmt::format("fovea train --resume --out {}", quoted(out));
  if (log.empty()) return files;
  if (canonical(log) == canonical(out))
    throw Misuse(fmt::format("--log and --out are the same file, '{}'", out));
  if (canonical(log) == canonical(files.checkpoint))
    throw Misuse(fmt::format("--log names '{}', where the checkpoint goes", log));
  return files;
}

FolderLock::FolderLock(const std::string& folder) {
  std::error_code failed;
  std::filesystem::create_directories(folder, failed);
  if (failed) throw fovea::Error(fmt::format("cannot make '{}': {}", folder, failed.message()));
  fd_ = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd_ < 0)
    throw fovea::Error(fmt::format("cannot open '{}': {}", folder, std::strerror(errno)));
  // A file system without locks has none to offer.
  if (::flock(fd_, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
    ::close(std::exchange(fd_, -1));
    throw fovea::Error(fmt::format("another process is training in '{}'", folder));
  }
}

FolderLock::~FolderLock() {
  if (fd_ >= 0) ::close(fd_);
}

FolderLock::FolderLock(FolderLock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}

FolderLock& FolderLock::operator=(FolderLock&& other) noexcept {
  std::swap(fd_, other.fd_);
  return *this;
}

EpochLog::~EpochLog() {
  if (fd_ >= 0) ::close(fd_);
}

void EpochLog::start() {
  if (path_.empty()) return;
  open();
  if (::ftruncate(fd_, 0) != 0 && errno != EINVAL) fail();  // EINVAL: a pipe or a terminal
}

void EpochLog::resume(const std::string& text) {
  text_ = text;
  if (path_.empty()) return;
  const auto epochs = std::count(text.begin(), text.end(), '\n');
  const std::string next = fmt::format("{{\"epoch\":{},", epochs + 1);
  const std::string found = head_of(path_, text.size() + next.size());
  if (!agree(found, text + next)) {
    throw fovea::Error(
        fmt::format("'{}' is not the log of this training: it differs from what the checkpoint "
                    "remembers of its {} epochs. Move it away to go on with a new one",
                    path_, epochs));
  }
  open();
  const std::size_t kept = std::min(found.size(), text.size());
  if (found.size() > text.size() && ::ftruncate(fd_, static_cast<off_t>(kept)) != 0) fail();
  write(text.substr(kept));
}

void EpochLog::append(const std::string& line) {
  text_ += line + '\n';
  if (!path_.empty()) write(line + '\n');
}

void EpochLog::open() {
  fd_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (fd_ < 0) fail();
}

void EpochLog::write(const std::string& text) {
  for (std::size_t done = 0; done < text.size();) {
    const ssize_t count = ::write(fd_, text.data() + done, text.size() - done);
    if (count < 0 && errno != EINTR) fail();
    if (count > 0) done += static_cast<std::size_t>(count);
  }
  if (::fsync(fd_) != 0 && errno != EINVAL && errno != ENOTSUP && errno != EROFS) fail();
}

void EpochLog::fail() const {
  const int error = errno;
  std::string why = std::strerror(error);
  if (error == ENOSPC || error == EDQUOT) why = fmt::format("the disk is full ({})", why);
  const std::filesystem::path folder = std::filesystem::path(path_).parent_path();
  std::error_code ignored;
  if (error == ENOENT && !folder.empty() && !std::filesystem::exists(folder, ignored))
    why = fmt::format("there is no folder '{}'", folder.string());
  throw fovea::Error(fmt::format("cannot write '{}': {}", path_, why));
}

}  // namespace cli
