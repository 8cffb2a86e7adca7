// A program that runs while a test looks on, and folders whose changes can be waited for.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/inotify.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <string>
#include <utility>
#include <vector>

#include "support/files.h"

namespace fovea::testing {

// A child process; killed, if it still runs, with the object.
class Process {
 public:
  // Its output goes to the files `OUTPUT.out` and `OUTPUT.err`.
  Process(const std::string& program, const std::vector<std::string>& arguments,
          const std::string& output)
      : output_(output) {
    std::vector<char*> argv = {const_cast<char*>(program.c_str())};
    for (const std::string& argument : arguments)
      argv.push_back(const_cast<char*>(argument.c_str()));
    argv.push_back(nullptr);
    const std::string out = output + ".out";
    const std::string err = output + ".err";
    pid_ = ::fork();
    if (pid_ != 0) return;
    ::dup2(::open(out.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600), STDOUT_FILENO);
    ::dup2(::open(err.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600), STDERR_FILENO);
    for (const int number : {SIGINT, SIGTERM, SIGHUP}) ::signal(number, SIG_DFL);
    ::execv(program.c_str(), argv.data());
    ::_exit(127);
  }
  ~Process() {
    if (!ended_) {
      signal(SIGKILL);
      wait();
    }
  }
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  void signal(int number) const { ::kill(pid_, number); }

  // The exit code, or minus the signal that killed it.
  int wait() {
    int status = 0;
    ::waitpid(pid_, &status, 0);
    ended_ = true;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }

  std::string out() const { return read_file(output_ + ".out"); }
  std::string err() const { return read_file(output_ + ".err"); }

 private:
  std::string output_;
  pid_t pid_ = -1;
  bool ended_ = false;
};

// What happens to the files of a folder, in order.
class FolderWatch {
 public:
  explicit FolderWatch(const std::string& folder) : fd_(::inotify_init1(IN_CLOEXEC)) {
    ::inotify_add_watch(fd_, folder.c_str(), IN_CREATE | IN_MODIFY | IN_MOVED_TO);
  }
  ~FolderWatch() { ::close(fd_); }
  FolderWatch(const FolderWatch&) = delete;
  FolderWatch& operator=(const FolderWatch&) = delete;

  struct Event {
    std::uint32_t what = 0;  // IN_CREATE and so on; 0: nothing happened for a long time
    std::string name;
  };

  Event next() {
    constexpr int kPatience = 60'000;  // milliseconds
    pollfd waiting{.fd = fd_, .events = POLLIN, .revents = 0};
    if (events_.empty() && ::poll(&waiting, 1, kPatience) == 1) receive();
    if (events_.empty()) return {};
    Event event = std::move(events_.front());
    events_.pop_front();
    return event;
  }

  // Waits until this happens to a file whose name starts so.
  ::testing::AssertionResult await(std::uint32_t what, const std::string& start) {
    while (true) {
      const Event event = next();
      if (event.what == 0) return ::testing::AssertionFailure() << "nothing became of " << start;
      if ((event.what & what) != 0 && event.name.starts_with(start))
        return ::testing::AssertionSuccess();
    }
  }

 private:
  void receive() {
    alignas(inotify_event) char buffer[4096];
    const ssize_t count = ::read(fd_, buffer, sizeof(buffer));
    for (ssize_t at = 0; at < count;) {
      inotify_event event{};
      std::memcpy(&event, buffer + at, sizeof(event));
      events_.push_back({event.mask, event.len > 0 ? buffer + at + sizeof(event) : ""});
      at += static_cast<ssize_t>(sizeof(event) + event.len);
    }
  }

  int fd_;
  std::deque<Event> events_;
};

}  // namespace fovea::testing
