// What stands in the name of a source: "images:DIR?size=64&resize=crop".
#pragma once

#include <cstdint>
#include <initializer_list>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "fovea/data.h"
#include "fovea/shape.h"

namespace fovea::data {

// The path and the options of one source. The readers throw Error, with the name of the option, for
// values that make no sense.
class Arguments {
 public:
  // `text` is what stands behind "NAME:". Throws Error for options that `def` does not have.
  Arguments(const SourceDef& def, const std::string& text);

  const std::string& op() const { return op_; }  // the name of the source, to start messages
  const std::string& path() const { return path_; }

  bool has(std::string_view key) const { return find(key).has_value(); }
  std::optional<std::string> find(std::string_view key) const;
  std::int64_t whole(std::string_view key, std::int64_t least, std::int64_t most,
                     std::int64_t fallback) const;
  double number(std::string_view key, double least, double most, double fallback) const;
  // One of `words`, of which the first is the default; its place among them.
  std::size_t choice(std::string_view key, std::initializer_list<std::string_view> words) const;
  // "96x64", or one number for all of `rank` sizes; empty where the option is missing.
  Shape sizes(std::string_view key, int rank) const;

  [[noreturn]] void fail(std::string_view key, std::string_view expected) const;

 private:
  std::string op_;
  std::string path_;
  std::map<std::string, std::string, std::less<>> options_;
};

}  // namespace fovea::data
