// See folder.h.
#include "data/folder.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <system_error>

#include "core/check.h"
#include "core/printable.h"

namespace fovea::data {
namespace {

namespace fs = std::filesystem;

using Endings = std::initializer_list<std::string_view>;
// By class.
using Found = std::map<std::string, std::vector<std::string>>;

bool has_ending(const std::string& name, const Endings& endings) {
  std::string lower = name;
  for (char& c : lower) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  return std::any_of(endings.begin(), endings.end(),
                     [&](std::string_view ending) { return lower.ends_with(ending); });
}

bool is_folder(const fs::path& path) {
  std::error_code ignored;
  return fs::is_directory(path, ignored);
}

class Finder {
 public:
  Finder(const std::string& op, const Endings& endings) : op_(op), endings_(endings) {}

  // The files of one split.
  Found find(const fs::path& folder) const {
    Found found;
    for (const fs::path& entry : entries<fs::directory_iterator>(folder)) {
      if (!is_folder(entry)) continue;
      std::vector<std::string> files;
      for (const fs::path& file : entries<fs::recursive_directory_iterator>(entry)) {
        if (!is_folder(file) && has_ending(file.filename().string(), endings_))
          files.push_back(file.string());
      }
      if (!files.empty()) found[entry.filename().string()] = std::move(files);
    }
    return found.empty() ? find_by_name(folder) : found;
  }

 private:
  // Files CLASS_....
  Found find_by_name(const fs::path& folder) const {
    Found found;
    for (const fs::path& entry : entries<fs::directory_iterator>(folder)) {
      const std::string name = entry.filename().string();
      if (is_folder(entry) || !has_ending(name, endings_)) continue;
      const std::size_t end = name.find('_');
      FOVEA_CHECK(end != std::string::npos && end > 0,
                  "{}: '{}' lies in no folder of a class, so its name should start with its class "
                  "and an underscore, as in CLASS_1{}",
                  op_, entry.string(), *endings_.begin());
      found[name.substr(0, end)].push_back(entry.string());
    }
    return found;
  }

  template <class Iterator>
  std::vector<fs::path> entries(const fs::path& folder) const {
    std::vector<fs::path> paths;
    std::error_code error;
    Iterator entry(folder, error);
    while (!error && entry != Iterator()) {
      if (!entry->path().filename().string().starts_with('.')) paths.push_back(entry->path());
      entry.increment(error);
    }
    FOVEA_CHECK(!error, "{}: cannot read the folder '{}': {}", op_, folder.string(),
                error.message());
    std::sort(paths.begin(), paths.end());
    return paths;
  }

  const std::string& op_;
  const Endings& endings_;
};

LabelledFiles labelled(const std::string& op, const Found& found,
                       const std::vector<std::string>& names, const std::string& folder) {
  LabelledFiles files;
  for (const auto& [name, paths] : found) {
    const auto place = std::lower_bound(names.begin(), names.end(), name);
    FOVEA_CHECK(place != names.end() && *place == name,
                "{}: '{}' has the class '{}', of which there is no training sample", op, folder,
                printable(name));
    for (const std::string& path : paths) {
      files.paths.push_back(path);
      files.labels.push_back(place - names.begin());
    }
  }
  return files;
}

}  // namespace

FolderTree find_files(const std::string& op, const std::string& folder, Endings endings) {
  const fs::path root = folder;
  FOVEA_CHECK(is_folder(root), "{}: there is no folder '{}'", op, folder);
  const auto subfolder = [&](std::initializer_list<const char*> names) -> std::string {
    for (const char* name : names) {
      if (is_folder(root / name)) return (root / name).string();
    }
    return "";
  };
  const std::string train = subfolder({"train"});
  std::string validation = train.empty() ? "" : subfolder({"validation", "valid", "val"});
  std::string test = train.empty() ? "" : subfolder({"test"});
  if (test.empty()) std::swap(test, validation);  // as ImageNet has it

  const Finder finder(op, endings);
  const std::string& first = train.empty() ? folder : train;
  const Found found = finder.find(first);
  if (found.empty()) {
    std::string known;
    for (const std::string_view ending : endings)
      known += fmt::format("{}{}", known.empty() ? "" : ", ", ending);
    throw_error(fmt::format(
        "{}: '{}' has no files of the kinds {}; expected a folder per class, as in {}/CLASS/1{}",
        op, first, known, first, *endings.begin()));
  }
  std::vector<std::string> names;
  for (const auto& [name, paths] : found) names.push_back(name);
  FolderTree tree;
  tree.train = labelled(op, found, names, first);
  if (!test.empty()) tree.test = labelled(op, finder.find(test), names, test);
  if (!validation.empty())
    tree.validation = labelled(op, finder.find(validation), names, validation);
  for (const std::string& name : names) tree.classes.push_back(printable(name));
  return tree;
}

}  // namespace fovea::data
