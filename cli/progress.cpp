// See progress.h. The line is drawn over itself: carriage return, text, erase to the end of the
// line.
#include "progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <string_view>
#include <utility>

#include "support.h"

namespace cli {
namespace {

// A line can be drawn over itself on a terminal that knows how to clear it.
bool can_redraw() {
  const char* term = std::getenv("TERM");
  return isatty(STDERR_FILENO) == 1 && term != nullptr && std::string_view(term) != "dumb";
}

constexpr int kBarWidth = 24;
constexpr double kRedrawSeconds = 0.1;

std::string bar(double part) {
  const int filled = static_cast<int>(part * kBarWidth);
  return std::string(static_cast<std::size_t>(filled), '=') +
         std::string(static_cast<std::size_t>(kBarWidth - filled), ' ');
}

std::string clock_time(double seconds) {
  const auto whole = static_cast<std::int64_t>(std::llround(seconds));
  return whole < 3600 ? fmt::format("{}:{:02}", whole / 60, whole % 60)
                      : fmt::format("{}:{:02}:{:02}", whole / 3600, whole / 60 % 60, whole % 60);
}

}  // namespace

Progress::Progress(std::string label, std::int64_t total, std::int64_t first)
    : label_(std::move(label)),
      total_(std::max<std::int64_t>(total, 1)),
      first_(first),
      start_(seconds_now()),
      terminal_(can_redraw()) {}

Progress::~Progress() {
  clear();
}

void Progress::update(std::int64_t done, std::int64_t images, double loss) {
  if (!terminal_) return;
  const double now = seconds_now();
  if (now - last_drawn_ < kRedrawSeconds) return;
  last_drawn_ = now;
  const double elapsed = std::max(now - start_, 1e-9);
  const double left = elapsed * static_cast<double>(total_ - done) /
                      static_cast<double>(std::max<std::int64_t>(done - first_, 1));
  fmt::print(stderr, "\r{} [{}] {}/{}  {:.0f} images/s  {} left  loss {:.4f}\x1b[K", label_,
             bar(static_cast<double>(done) / static_cast<double>(total_)), done, total_,
             static_cast<double>(images) / elapsed, clock_time(left), loss);
  std::fflush(stderr);
}

void Progress::clear() {
  if (!terminal_ || last_drawn_ == 0) return;
  std::fputs("\r\x1b[K", stderr);
  std::fflush(stderr);
  last_drawn_ = 0;
}

}  // namespace cli
