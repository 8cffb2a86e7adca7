// See peers.h. Standard input is an unnamed file, so that neither side ever waits for the other to
// read.
#include "peers.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <sstream>
#include <system_error>

namespace cli {
namespace {

namespace fs = std::filesystem;

constexpr const char* kProgram = "fovea-peers";

struct CloseFile {
  void operator()(std::FILE* file) const { std::fclose(file); }
};
using File = std::unique_ptr<std::FILE, CloseFile>;

[[noreturn]] void system_failure(int error, const std::string& what) {
  throw fovea::Error(
      fmt::format("{}: {}: {}", kProgram, what, std::generic_category().message(error)));
}

// Beside this program, in build/, or on PATH.
std::string find_program() {
  std::error_code ignored;
  std::vector<fs::path> folders = {fs::read_symlink("/proc/self/exe", ignored).parent_path(),
                                   "build"};
  const char* path = std::getenv("PATH");
  std::istringstream stream(path == nullptr ? "" : path);
  for (std::string folder; std::getline(stream, folder, ':');) folders.emplace_back(folder);
  for (const fs::path& folder : folders) {
    const fs::path program = folder / kProgram;
    if (fs::is_regular_file(program, ignored) && access(program.c_str(), X_OK) == 0) {
      return program.string();
    }
  }
  throw fovea::Error(fmt::format(
      "--peers: there is no program {} beside this one, in build/ or on PATH; it is built where "
      "the libraries to compare with are installed: ./dev setup --peers, then ./dev build",
      kProgram));
}

File input_file(const std::string& input) {
  File file(std::tmpfile());
  if (file == nullptr) system_failure(errno, "cannot make a temporary file");
  if (std::fwrite(input.data(), 1, input.size(), file.get()) != input.size() ||
      std::fflush(file.get()) != 0) {
    system_failure(errno, "cannot write a temporary file");
  }
  std::rewind(file.get());
  return file;
}

// A running process whose output can be read; waited for at the latest on destruction.
class Process {
 public:
  Process(const std::string& program, const std::vector<std::string>& arguments, int input) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) system_failure(errno, "cannot make a pipe");
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, input, STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
    std::vector<std::string> words = {program};
    words.insert(words.end(), arguments.begin(), arguments.end());
    std::vector<char*> pointers;
    for (std::string& word : words) pointers.push_back(word.data());
    pointers.push_back(nullptr);
    const int error =
        posix_spawn(&id_, program.c_str(), &actions, nullptr, pointers.data(), environ);
    posix_spawn_file_actions_destroy(&actions);
    close(ends[1]);
    output_.reset(fdopen(ends[0], "r"));
    if (error != 0) {
      id_ = 0;
      system_failure(error, "cannot start " + program);
    }
  }
  ~Process() { wait(); }
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  bool read_line(std::string& line) {
    line.clear();
    for (int c = std::getc(output_.get()); c != EOF; c = std::getc(output_.get())) {
      if (c == '\n') return true;
      line += static_cast<char>(c);
    }
    return !line.empty();
  }

  // The exit code; -1 if a signal ended it.
  int wait() {
    if (id_ == 0) return code_;
    output_.reset();  // a process that still writes is not waited for in vain
    int status = 0;
    while (waitpid(id_, &status, 0) < 0 && errno == EINTR) {
    }
    id_ = 0;
    code_ = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    return code_;
  }

 private:
  pid_t id_ = 0;
  int code_ = -1;
  File output_;
};

}  // namespace

void run_peers(const std::vector<std::string>& arguments, const std::string& input,
               const std::function<void(const Json&)>& each) {
  const std::string program = find_program();
  const File file = input_file(input);
  Process process(program, arguments, fileno(file.get()));
  std::string line;
  while (process.read_line(line)) {
    try {
      each(Json::parse(line));
    } catch (const Json::exception& error) {
      throw fovea::Error(fmt::format("{} printed a line that makes no sense: {} ({})", program,
                                     line, error.what()));
    }
  }
  const int code = process.wait();
  if (code != 0) throw fovea::Error(fmt::format("{} failed with exit code {}", program, code));
}

}  // namespace cli
