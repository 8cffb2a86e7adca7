// See interrupt.h. The handler does only what a signal handler may.
#include "interrupt.h"

#include <unistd.h>

#include <csignal>
#include <string_view>

namespace cli {
namespace {

volatile std::sig_atomic_t caught = 0;

void note(int signal) {
  if (caught != 0) ::_exit(128 + signal);
  caught = signal;
  constexpr std::string_view kNews = "\nstopping after this batch; once more quits at once\n";
  if (isatty(STDERR_FILENO) == 1) {
    [[maybe_unused]] const ssize_t ignored = ::write(STDERR_FILENO, kNews.data(), kNews.size());
  }
}

}  // namespace

void catch_interrupts() {
  struct sigaction action {};
  action.sa_handler = note;
  action.sa_flags = SA_RESTART;  // reads and writes go on
  sigemptyset(&action.sa_mask);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    struct sigaction before {};
    sigaction(signal, nullptr, &before);
    if (signal != SIGHUP || before.sa_handler != SIG_IGN) sigaction(signal, &action, nullptr);
  }
}

int interrupted() {
  return caught;
}

}  // namespace cli
