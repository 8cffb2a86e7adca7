// Tables of text with a separator between cells (RFC 4180, and its relatives with semicolons or
// tabs).
#include <algorithm>
#include <string_view>

#include "core/check.h"
#include "core/input_file.h"
#include "core/printable.h"
#include "data/text.h"
#include "fovea/readers.h"

namespace fovea::data {
namespace {

class CsvParser {
 public:
  CsvParser(const std::string& path, std::string_view text) : path_(path), rest_(text) {
    if (rest_.starts_with("\xef\xbb\xbf")) rest_.remove_prefix(3);  // a byte order mark
    const std::string_view first = rest_.substr(0, rest_.find('\n'));
    for (const char candidate : {',', ';', '\t'}) {
      if (first.find(candidate) != std::string_view::npos) separator_ = candidate;
    }
  }

  Csv parse() {
    Csv csv;
    while (!rest_.empty()) {
      ++line_;
      const std::int64_t started = line_;
      std::vector<std::string> row = take_row();
      if (row.size() == 1 && trimmed(row[0]).empty()) continue;
      FOVEA_CHECK(csv.rows.empty() || row.size() == csv.rows.front().size(),
                  "read_csv: '{}', line {}: there are {} cells, but the first row has {}", path_,
                  started, row.size(), csv.rows.front().size());
      csv.rows.push_back(std::move(row));
      csv.lines.push_back(started);
    }
    const auto has_number = [&](std::size_t row) {
      return csv.rows.size() > row &&
             std::any_of(csv.rows[row].begin(), csv.rows[row].end(),
                         [](const std::string& cell) { return number_of(cell).has_value(); });
    };
    if (!has_number(0) && has_number(1)) {
      csv.header = std::move(csv.rows.front());
      csv.rows.erase(csv.rows.begin());
      csv.lines.erase(csv.lines.begin());
    }
    return csv;
  }

 private:
  std::vector<std::string> take_row() {
    std::vector<std::string> row;
    bool more = true;
    while (more) {
      std::string cell = rest_.starts_with('"') ? take_quoted() : "";
      const std::size_t end =
          std::min(rest_.find_first_of(std::string{separator_, '\n'}), rest_.size());
      cell += rest_.substr(0, end);
      more = end < rest_.size() && rest_[end] == separator_;
      rest_.remove_prefix(std::min(end + 1, rest_.size()));
      if (!more && cell.ends_with('\r')) cell.pop_back();
      row.push_back(std::move(cell));
    }
    return row;
  }

  // Behind it, `rest_` starts with what follows the closing quote.
  std::string take_quoted() {
    const std::int64_t started = line_;
    std::string cell;
    rest_.remove_prefix(1);
    while (true) {
      const std::size_t quote = rest_.find('"');
      FOVEA_CHECK(quote != std::string_view::npos, "read_csv: '{}', line {}: a quote has no end",
                  path_, started);
      line_ += std::count(rest_.begin(), rest_.begin() + static_cast<std::ptrdiff_t>(quote), '\n');
      cell += rest_.substr(0, quote);
      rest_.remove_prefix(quote + 1);
      if (!rest_.starts_with('"')) return cell;
      cell += '"';  // written twice, it means itself
      rest_.remove_prefix(1);
    }
  }

  const std::string& path_;
  std::string_view rest_;
  char separator_ = ',';
  std::int64_t line_ = 0;
};

}  // namespace

Csv read_csv(const std::string& path) {
  const std::string text = read_text_file("read_csv", path);
  FOVEA_CHECK(text.find('\0') == std::string::npos,
              "read_csv: '{}' holds zero bytes: it is no text (or UTF-16; save it as UTF-8)", path);
  return CsvParser(path, text).parse();
}

}  // namespace fovea::data
