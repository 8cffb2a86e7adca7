// Series in .ts files, and tables.
#include <gtest/gtest.h>

#include <cmath>

#include "fovea/readers.h"
#include "support/errors.h"
#include "support/files.h"

namespace fovea::data {
namespace {

using testing::error_of;
using testing::TempFolder;
using testing::write_file;

const std::string kHead =
    "# a comment\n@problemName P\n@timeStamps false\n@classLabel true up down\n";

class Ts : public ::testing::Test {
 protected:
  Series read(const std::string& text) {
    write_file(path_, text);
    return read_ts(path_);
  }
  std::string error(const std::string& text) {
    std::string message = error_of([&] { read(text); });
    EXPECT_CONTAINS(message, path_);
    return message;
  }
  TempFolder folder_;
  std::string path_ = folder_ / "a.ts";
};

TEST_F(Ts, SamplesAreChannelsOfSteps) {
  const Series series = read(kHead + "@data\n1,2,3:4,5,6:up\r\n\n -1.5, +2e1 : 0,0 : down\n");
  EXPECT_EQ(series.classes, (std::vector<std::string>{"up", "down"}));
  EXPECT_EQ(series.labels, (std::vector<std::int64_t>{0, 1}));
  ASSERT_EQ(series.values.size(), 2U);
  EXPECT_EQ(series.values[0].shape(), Shape({2, 3}));
  EXPECT_EQ(series.values[0].at({1, 2}), 6);
  EXPECT_EQ(series.values[1].shape(), Shape({2, 2}));
  EXPECT_EQ(series.values[1].at({0, 1}), 20);
}

TEST_F(Ts, MissingValuesAreNaN) {
  const Series series = read(kHead + "@data\n1,?,NaN:up");
  EXPECT_TRUE(std::isnan(series.values[0].at({0, 1})));
  EXPECT_TRUE(std::isnan(series.values[0].at({0, 2})));
}

TEST_F(Ts, WithoutClassesThereAreNoLabels) {
  const Series series = read("@classLabel false\n@data\n1,2:3,4");
  EXPECT_EQ(series.values[0].shape(), Shape({2, 2}));
  EXPECT_TRUE(series.labels.empty());
}

TEST_F(Ts, ErrorsNameTheLine) {
  EXPECT_CONTAINS(error(kHead + "@data\n1,2:up\n1,2:left\n"), "line 7", "no class 'left'");
  EXPECT_CONTAINS(error(kHead + "@data\n1,x:up\n"), "line 6", "'x' is no number");
  EXPECT_CONTAINS(error(kHead + "@data\n1,2:1:up\n"), "channel 2 has 1 values");
  EXPECT_CONTAINS(error(kHead + "@data\n1,2\n"), "no colon");
  EXPECT_CONTAINS(error(kHead), "no line @data");
  EXPECT_CONTAINS(error("hello"), "line 1", "hello");
  EXPECT_CONTAINS(error("@data\n"), "before @classLabel");
  EXPECT_CONTAINS(error("@timeStamps true\n"), "time stamps");
  EXPECT_CONTAINS(error("@classLabel true\n@data\n"), "names no classes");
  EXPECT_CONTAINS(error(""), "no line @data");
}

class CsvFile : public ::testing::Test {
 protected:
  Csv read(const std::string& text) {
    write_file(path_, text);
    return read_csv(path_);
  }
  TempFolder folder_;
  std::string path_ = folder_ / "a.csv";
};

using Row = std::vector<std::string>;

TEST_F(CsvFile, RowsOfCells) {
  const Csv csv = read("1,2\r\n3,4\n\n5,");
  EXPECT_TRUE(csv.header.empty());
  EXPECT_EQ(csv.rows, (std::vector<Row>{{"1", "2"}, {"3", "4"}, {"5", ""}}));
  EXPECT_EQ(read("1;2,5\n").rows[0], (Row{"1", "2,5"}));
  EXPECT_EQ(read("1\t2;x\n").rows[0], (Row{"1", "2;x"}));
}

TEST_F(CsvFile, TheFirstRowIsAHeaderWhereItHasNoNumbers) {
  EXPECT_EQ(read("x,y\n1,a\n").header, (Row{"x", "y"}));
  EXPECT_TRUE(read("1,y\n2,a\n").header.empty());
  EXPECT_TRUE(read("x,y\nz,a\n").header.empty());
  EXPECT_EQ(read("\xef\xbb\xbfx,y\n1,2\n").header[0], "x");
}

TEST_F(CsvFile, QuotesProtectSeparatorsAndLines) {
  EXPECT_EQ(read("\"a,b\",\"say \"\"hi\"\"\",\"two\nlines\"\n").rows[0],
            (Row{"a,b", "say \"hi\"", "two\nlines"}));
}

TEST_F(CsvFile, ErrorsNameTheLine) {
  const auto error = [&](const std::string& text) { return error_of([&] { read(text); }); };
  EXPECT_CONTAINS(error("1,2\n\"a\nb\",2\n3\n"), path_, "line 4", "1 cells", "first row has 2");
  EXPECT_CONTAINS(error("1,2\n3,\"4\n"), path_, "line 2", "no end");
  EXPECT_CONTAINS(error(std::string("1\0", 2)), path_, "zero bytes");
  EXPECT_TRUE(read("").rows.empty());
}

}  // namespace
}  // namespace fovea::data
