// The text format .ts of sktime and the UEA archive of time series: comments (#), settings (@),
// then a line per sample behind @data: the channels' values, a colon between channels, and the
// class behind the last colon. "?" and NaN mean that a value is missing. (sktime.net, "Loading data
// in .ts format")
//
// The file is not trusted; what is kept is at most a small multiple of its size.
#include <algorithm>
#include <cmath>
#include <limits>
#include <string_view>

#include "core/check.h"
#include "core/input_file.h"
#include "core/printable.h"
#include "data/text.h"
#include "fovea/readers.h"

namespace fovea::data {
namespace {

class TsParser {
 public:
  TsParser(const std::string& path, std::string_view text) : path_(path), rest_(text) {}

  Series parse() {
    while (!rest_.empty()) {
      std::string_view line = trimmed(take_line(rest_));
      ++line_;
      if (line.empty() || line.starts_with('#')) continue;
      if (in_data_)
        sample(line);
      else
        setting(line);
    }
    FOVEA_CHECK(in_data_, "read_ts: '{}' has no line @data: it is no .ts file, or truncated",
                path_);
    return std::move(series_);
  }

 private:
  [[noreturn]] void fail(const std::string& why) const {
    throw_error(fmt::format("read_ts: '{}', line {}: {}", path_, line_, why));
  }

  void setting(std::string_view line) {
    if (!line.starts_with('@'))
      fail(fmt::format("expected a setting such as @classLabel, or @data, got '{}'",
                       printable(line.substr(0, 20))));
    const std::string_view name = take_word(line);
    if (equal_words(name, "@data")) {
      if (!labels_known_) fail("@data comes before @classLabel");
      in_data_ = true;
    } else if (equal_words(name, "@timestamps")) {
      if (equal_words(take_word(line), "true")) fail("series with time stamps cannot be read");
    } else if (equal_words(name, "@targetlabel")) {
      if (equal_words(take_word(line), "true"))
        fail("the series have numbers as their targets, not classes");
    } else if (equal_words(name, "@classlabel")) {
      labels_known_ = true;
      labelled_ = equal_words(take_word(line), "true");
      while (labelled_ && !trimmed(line).empty()) add_class(take_word(line));
      if (labelled_ && series_.classes.empty()) fail("@classLabel true names no classes");
    }
  }

  static std::string_view take_word(std::string_view& line) {
    line = trimmed(line);
    const std::string_view word = line.substr(0, line.find_first_of(" \t"));
    line.remove_prefix(word.size());
    return word;
  }

  void add_class(std::string_view name) {
    const std::string printed = printable(name);
    if (std::find(series_.classes.begin(), series_.classes.end(), printed) != series_.classes.end())
      fail(fmt::format("the class '{}' is named twice", printed));
    series_.classes.push_back(printed);
  }

  void sample(std::string_view line) {
    if (labelled_) {
      const std::size_t colon = line.rfind(':');
      if (colon == std::string_view::npos) fail("there is no colon before a class");
      series_.labels.push_back(label_of(trimmed(line.substr(colon + 1))));
      line = line.substr(0, colon);
    }
    std::vector<float> values;
    std::int64_t channels = 0;
    std::int64_t steps = 0;
    do {
      const auto before = static_cast<std::int64_t>(values.size());
      channel(take_until(line, ':'), values);
      const std::int64_t count = static_cast<std::int64_t>(values.size()) - before;
      if (channels > 0 && count != steps)
        fail(fmt::format("channel {} has {} values, but those before it have {}", channels + 1,
                         count, steps));
      steps = count;
      ++channels;
    } while (!line.empty());
    series_.values.push_back(Tensor::from(values, {channels, steps}));
  }

  std::int64_t label_of(std::string_view text) const {
    const std::string name = printable(text);
    const auto found = std::find(series_.classes.begin(), series_.classes.end(), name);
    if (found == series_.classes.end())
      fail(fmt::format("there is no class '{}' in the line @classLabel", name));
    return found - series_.classes.begin();
  }

  void channel(std::string_view text, std::vector<float>& values) const {
    do {
      const std::string_view word = trimmed(take_until(text, ','));
      const std::optional<double> value = word == "?" ? NAN : number_of(word);
      if (!value) fail(fmt::format("'{}' is no number", printable(word.substr(0, 20))));
      values.push_back(static_cast<float>(*value));
    } while (!text.empty());
  }

  const std::string& path_;
  std::string_view rest_;
  std::int64_t line_ = 0;
  bool in_data_ = false;
  bool labels_known_ = false;
  bool labelled_ = false;
  Series series_;
};

}  // namespace

Series read_ts(const std::string& path) {
  const std::string text = read_text_file("read_ts", path);
  return TsParser(path, text).parse();
}

}  // namespace fovea::data
