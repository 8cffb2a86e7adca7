// fovea filter: a classic image filter on an image. To add one: a line in kFilters.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <optional>

#include "commands.h"
#include "support.h"

namespace cli {
namespace {

using fovea::PaddingMode;
using fovea::Tensor;

struct FilterCommandOptions {
  std::string name;
  std::string input;
  std::string output;
  std::optional<double> sigma;
  std::optional<std::int64_t> size;
  std::optional<std::string> border;
  std::string pattern;
  bool json = false;
};

// Which options a filter reads.
enum Reads : unsigned { kSigma = 1, kSize = 2, kBorder = 4, kTemplate = 8 };

// Results become pixels as factor * value + offset, rounded, and cut to 0 .. 255. The pictures of
// signed results are grey where the result is zero.
struct FilterDef {
  const char* name;
  const char* summary;
  unsigned reads;
  double factor;
  double offset;
  Tensor (*run)(const Tensor& image, const FilterCommandOptions& options);
};

constexpr double kGrey = 127.5;

PaddingMode border_of(const FilterCommandOptions& options) {
  for (const PaddingMode mode : fovea::kPaddingModes) {
    if (options.border == fovea::name(mode)) return mode;
  }
  return PaddingMode::reflect;
}

Tensor gaussian(const Tensor& image, const FilterCommandOptions& options) {
  return fovea::filters::gaussian(image, {.sigma = options.sigma.value_or(1),
                                          .size = options.size.value_or(0),
                                          .border = border_of(options)});
}
Tensor box(const Tensor& image, const FilterCommandOptions& options) {
  return fovea::filters::box(image,
                             {.size = options.size.value_or(3), .border = border_of(options)});
}
Tensor sobel(const Tensor& image, const FilterCommandOptions& options) {
  return fovea::filters::gradient_magnitude(image, border_of(options));
}
Tensor sobel_x(const Tensor& image, const FilterCommandOptions& options) {
  return fovea::filters::sobel_x(image, border_of(options));
}
Tensor sobel_y(const Tensor& image, const FilterCommandOptions& options) {
  return fovea::filters::sobel_y(image, border_of(options));
}
Tensor laplacian(const Tensor& image, const FilterCommandOptions& options) {
  return fovea::filters::laplacian(image, border_of(options));
}
Tensor match_template(const Tensor& image, const FilterCommandOptions& options) {
  const Tensor pattern = fovea::data::read_image(options.pattern).to(fovea::DType::float64);
  return fovea::filters::match_template(image, pattern);
}

// A step from black to white gives 4 * 255 with Sobel's weights, so a factor of 1/4 shows it white;
// signed results have half of the grey levels on either side.
constexpr FilterDef kFilters[] = {
    {"gaussian", "blur with a bell of standard deviation --sigma", kSigma | kSize | kBorder, 1, 0,
     gaussian},
    {"box", "mean over squares of --size pixels", kSize | kBorder, 1, 0, box},
    {"sobel", "edges: magnitude of the gradient, a quarter of it", kBorder, 0.25, 0, sobel},
    {"sobel-x", "change to the right: 127.5 + result/8", kBorder, 0.125, kGrey, sobel_x},
    {"sobel-y", "change downwards: 127.5 + result/8", kBorder, 0.125, kGrey, sobel_y},
    {"laplacian", "second differences: 127.5 + result/8", kBorder, 0.125, kGrey, laplacian},
    {"template", "how well --template fits at each place, -1 black to 1 white; a smaller image",
     kTemplate, kGrey, kGrey, match_template},
};

const FilterDef* find_filter(const std::string& name) {
  const auto* found = std::find_if(std::begin(kFilters), std::end(kFilters),
                                   [&](const FilterDef& filter) { return filter.name == name; });
  return found == std::end(kFilters) ? nullptr : found;
}

void check_options(const FilterDef& filter, const FilterCommandOptions& options) {
  const auto require = [&](bool given, Reads reads, const char* option) {
    if (given && (filter.reads & reads) == 0)
      throw Misuse(fmt::format("{} reads no {}", filter.name, option));
  };
  require(options.sigma.has_value(), kSigma, "--sigma");
  require(options.size.has_value(), kSize, "--size");
  require(options.border.has_value(), kBorder, "--border");
  require(!options.pattern.empty(), kTemplate, "--template");
  if ((filter.reads & kTemplate) != 0 && options.pattern.empty())
    throw Misuse("template needs --template FILE.png, the pattern to look for");
}

// float64 [1, C, H, W] -> uint8 [C, H, W]
Tensor pixels_of(const FilterDef& filter, const Tensor& result) {
  std::vector<std::uint8_t> pixels;
  pixels.reserve(static_cast<std::size_t>(result.numel()));
  for (const double value : result.to_vector<double>()) {
    const double level = std::clamp(filter.factor * value + filter.offset, 0.0, 255.0);
    pixels.push_back(static_cast<std::uint8_t>(std::lround(level)));
  }
  return Tensor::from(pixels, {result.size(1), result.size(2), result.size(3)});
}

struct Place {
  std::int64_t x = 0;
  std::int64_t y = 0;
  double score = 0;
};

Place best_place(const Tensor& scores) {
  const std::vector<double> values = scores.to_vector<double>();
  const auto best = std::max_element(values.begin(), values.end());
  const std::int64_t at = best - values.begin();
  return {at % scores.size(3), at / scores.size(3), *best};
}

void report(const FilterCommandOptions& options, const FilterDef& filter, const Tensor& result) {
  const bool matching = (filter.reads & kTemplate) != 0;
  const Place best = matching ? best_place(result) : Place{};
  if (options.json) {
    Json object = {{"file", options.output},
                   {"filter", filter.name},
                   {"width", result.size(3)},
                   {"height", result.size(2)},
                   {"channels", result.size(1)}};
    if (matching) object["best"] = {{"x", best.x}, {"y", best.y}, {"score", best.score}};
    print_json(object);
    return;
  }
  fmt::print("{}: {} of {}, {}x{}\n", options.output, filter.name, options.input, result.size(3),
             result.size(2));
  if (matching)
    fmt::print("best match: left {}, top {}, correlation {:.4f}\n", best.x, best.y, best.score);
}

void filter_image(const FilterCommandOptions& options) {
  const fovea::NoGrad no_grad;
  const FilterDef& filter = *find_filter(options.name);
  check_options(filter, options);
  require_png(options.output);
  const Tensor image = fovea::data::read_image(options.input).to(fovea::DType::float64);
  const Tensor result =
      filter.run(image.reshape({1, image.size(0), image.size(1), image.size(2)}), options);
  fovea::data::write_png(options.output, pixels_of(filter, result));
  report(options, filter, result);
}

}  // namespace

Action filter_command(CLI::App& app) {
  const auto options = std::make_shared<FilterCommandOptions>();
  std::vector<std::string> names;
  std::string help = "The filter:";
  for (const FilterDef& filter : kFilters) {
    names.emplace_back(filter.name);
    help += fmt::format("\n{} ({})", filter.name, filter.summary);
  }
  app.add_option("name", options->name, help)
      ->required()
      ->check(CLI::Validator(
          [names](std::string& name) {
            return find_filter(name) != nullptr ? std::string()
                                                : fmt::format("there is no filter '{}'; known: {}",
                                                              name, fmt::join(names, ", "));
          },
          "", "filter"))
      ->type_name("NAME");
  app.add_option("input", options->input,
                 "A PNG or JPEG, grey or colour; each channel is filtered alone")
      ->required()
      ->type_name("IN");
  app.add_option("output", options->output, "The PNG to write, grey or colour as the input")
      ->required()
      ->type_name("OUT.png");
  app.add_option("--sigma", options->sigma, "Standard deviation in pixels (default: 1)")
      ->check(CLI::PositiveNumber)
      ->type_name("X");
  app.add_option("--size", options->size,
                 "Side of the kernel in pixels (default: box 3; gaussian 4 sigma on each side, "
                 "and always odd)")
      ->check(CLI::PositiveNumber)
      ->type_name("N");
  app.add_option(
         "--border", options->border,
         "What lies beyond the edges: reflect, replicate, circular, mean or zeros (default: "
         "reflect)")
      ->check(one_of({"reflect", "replicate", "circular", "mean", "zeros"}))
      ->type_name("NAME");
  app.add_option("--template", options->pattern, "A PNG or JPEG of the pattern to look for")
      ->type_name("FILE");
  add_threads(app);
  app.add_flag("--json", options->json, "Print one JSON object");
  app.footer(
      "Examples:\n  fovea filter gaussian photo.png blurred.png --sigma 2.5\n"
      "  fovea filter sobel photo.png edges.png\n"
      "  fovea filter template photo.png map.png --template face.png");
  return [options] { filter_image(*options); };
}

}  // namespace cli
