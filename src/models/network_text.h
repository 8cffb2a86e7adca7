// The text of a network: a line per layer. docs/networks.md describes the format.
//
//   NAME: LAYER ARGUMENT... KEY=VALUE... < INPUT...
//
// NAME, the arguments and the inputs may be left out; `#` starts a comment.
#pragma once

#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "fovea/functions.h"

namespace fovea::models {

// One line, whose values are asked for by those who know what they mean; each complaint names the
// place.
class NetworkLine {
 public:
  NetworkLine(std::string place, std::string_view text);

  bool empty() const { return layer_.empty(); }
  const std::string& name() const { return name_; }    // "" where none is given
  const std::string& layer() const { return layer_; }  // "conv"
  const std::vector<std::string>& inputs() const { return inputs_; }

  // The arguments in a row; `what` they are is for the message.
  std::string word(std::string_view what);
  bool has_argument() const { return next_ < arguments_.size(); }
  // Whether the next one is this word, which is then taken.
  bool takes(std::string_view word);
  std::int64_t integer(std::string_view what);
  double number(std::string_view what);
  Spatial sizes(std::string_view what);

  // The options, or what holds without them.
  std::int64_t integer(std::string_view key, std::int64_t otherwise);
  double number(std::string_view key, double otherwise);
  bool flag(std::string_view key, bool otherwise);
  Spatial sizes(std::string_view key, std::int64_t otherwise);
  Padding padding();  // "1", "2x1", "same", "same_lower", "full"
  std::string word(std::string_view key, std::string_view otherwise);

  // Throws Error for arguments and options that nobody has asked for.
  void finish() const;
  [[noreturn]] void fail(const std::string& complaint) const;

 private:
  const std::string* option(std::string_view key);
  std::int64_t to_integer(std::string_view what, const std::string& text) const;
  double to_number(std::string_view what, const std::string& text) const;
  Shape to_sizes(std::string_view what, const std::string& text) const;

  std::string place_;  // "net.txt:3"
  std::string name_;
  std::string layer_;
  std::vector<std::string> arguments_;
  std::size_t next_ = 0;
  std::map<std::string, std::string, std::less<>> options_;
  std::set<std::string, std::less<>> known_;  // keys that were asked for
  std::vector<std::string> inputs_;
};

}  // namespace fovea::models
