// Ctrl-C and other friendly requests to stop, noticed between two steps.
#pragma once

#include <stdexcept>
#include <string>

namespace cli {

// From now on SIGINT, SIGTERM and, unless it is ignored as under nohup, SIGHUP only leave a note.
// The second of them ends the program at once.
void catch_interrupts();
// The signal that came, or 0.
int interrupted();

// The work was stopped by a signal, and saved. The program exits with 128 + signal, as a shell
// reports it.
class Interrupted : public std::runtime_error {
 public:
  Interrupted(int signal, const std::string& message)
      : std::runtime_error(message), signal_(signal) {}
  int exit_code() const { return 128 + signal_; }

 private:
  int signal_;
};

}  // namespace cli
