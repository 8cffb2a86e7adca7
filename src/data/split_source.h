// The source that all others are made of: which samples belong to which split, and one data set for
// each that is asked for.
#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "data/arguments.h"
#include "data/sample_set.h"
#include "data/samples.h"
#include "fovea/data.h"

namespace fovea::data {

using SampleReader = std::function<std::shared_ptr<const Samples>()>;

// How a part of the samples may be chosen: by its share, or also by a range of the numbers that the
// names of their files end in.
enum class PartBy : std::uint8_t { share, file_numbers };

// What a format finds. Readers are called once, when their samples are first needed.
struct Collection {
  std::vector<std::string> classes;
  SampleReader train;
  SampleReader validation;               // null: a part of train, where the options ask for one
  SampleReader test;                     // null: a part of train
  std::optional<Statistics> statistics;  // of train, where they are known without reading it
  PartBy parts = PartBy::share;          // file_numbers: samples are called as their files are
};

// The options that every source has, and those of sources whose samples are files.
std::vector<SourceOption> split_options(PartBy by = PartBy::share);
std::vector<SourceOption> file_options();
// Where there may be no test samples apart.
std::vector<SourceOption> test_options(PartBy by = PartBy::share);
std::vector<SourceOption> joined(std::initializer_list<std::vector<SourceOption>> lists);

// Takes the options above from `arguments`; or all as they are by default, for the source `op`.
std::shared_ptr<const Source> split_source(const Arguments& arguments, Collection collection);
std::shared_ptr<const Source> split_source(const std::string& op, Collection collection);

}  // namespace fovea::data
