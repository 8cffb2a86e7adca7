// Runs a fuzz target without libFuzzer: on every file of a corpus and on changed copies of it. The
// changes are a function of the name of the file, so each run is the same. An input that fails is
// left in the file TARGET.crash of the working folder.
// usage: fuzz_TARGET_replay CORPUS [INPUTS]   (INPUTS: about how many, all files together)
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

#include "target.h"

namespace {

// What runs now, for the signal handler.
const std::string* running = nullptr;
std::string crash_file;

void keep_input(int signal) {
  const int fd = ::open(crash_file.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd >= 0 && running != nullptr) {
    [[maybe_unused]] const auto written = ::write(fd, running->data(), running->size());
  }
  std::signal(signal, SIG_DFL);
  std::raise(signal);
}

void run(const std::string& input) {
  running = &input;
  LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(input.data()), input.size());
  running = nullptr;
}

using Random = std::mt19937_64;

std::size_t below(Random& random, std::size_t end) {
  return end == 0 ? 0 : random() % end;
}

// One to four flips, cuts, insertions or copies of a part.
std::string change(std::string input, Random& random) {
  for (std::size_t changes = 1 + below(random, 4); changes > 0; --changes) {
    const std::size_t place = below(random, input.size());
    const std::size_t length = 1 + below(random, 8);
    switch (random() % 5) {
      case 0:
        if (!input.empty()) input[place] = static_cast<char>(input[place] ^ (1 << random() % 8));
        break;
      case 1:
        if (!input.empty()) input[place] = static_cast<char>(random());
        break;
      case 2:
        input.resize(place);
        break;
      case 3:
        input.insert(place, std::string(length, static_cast<char>(random())));
        break;
      default:
        input.insert(below(random, input.size()), input.substr(place, length));
    }
  }
  return input;
}

std::string read_file(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

int replay(const std::string& folder, std::size_t inputs) {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) files.push_back(entry);
  std::sort(files.begin(), files.end());
  if (files.empty()) {
    std::fprintf(stderr, "replay: '%s' is empty\n", folder.c_str());
    return 1;
  }
  const std::size_t changed = inputs / files.size();
  for (const auto& path : files) {
    const std::string seed = read_file(path);
    run(seed);
    const std::string name = path.filename();
    std::seed_seq words(name.begin(), name.end());
    Random random(words);
    for (std::size_t i = 0; i < changed; ++i) run(change(seed, random));
  }
  std::printf("%zu files, each with %zu changed copies\n", files.size(), changed);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2 || argc > 3) {
    std::fprintf(stderr, "usage: %s CORPUS [INPUTS]\n", argv[0]);
    return 2;
  }
  crash_file = std::filesystem::path(argv[1]).filename().string() + ".crash";
  for (const int signal : {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL})
    std::signal(signal, keep_input);
  constexpr std::size_t kInputs = 4000;
  return replay(argv[1], argc == 3 ? std::strtoull(argv[2], nullptr, 10) : kInputs);
}
