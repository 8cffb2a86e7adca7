// The descriptor line of a ConvProblem: printing and parsing.
//
// oneDNN benchdnn's form: keys g, mb, ic, oc and, per dimension d, h or w: i(nput), o(utput),
// k(ernel), s(tride), p(adding), d(ilation - 1), and a name in n"...". A key that names only the
// outermost dimension holds for all inner ones. An output size fixes the padding after. Suffixes of
// ours: "+ph0:1" for padding before:after, "+circular" (or another mode) and "+constant:0.5" for
// what the padding holds, "+f64" for the type.
#include <algorithm>
#include <array>
#include <charconv>
#include <map>
#include <optional>
#include <vector>

#include "core/check.h"
#include "core/printable.h"
#include "fovea/conv.h"

namespace fovea {
namespace {

constexpr std::string_view kDimensions = "dhw";

class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  ConvProblem parse() {
    while (place_ < text_.size() && text_[place_] != '+') read_pair();
    while (place_ < text_.size()) read_suffix();
    return build();
  }

 private:
  // How messages start. The line may come from a file.
  std::string title() const { return fmt::format("conv descriptor '{}'", printable(text_)); }

  [[noreturn]] void fail(std::size_t place, const std::string& why) const {
    throw_error(
        fmt::format("{}: {} at character {} ('{}')", title(), why, place + 1,
                    place < text_.size() ? printable(text_.substr(place, 8)) : "end of line"));
  }

  std::string_view read_letters() {
    const std::size_t start = place_;
    while (place_ < text_.size() && text_[place_] >= 'a' && text_[place_] <= 'z') ++place_;
    return text_.substr(start, place_ - start);
  }

  std::int64_t read_number() {
    std::int64_t value = 0;
    const auto [stop, error] =
        std::from_chars(text_.data() + place_, text_.data() + text_.size(), value);
    // Far beyond what validates, and small enough that no sum of products overflows before that.
    constexpr std::int64_t kLargest = std::int64_t{1} << 30;
    if (error != std::errc() || value < 0) fail(place_, "expected a number");
    if (value > kLargest) fail(place_, "the number is larger than 2^30");
    place_ = static_cast<std::size_t>(stop - text_.data());
    return value;
  }

  void read_pair() {
    const std::size_t start = place_;
    const std::string key(read_letters());
    if (key == "n" && place_ < text_.size() && text_[place_] == '"') {
      const std::size_t close = text_.find('"', place_ + 1);
      if (close == std::string_view::npos) fail(place_, "the name has no closing quote");
      place_ = close + 1;
      return;
    }
    if (!known(key))
      fail(start, "unknown key; known are g, mb, ic, oc and i, o, k, s, p, d with d, h or w");
    const std::int64_t value = read_number();
    if (!values_.emplace(key, value).second) fail(start, "the key stands twice");
    if (place_ < text_.size() && text_[place_] == '_') ++place_;
  }

  void read_suffix() {
    const std::size_t start = place_++;
    const std::string_view key = read_letters();
    if (key == "f") {
      if (read_number() != 64) fail(start, "unknown type; only +f64 exists");
      dtype_ = DType::float64;
      return;
    }
    if (read_padding_mode(key, start)) return;
    const bool padding =
        key.size() == 2 && key[0] == 'p' && kDimensions.find(key[1]) != std::string_view::npos;
    if (!padding) {
      fail(start,
           fmt::format("unknown suffix; known are +pd, +ph, +pw with BEFORE:AFTER, the padding "
                       "modes +constant:VALUE, {}, and +f64",
                       fmt::join(plain_modes(), ", ")));
    }
    Sides sides;
    sides.before = read_number();
    if (place_ >= text_.size() || text_[place_] != ':')
      fail(place_, "expected ':' between padding before and after");
    ++place_;
    sides.after = read_number();
    if (!sides_.emplace(key[1], sides).second) fail(start, "the suffix stands twice");
  }

