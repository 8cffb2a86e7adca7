// Folders of files: a folder per class, or the class in the name of each file.
#pragma once

#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "data/samples.h"
#include "data/split_source.h"

namespace fovea::data {

struct LabelledFiles {
  std::vector<std::string> paths;
  std::vector<std::int64_t> labels;
};

struct FolderTree {
  std::vector<std::string> classes;
  LabelledFiles train;
  std::optional<LabelledFiles> validation;
  std::optional<LabelledFiles> test;
};

// Finds the files whose names end in one of `endings` (lower case; capitals count as well):
//   DIR/train/CLASS/... with DIR/test and DIR/val or DIR/validation beside it (val alone is the
//   test set), or DIR/CLASS/..., or files CLASS_... instead of the folders of the classes.
// Classes and files are in the order of their names; names that begin with a dot are left out.
// Throws Error, which starts with `op`, if there are none.
FolderTree find_files(const std::string& op, const std::string& folder,
                      std::initializer_list<std::string_view> endings);

// Samples that are a file each; what is left to add is decode().
class FileSamples : public Samples {
 public:
  explicit FileSamples(LabelledFiles files) : files_(std::move(files)) {}
  std::int64_t size() const override { return static_cast<std::int64_t>(files_.paths.size()); }
  std::int64_t label(std::int64_t index) const override {
    return files_.labels[static_cast<std::size_t>(index)];
  }
  std::string name(std::int64_t index) const override { return path(index); }

 protected:
  const std::string& path(std::int64_t index) const {
    return files_.paths[static_cast<std::size_t>(index)];
  }

 private:
  LabelledFiles files_;
};

// The splits of a tree, with samples of the class Kind, which takes files and `options`.
template <class Kind, class Options>
Collection collection_of(FolderTree tree, const Options& options) {
  const auto reader = [&](std::optional<LabelledFiles> files) -> SampleReader {
    if (!files) return nullptr;
    return [files = *std::move(files), options] {
      return std::make_shared<const Kind>(files, options);
    };
  };
  Collection collection;
  collection.parts = PartBy::file_numbers;
  collection.classes = std::move(tree.classes);
  collection.train = reader(std::move(tree.train));
  collection.validation = reader(std::move(tree.validation));
  collection.test = reader(std::move(tree.test));
  return collection;
}

}  // namespace fovea::data
