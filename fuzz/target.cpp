// The checks behind every fuzz target, and files that lie in memory.
#include "target.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "core/printable.h"
#include "fovea/error.h"
#include "fovea/memory.h"

namespace fovea::fuzz {
namespace {

// Ends the run in a way that libFuzzer and replay.cpp both notice.
[[noreturn]] void fail(const char* what, std::string_view message) {
  std::fprintf(stderr, "fuzz: %s: %.*s\n", what, static_cast<int>(message.size()), message.data());
  std::abort();
}

// A file without a folder; reading it needs no disk.
class MemoryFile {
 public:
  explicit MemoryFile(const std::string& bytes) : fd_(::memfd_create("fuzz", MFD_CLOEXEC)) {
    if (fd_ < 0 || ::write(fd_, bytes.data(), bytes.size()) != static_cast<ssize_t>(bytes.size()))
      fail("no memory file", std::strerror(errno));
  }
  ~MemoryFile() { ::close(fd_); }
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;
  std::string path() const { return "/proc/self/fd/" + std::to_string(fd_); }

 private:
  int fd_;
};

}  // namespace

void expect_refusal_or_success(const std::function<void()>& parse, std::string_view name) {
  reset_high_water();
  try {
    parse();
  } catch (const Error& error) {
    const std::string_view message = error.what();
    if (message.find(name) == std::string_view::npos) fail("the message names no file", message);
    if (message != printable(message)) fail("the message is not printable", message);
  } catch (const std::exception& error) {
    fail("not fovea::Error", error.what());
  }
  if (memory_stats().high_water > kMaxMemory)
    fail("too much memory", std::to_string(memory_stats().high_water));
}

void expect_refusal_or_success(const std::string& bytes,
                               const std::function<void(const std::string& path)>& parse) {
  const MemoryFile file(bytes);
  expect_refusal_or_success([&] { parse(file.path()); }, file.path());
}

std::string safetensors_of(const std::string& input) {
  constexpr std::size_t kLead = 3;
  if (input.empty() || input[0] == 0) return input.empty() ? input : input.substr(1);
  if (input.size() < kLead) return {};
  const std::size_t groups = static_cast<unsigned char>(input[1]) +
                             std::size_t{static_cast<unsigned char>(input[2])} * 256;
  const std::string header = input.substr(kLead);
  const std::uint64_t length = header.size();
  std::string file(sizeof(length), '\0');
  std::memcpy(file.data(), &length, sizeof(length));
  return file + header + std::string(4 * groups, '\0');
}

}  // namespace fovea::fuzz
