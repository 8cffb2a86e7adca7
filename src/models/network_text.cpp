// See network_text.h. The text is not trusted: it may come out of a model file.
#include "models/network_text.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <charconv>
#include <cmath>

#include "core/check.h"
#include "core/printable.h"

namespace fovea::models {
namespace {

constexpr std::int64_t kMostSize = 1 << 24;  // of any number in a network

std::vector<std::string> words_of(std::string_view text) {
  std::vector<std::string> words;
  constexpr std::string_view kSpace = " \t\r";
  while (true) {
    const std::size_t start = text.find_first_not_of(kSpace);
    if (start == std::string_view::npos || text[start] == '#') return words;
    text.remove_prefix(start);
    const std::size_t end = std::min(text.find_first_of(kSpace), text.size());
    words.emplace_back(text.substr(0, end));
    text.remove_prefix(end);
  }
}

}  // namespace

NetworkLine::NetworkLine(std::string place, std::string_view text) : place_(std::move(place)) {
  bool inputs = false;
  for (std::string& word : words_of(text)) {
    if (inputs) {
      inputs_.push_back(std::move(word));
    } else if (word == "<") {
      inputs = true;
    } else if (layer_.empty() && name_.empty() && word.ends_with(':')) {
      word.pop_back();
      name_ = std::move(word);
      if (name_.empty()) fail("there is no name before ':'");
    } else if (layer_.empty()) {
      layer_ = std::move(word);
    } else if (const std::size_t equals = word.find('='); equals != std::string::npos) {
      const auto [entry, fresh] = options_.emplace(word.substr(0, equals), word.substr(equals + 1));
      if (!fresh) fail(fmt::format("'{}' is given twice", entry->first));
    } else {
      arguments_.push_back(std::move(word));
    }
  }
  if (layer_.empty() && !name_.empty()) fail(fmt::format("'{}' names no layer", name_));
  if (inputs && layer_.empty()) fail("there is no layer before '<'");
  if (inputs && inputs_.empty()) fail("there is no name behind '<'");
}

void NetworkLine::fail(const std::string& complaint) const {
  throw_error(printable(fmt::format("{}: {}", place_, complaint)));
}

std::string NetworkLine::word(std::string_view what) {
  if (!has_argument()) fail(fmt::format("{} needs {}", layer_, what));
  return arguments_[next_++];
}

bool NetworkLine::takes(std::string_view word) {
  if (!has_argument() || arguments_[next_] != word) return false;
  ++next_;
  return true;
}

std::int64_t NetworkLine::integer(std::string_view what) {
  return to_integer(what, word(what));
}

double NetworkLine::number(std::string_view what) {
  return to_number(what, word(what));
}

Spatial NetworkLine::sizes(std::string_view what) {
  return Spatial(to_sizes(what, word(what)));
}

const std::string* NetworkLine::option(std::string_view key) {
  known_.emplace(key);
  const auto found = options_.find(key);
  return found == options_.end() ? nullptr : &found->second;
}

std::int64_t NetworkLine::integer(std::string_view key, std::int64_t otherwise) {
  const std::string* const text = option(key);
  return text == nullptr ? otherwise : to_integer(key, *text);
}

double NetworkLine::number(std::string_view key, double otherwise) {
  const std::string* const text = option(key);
  return text == nullptr ? otherwise : to_number(key, *text);
}

bool NetworkLine::flag(std::string_view key, bool otherwise) {
  const std::string* const text = option(key);
  if (text == nullptr) return otherwise;
  if (*text != "true" && *text != "false")
    fail(fmt::format("{}={} is neither true nor false", key, *text));
  return *text == "true";
}

Spatial NetworkLine::sizes(std::string_view key, std::int64_t otherwise) {
  const std::string* const text = option(key);
  return text == nullptr ? Spatial(otherwise) : Spatial(to_sizes(key, *text));
}

Padding NetworkLine::padding() {
  const std::string* const text = option("padding");
  if (text == nullptr) return 0;
  if (*text == "same") return Padding::same();
  if (*text == "same_lower") return Padding::same_lower();
  if (*text == "full") return Padding::full();
  const Shape amounts = to_sizes("padding", *text);
  if (amounts.rank() == 1) return amounts[0];
  std::vector<Sides> sides;
  for (const std::int64_t amount : amounts) sides.push_back({amount, amount});
  return Padding(std::move(sides));
}

std::string NetworkLine::word(std::string_view key, std::string_view otherwise) {
  const std::string* const text = option(key);
  return text == nullptr ? std::string(otherwise) : *text;
}

void NetworkLine::finish() const {
  if (has_argument()) fail(fmt::format("{} has no use for '{}'", layer_, arguments_[next_]));
  for (const auto& [key, value] : options_) {
    if (known_.contains(key)) continue;
    fail(known_.empty() ? fmt::format("{} has no options, but '{}' is given", layer_, key)
                        : fmt::format("{} has no option '{}'; it has {}", layer_, key,
                                      fmt::join(known_, ", ")));
  }
}

std::int64_t NetworkLine::to_integer(std::string_view what, const std::string& text) const {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || std::abs(value) > kMostSize)
    fail(fmt::format("{} of {} must be a whole number, but is '{}'", what, layer_, text));
  return value;
}

double NetworkLine::to_number(std::string_view what, const std::string& text) const {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(value))
    fail(fmt::format("{} of {} must be a number, but is '{}'", what, layer_, text));
  return value;
}

Shape NetworkLine::to_sizes(std::string_view what, const std::string& text) const {
  Shape sizes;
  std::size_t start = 0;
  while (true) {
    const std::size_t end = std::min(text.find('x', start), text.size());
    if (sizes.rank() == kMaxRank) fail(fmt::format("{} of {} has too many sizes", what, layer_));
    sizes.push_back(to_integer(what, text.substr(start, end - start)));
    if (end == text.size()) return sizes;
    start = end + 1;
  }
}

}  // namespace fovea::models
