// See arguments.h. The options start behind the last question mark, so a path may have others, as
// long as something stands behind it.
#include "data/arguments.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "core/check.h"
#include "core/printable.h"
#include "data/text.h"

namespace fovea::data {
namespace {

std::string list_of(const std::vector<SourceOption>& options) {
  std::string names;
  for (const SourceOption& option : options)
    names += fmt::format("{}{}", names.empty() ? "" : ", ", option.name);
  return names.empty() ? "none" : names;
}

bool parse(std::string_view text, std::int64_t& value) {
  const auto [after, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && after == text.data() + text.size() && !text.empty();
}

}  // namespace

Arguments::Arguments(const SourceDef& def, const std::string& text) : op_(def.name) {
  const std::size_t mark = text.rfind('?');
  path_ = text.substr(0, mark);
  std::string_view rest =
      mark == std::string::npos ? std::string_view{} : std::string_view(text).substr(mark + 1);
  while (!rest.empty()) {
    const std::string_view item = take_until(rest, '&');
    const std::size_t equals = item.find('=');
    FOVEA_CHECK(equals != std::string_view::npos,
                "{}: '{}' is no option; write KEY=VALUE, with & between several, as in "
                "{}{}{}?seed=1&validation=0.1",
                op_, printable(item), def.name, def.path.empty() ? "" : ":", def.path);
    const std::string_view key = item.substr(0, equals);
    FOVEA_CHECK(std::any_of(def.options.begin(), def.options.end(),
                            [&](const SourceOption& option) { return option.name == key; }),
                "{}: there is no option '{}'; there are: {}", op_, printable(key),
                list_of(def.options));
    FOVEA_CHECK(options_.emplace(key, item.substr(equals + 1)).second,
                "{}: the option '{}' is given twice", op_, key);
  }
  if (def.path.empty()) {
    FOVEA_CHECK(path_.empty(),
                "{0}: takes no folder, but '{1}' is given; mnist:{1} reads any "
                "folder of that format",
                op_, path_);
  } else {
    FOVEA_CHECK(!path_.empty(), "{0}: needs a path, as in {0}:{1}", op_, def.path);
  }
}

std::optional<std::string> Arguments::find(std::string_view key) const {
  const auto found = options_.find(key);
  return found == options_.end() ? std::nullopt : std::optional(found->second);
}

void Arguments::fail(std::string_view key, std::string_view expected) const {
  throw_error(fmt::format("{}: {} is '{}', expected {}", op_, key,
                          printable(find(key).value_or("")), expected));
}

std::int64_t Arguments::whole(std::string_view key, std::int64_t least, std::int64_t most,
                              std::int64_t fallback) const {
  const auto text = find(key);
  std::int64_t value = fallback;
  if (text && (!parse(*text, value) || value < least || value > most))
    fail(key, fmt::format("a whole number from {} to {}", least, most));
  return value;
}

double Arguments::number(std::string_view key, double least, double most, double fallback) const {
  const auto text = find(key);
  if (!text) return fallback;
  const auto value = number_of(*text);
  if (!value || !(*value >= least) || !(*value <= most))
    fail(key, fmt::format("a number from {} to {}", least, most));
  return *value;
}

std::size_t Arguments::choice(std::string_view key,
                              std::initializer_list<std::string_view> words) const {
  const auto text = find(key);
  if (!text) return 0;
  const auto* found = std::find(words.begin(), words.end(), *text);
  if (found != words.end()) return static_cast<std::size_t>(found - words.begin());
  std::string known;
  for (const std::string_view word : words)
    known += fmt::format("{}{}", known.empty() ? "" : ", ", word);
  fail(key, "one of " + known);
}

Shape Arguments::sizes(std::string_view key, int rank) const {
  constexpr std::int64_t kMost = 1 << 20;
  const auto text = find(key);
  if (!text) return {};
  Shape sizes;
  std::string_view rest = *text;
  bool good = !rest.empty();
  while (good && !rest.empty()) {
    std::int64_t size = 0;
    good = parse(take_until(rest, 'x'), size) && size >= 1 && size <= kMost && sizes.rank() < rank;
    if (good) sizes.push_back(size);
  }
  if (good && sizes.rank() == 1) sizes = Shape::filled(rank, sizes[0]);
  if (!good || sizes.rank() != rank)
    fail(key,
         fmt::format("a number, or {} numbers with an x between them, from 1 to {}", rank, kMost));
  return sizes;
}

}  // namespace fovea::data