  // "+circular", "+mean", ...
  static std::vector<std::string> plain_modes() {
    std::vector<std::string> names;
    for (const PaddingMode mode : kPaddingModes) {
      if (mode != PaddingMode::zeros && mode != PaddingMode::constant)
        names.push_back(fmt::format("+{}", name(mode)));
    }
    return names;
  }

  // Whether `key` names a padding mode, which is then read with its value.
  bool read_padding_mode(std::string_view key, std::size_t start) {
    for (const PaddingMode mode : kPaddingModes) {
      if (key != name(mode)) continue;
      if (mode_) fail(start, "a padding mode stands twice");
      mode_ = mode;
      if (mode == PaddingMode::constant) padding_value_ = read_value();
      return true;
    }
    return false;
  }

  double read_value() {
    if (place_ >= text_.size() || text_[place_] != ':') fail(place_, "expected ':' and a value");
    ++place_;
    double value = 0;
    const auto [stop, error] =
        std::from_chars(text_.data() + place_, text_.data() + text_.size(), value);
    if (error != std::errc()) fail(place_, "expected a number");
    place_ = static_cast<std::size_t>(stop - text_.data());
    return value;
  }

  // "ih", "kd", ...: a kind of size and a dimension.
  static bool is_spatial(const std::string& key) {
    return key.size() == 2 && std::string_view("iokspd").find(key[0]) != std::string_view::npos &&
           kDimensions.find(key[1]) != std::string_view::npos;
  }
  static bool known(const std::string& key) {
    return key == "g" || key == "mb" || key == "ic" || key == "oc" || is_spatial(key);
  }

  std::optional<std::int64_t> find(const std::string& key) const {
    const auto found = values_.find(key);
    return found == values_.end() ? std::nullopt : std::optional(found->second);
  }

  // The value of one kind of size in dimension `axis` of `dims`, taken from an outer one where it
  // is not given.
  std::optional<std::int64_t> size(char kind, int dims, int axis) const {
    for (int i = axis; i >= 0; --i) {
      const char dimension = kDimensions[static_cast<std::size_t>(3 - dims + i)];
      if (auto value = find(std::string{kind, dimension})) return value;
    }
    return std::nullopt;
  }

  ConvProblem build() const {
    ConvProblem problem;
    problem.dtype = dtype_;
    problem.padding_mode = mode_.value_or(PaddingMode::zeros);
    problem.padding_value = padding_value_;
    problem.groups = find("g").value_or(1);
    problem.batch = find("mb").value_or(1);
    const auto in_channels = find("ic");
    const auto out_channels = find("oc");
    if (!in_channels || !out_channels) fail(text_.size(), "ic and oc are needed");
    problem.in_channels = *in_channels;
    problem.out_channels = *out_channels;
    problem.dims = find("id") ? 3 : find("ih") ? 2 : 1;
    for (const auto& [key, value] : values_) {
      if (is_spatial(key) && static_cast<int>(kDimensions.find(key[1])) < 3 - problem.dims) {
        fail(text_.find(key),
             fmt::format("the input has {} spatial dimensions, so this key has no meaning",
                         problem.dims));
      }
    }
    for (int i = 0; i < problem.dims; ++i)
      problem.axes[static_cast<std::size_t>(i)] = build_axis(problem.dims, i);
    problem.validate(title());
    check_outputs(problem);
    return problem;
  }

  ConvAxis build_axis(int dims, int i) const {
    const char dimension = kDimensions[static_cast<std::size_t>(3 - dims + i)];
    ConvAxis axis;
    const auto input = size('i', dims, i);
    const auto kernel = size('k', dims, i);
    if (!input) fail(text_.size(), fmt::format("i{} is needed", dimension));
    if (!kernel) fail(text_.size(), fmt::format("k{} is needed", dimension));
    axis.input = *input;
    axis.kernel = *kernel;
    axis.stride = size('s', dims, i).value_or(1);
    axis.dilation = size('d', dims, i).value_or(0) + 1;
    const auto output = size('o', dims, i);
    const auto padding = size('p', dims, i);
    if (const auto sides = sides_.find(dimension); sides != sides_.end()) {
      axis.padding = sides->second;
    } else if (padding || !output) {
      axis.padding = {padding.value_or(0), padding.value_or(0)};
      if (output && axis.stride > 0 && axis.output() != *output)
        axis.padding.after = total_padding(axis, *output) - *padding;
    } else {
      const std::int64_t total = std::max<std::int64_t>(total_padding(axis, *output), 0);
      axis.padding = {total / 2, total - total / 2};
    }
    // A negative amount only says that the stride leaves the last cells unread.
    axis.padding.after = std::max<std::int64_t>(axis.padding.after, 0);
    return axis;
  }

