// Time series: pairs of .ts files, tables with a sample per row, or folders of tables with a step
// per row and a channel per column.
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>
#include <map>

#include "core/check.h"
#include "core/printable.h"
#include "data/fit.h"
#include "data/folder.h"
#include "data/source_list.h"
#include "data/text.h"

namespace fovea::data {
namespace {

constexpr const char* kAdvice = "; steps=N gives all of them one length";

// [C, steps] of the length that is asked for: the end is cut off, or zeros follow it.
Tensor with_steps(const Tensor& series, std::int64_t steps) {
  const std::int64_t has = series.size(1);
  if (steps == 0 || has == steps) return series;
  if (has > steps) return series.slice(1, 0, steps).contiguous();
  Tensor longer = Tensor::zeros({series.size(0), steps});
  longer.slice(1, 0, has).copy_from(series);
  return longer;
}

// Series in memory, each with a name; values that are missing make a sample a broken one, as does
// what `broken` says of it.
class SeriesSamples : public Samples {
 public:
  SeriesSamples(Series series, std::int64_t steps, std::string place,
                std::map<std::int64_t, std::string> broken = {})
      : series_(std::move(series)),
        steps_(steps),
        place_(std::move(place)),
        broken_(std::move(broken)) {}
  std::int64_t size() const override { return static_cast<std::int64_t>(series_.values.size()); }
  std::int64_t label(std::int64_t index) const override {
    return series_.labels[static_cast<std::size_t>(index)];
  }
  std::string name(std::int64_t index) const override {
    return fmt::format("{}, sample {}", place_, index);
  }
  Tensor decode(std::int64_t index) const override {
    if (const auto why = broken_.find(index); why != broken_.end()) throw_error(why->second);
    return with_steps(series_.values[static_cast<std::size_t>(index)], steps_);
  }
  std::string advice() const override { return kAdvice; }

 private:
  Series series_;
  std::int64_t steps_;
  std::string place_;
  std::map<std::int64_t, std::string> broken_;  // why, by sample
};

// The number in a cell, NaN where there is none. Throws Error for anything else but "?", which
// stands for a missing value as well.
float cell_value(const std::string& path, const Csv& csv, std::size_t row, std::size_t column) {
  const std::string& cell = csv.rows[row][column];
  const std::optional<double> value = number_of(cell);
  const std::string_view word = trimmed(cell);
  FOVEA_CHECK(value || word.empty() || word == "?", "'{}', line {}, column {}: '{}' is no number",
              path, csv.lines[row], column + 1, printable(word));
  return value ? static_cast<float>(*value) : std::numeric_limits<float>::quiet_NaN();
}

// ---- .ts ----

Series read_labelled_ts(const std::string& path) {
  Series series = read_ts(path);
  FOVEA_CHECK(!series.labels.empty() || series.values.empty(),
              "series: '{}' has no classes (@classLabel false)", path);
  return series;
}

// "DIR/NAME_TRAIN.ts" for "DIR/NAME_TEST.ts" and the other way round; empty where it is neither.
std::string partner(const std::string& path, std::string_view from, std::string_view to) {
  if (!path.ends_with(from)) return "";
  return path.substr(0, path.size() - from.size()) + std::string(to);
}

std::shared_ptr<const Source> open_ts(const Arguments& arguments, const std::string& path) {
  const std::int64_t steps = arguments.whole("steps", 1, 1 << 26, 0);
  const std::string other = partner(path, "_TEST.ts", "_TRAIN.ts");
  const std::string train = other.empty() ? path : other;
  const std::string test = partner(train, "_TRAIN.ts", "_TEST.ts");
  auto series = std::make_shared<Series>(read_labelled_ts(train));
  Collection collection;
  collection.classes = series->classes;
  collection.train = [series, steps, train]() -> std::shared_ptr<const Samples> {
    return std::make_shared<const SeriesSamples>(*series, steps, train);
  };
  std::error_code ignored;
  if (!test.empty() && std::filesystem::exists(test, ignored)) {
    collection.test = [steps, test, train,
                       classes = series->classes]() -> std::shared_ptr<const Samples> {
      Series tests = read_labelled_ts(test);
      FOVEA_CHECK(tests.classes == classes, "series: '{}' has other classes than '{}'", test,
                  train);
      return std::make_shared<const SeriesSamples>(std::move(tests), steps, test);
    };
  }
  return split_source(arguments, std::move(collection));
}

// ---- one table, a sample per row ----

// The column of the labels: named, counted from 0, or the last one.
std::size_t label_column(const Arguments& arguments, const Csv& csv) {
  const std::size_t columns = csv.rows.front().size();
  const std::string wanted = arguments.find("label").value_or("last");
  if (wanted == "last") return columns - 1;
  if (wanted == "first") return 0;
  const auto named = std::find(csv.header.begin(), csv.header.end(), wanted);
  if (named == csv.header.end())
    arguments.fail("label", "first, last, or the name of a column in the first row");
  return static_cast<std::size_t>(named - csv.header.begin());
}

// The values of a row but for that in the column of the labels.
std::vector<float> values_of(const std::string& path, const Csv& csv, std::size_t row,
                             std::size_t label) {
  std::vector<float> values;
  for (std::size_t i = 0; i < csv.rows[row].size(); ++i) {
    if (i != label) values.push_back(cell_value(path, csv, row, i));
  }
  return values;
}

std::shared_ptr<const SeriesSamples> rows_of(const Arguments& arguments, const Csv& csv,
                                             Collection& collection) {
  const std::string& path = arguments.path();
  FOVEA_CHECK(!csv.rows.empty() && csv.rows.front().size() >= 2,
              "series: '{}' has no rows of values and a label", path);
  const std::size_t column = label_column(arguments, csv);
  const auto values_per_row = static_cast<std::int64_t>(csv.rows.front().size()) - 1;
  const std::int64_t channels = arguments.whole("channels", 1, 1 << 20, 1);
  FOVEA_CHECK(
      values_per_row % channels == 0,
      "series: '{}' has {} values per row, which are no whole number of steps in {} channels", path,
      values_per_row, channels);
  std::map<std::string, std::int64_t> labels;
  for (const auto& row : csv.rows) labels.emplace(std::string(trimmed(row[column])), 0);
  Series series;
  for (auto& [name, label] : labels) {
    label = static_cast<std::int64_t>(series.classes.size());
    series.classes.push_back(printable(name));
  }
  collection.classes = series.classes;
  std::map<std::int64_t, std::string> broken;
  for (std::size_t row = 0; row < csv.rows.size(); ++row) {
    std::vector<float> values(static_cast<std::size_t>(values_per_row));
    try {
      values = values_of(path, csv, row, column);
    } catch (const Error& error) {
      broken.emplace(row, error.what());
    }
    series.values.push_back(Tensor::from(values, {channels, values_per_row / channels}));
    series.labels.push_back(labels.at(std::string(trimmed(csv.rows[row][column]))));
  }
  return std::make_shared<const SeriesSamples>(
      std::move(series), arguments.whole("steps", 1, 1 << 26, 0), path, std::move(broken));
}

std::shared_ptr<const Source> open_table(const Arguments& arguments) {
  Collection collection;
  auto samples = rows_of(arguments, read_csv(arguments.path()), collection);
  collection.train = [samples] { return samples; };
  return split_source(arguments, std::move(collection));
}

// ---- folders of tables, a step per row ----

class TableSamples : public FileSamples {
 public:
  TableSamples(LabelledFiles files, std::int64_t steps)
      : FileSamples(std::move(files)), steps_(steps) {}