  // Padding before and after together that gives `output` cells.
  static std::int64_t total_padding(const ConvAxis& axis, std::int64_t output) {
    return (output - 1) * axis.stride + axis.span() - axis.input;
  }

  void check_outputs(const ConvProblem& problem) const {
    for (int i = 0; i < problem.dims; ++i) {
      const auto output = size('o', problem.dims, i);
      const std::int64_t actual = problem.axes[static_cast<std::size_t>(i)].output();
      if (output && *output != actual) {
        throw_error(fmt::format("{}: o{} is {}, but the other numbers give {}", title(),
                                kDimensions[static_cast<std::size_t>(3 - problem.dims + i)],
                                *output, actual));
      }
    }
  }

  std::string_view text_;
  std::size_t place_ = 0;
  std::map<std::string, std::int64_t> values_;
  std::map<char, Sides> sides_;
  std::optional<PaddingMode> mode_;
  double padding_value_ = 0;
  DType dtype_ = DType::float32;
};

// "ih56" where all dimensions agree, else "ih56iw28"; nothing where all are `silent`.
std::string spatial(const ConvProblem& problem, char kind, std::int64_t (*value)(const ConvAxis&),
                    std::int64_t silent) {
  std::array<std::int64_t, 3> values{};
  const auto dims = static_cast<std::size_t>(problem.dims);
  for (std::size_t i = 0; i < dims; ++i) values[i] = value(problem.axes[i]);
  if (std::all_of(values.begin(), values.begin() + problem.dims,
                  [&](auto v) { return v == silent; }))
    return {};
  const bool equal = std::all_of(values.begin(), values.begin() + problem.dims,
                                 [&](auto v) { return v == values[0]; });
  std::string text;
  for (std::size_t i = 0; i < (equal ? 1 : dims); ++i) {
    text += fmt::format("{}{}{}", kind, kDimensions[3 - dims + i], values[i]);
  }
  return text;
}

}  // namespace

std::string ConvProblem::to_string() const {
  std::string text = groups == 1 ? std::string() : fmt::format("g{}", groups);
  text += fmt::format("mb{}ic{}", batch, in_channels);
  text += spatial(
      *this, 'i', [](const ConvAxis& axis) { return axis.input; }, -1);
  text += fmt::format("oc{}", out_channels);
  text += spatial(
      *this, 'o', [](const ConvAxis& axis) { return axis.output(); }, -1);
  text += spatial(
      *this, 'k', [](const ConvAxis& axis) { return axis.kernel; }, -1);
  text += spatial(
      *this, 's', [](const ConvAxis& axis) { return axis.stride; }, 1);
  text += spatial(
      *this, 'p', [](const ConvAxis& axis) { return axis.padding.before; }, 0);
  text += spatial(
      *this, 'd', [](const ConvAxis& axis) { return axis.dilation - 1; }, 0);
  for (int i = 0; i < dims; ++i) {
    const Sides& padding = axes[static_cast<std::size_t>(i)].padding;
    if (padding.before != padding.after) {
      text += fmt::format("+p{}{}:{}", kDimensions[static_cast<std::size_t>(3 - dims + i)],
                          padding.before, padding.after);
    }
  }
  if (padding_mode != PaddingMode::zeros) text += fmt::format("+{}", fovea::name(padding_mode));
  if (padding_mode == PaddingMode::constant) text += fmt::format(":{}", padding_value);
  if (dtype == DType::float64) text += "+f64";
  return text;
}

ConvProblem ConvProblem::parse(std::string_view descriptor) {
  return Parser(descriptor).parse();
}

}  // namespace fovea