  Tensor decode(std::int64_t index) const override {
    const Csv csv = read_csv(path(index));
    FOVEA_CHECK(!csv.rows.empty(), "'{}' has no rows", path(index));
    const auto rows = static_cast<std::int64_t>(csv.rows.size());
    const auto columns = static_cast<std::int64_t>(csv.rows.front().size());
    std::vector<float> values;
    for (std::size_t row = 0; row < csv.rows.size(); ++row) {
      for (std::size_t column = 0; column < csv.rows[row].size(); ++column)
        values.push_back(cell_value(path(index), csv, row, column));
    }
    return with_steps(Tensor::from(values, {rows, columns}).permute({1, 0}).contiguous(), steps_);
  }
  std::string advice() const override { return kAdvice; }

 private:
  std::int64_t steps_;
};

// The only file NAME_TRAIN.ts of a folder; empty where there is none.
std::string training_file(const std::string& folder) {
  std::vector<std::string> found;
  std::error_code error;
  for (std::filesystem::directory_iterator entry(folder, error), end; !error && entry != end;
       entry.increment(error)) {
    const std::string path = entry->path().string();
    if (path.ends_with("_TRAIN.ts")) found.push_back(path);
  }
  FOVEA_CHECK(found.size() <= 1, "series: '{}' has {} files _TRAIN.ts; name one of them", folder,
              found.size());
  return found.empty() ? "" : found.front();
}

}  // namespace

std::vector<SourceOption> series_options() {
  return {{"steps", "N",
           "length that each series gets: its end is cut off, or zeros follow (default: they must "
           "have one)"},
          {"label", "first, last or NAME",
           "the column of a table that holds the class (default: last)"},
          {"channels", "N",
           "how many channels the values of a table's row are, one after the other (default: 1)"}};
}

std::shared_ptr<const Source> open_series(const Arguments& arguments) {
  const std::string& path = arguments.path();
  std::error_code ignored;
  const bool folder = std::filesystem::is_directory(path, ignored);
  const std::string file = folder ? training_file(path) : path;
  const bool table = !folder && !path.ends_with(".ts");
  FOVEA_CHECK(table || (!arguments.has("label") && !arguments.has("channels")),
              "series: label and channels are for a table with a sample per row, but '{}' is none",
              path);
  if (table) return open_table(arguments);
  if (!file.empty()) return open_ts(arguments, file);
  return split_source(arguments,
                      collection_of<TableSamples>(find_files(arguments.op(), path, {".csv"}),
                                                  arguments.whole("steps", 1, 1 << 26, 0)));
}

}  // namespace fovea::data
