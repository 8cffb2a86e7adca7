// fovea predict: what a trained network sees on images.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <memory>
#include <numeric>
#include <optional>

#include "commands.h"
#include "scoring.h"
#include "support.h"

namespace cli {
namespace {

using fovea::data::Fit;

struct PredictOptions {
  std::string model;
  std::vector<std::string> images;
  std::int64_t top = 3;
  std::optional<Fit> resize;
  std::string mask;
  std::string plan_file;
  bool json = false;
};

// [1, C, H, W], normalised as the network was trained. Throws Error unless the image has the
// network's size or may be scaled to it.
fovea::Tensor read_input(const std::string& path, const PredictOptions& options,
                         const fovea::nn::ModelInfo& info) {
  const fovea::Shape& wanted = info.input;
  if (wanted.rank() != 3 || (wanted[0] != 1 && wanted[0] != 3)) {
    throw fovea::Error(fmt::format("predict: {} reads {} samples, which are no images",
                                   info.architecture, join_sizes(wanted)));
  }
  for (const double mean : info.mean) {  // of levels from 0 to 1, as those of images are
    if (mean >= 0 && mean <= 1) continue;
    throw fovea::Error(
        fmt::format("predict: {} was trained on samples with a mean of {:.3g}, which are no images "
                    "(spectrograms, perhaps); `fovea evaluate` scores it on data of its kind",
                    info.architecture, mean));
  }
  fovea::data::ImageOptions form{.channels = wanted[0]};
  if (options.resize) {
    form.size = {wanted[1], wanted[2]};
    form.resize = *options.resize;
  }
  const fovea::Tensor image = fovea::data::read_sized_image(path, form);
  if (image.size(1) != wanted[1] || image.size(2) != wanted[2]) {
    throw fovea::Error(fmt::format(
        "predict: '{}' is {} pixels wide and {} high, but {} reads images {} wide and {} high; "
        "--resize crop, stretch or pad makes it that size",
        path, image.size(2), image.size(1), info.architecture, wanted[2], wanted[1]));
  }
  const std::vector<std::uint8_t> pixels = image.to_vector<std::uint8_t>();
  const std::int64_t plane = wanted[1] * wanted[2];
  std::vector<float> values;
  values.reserve(static_cast<std::size_t>(wanted.numel()));
  for (std::int64_t c = 0; c < wanted[0]; ++c) {
    const auto channel = static_cast<std::size_t>(c);
    const auto mean = static_cast<float>(info.mean[channel]);
    const auto stddev = static_cast<float>(info.stddev[channel]);
    for (std::int64_t cell = 0; cell < plane; ++cell) {
      const auto value = static_cast<float>(pixels[static_cast<std::size_t>(c * plane + cell)]);
      values.push_back((value / 255.0F - mean) / stddev);
    }
  }
  return fovea::Tensor::from(values, {1, wanted[0], wanted[1], wanted[2]});
}

std::string class_name(const fovea::nn::ModelInfo& info, std::size_t label) {
  return label < info.classes.size() ? info.classes[label] : std::to_string(label);
}

// Of a network that tells the class of each pixel: how much of the image each class has, and the
// mask. Shares take the place of probabilities.
std::vector<float> shares_of(const PredictOptions& options, const fovea::Tensor& logits) {
  std::vector<std::int64_t> counts(static_cast<std::size_t>(logits.size(1)));
  std::vector<std::uint8_t> levels;
  for (const std::int64_t c : largest_classes(logits)) {
    ++counts[static_cast<std::size_t>(c)];
    levels.push_back(static_cast<std::uint8_t>(c));
  }
  if (!options.mask.empty()) {
    const fovea::Shape shape = {1, logits.size(2), logits.size(3)};
    fovea::data::write_png(options.mask, fovea::Tensor::from(levels, shape));
  }
  std::vector<float> shares;
  for (const std::int64_t count : counts)
    shares.push_back(static_cast<float>(count) / static_cast<float>(levels.size()));
  return shares;
}

void predict_image(const PredictOptions& options, const fovea::nn::Model& model,
                   const std::string& path) {
  const fovea::Tensor input = read_input(path, options, model.info).to(parameter_type(model));
  const fovea::Tensor logits = model(input);
  if (logits.rank() == 2 && !options.mask.empty()) {
    throw Misuse(
        fmt::format("--mask: {} tells one class for the whole image", model.info.architecture));
  }
  const std::vector<float> probabilities =
      logits.rank() > 2 ? shares_of(options, logits)
                        : fovea::softmax(logits).to(fovea::DType::float32).to_vector<float>();
  std::vector<std::size_t> order(probabilities.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return probabilities[a] > probabilities[b];
  });
  order.resize(std::min(order.size(), static_cast<std::size_t>(options.top)));
  Json best = Json::array();
  if (!options.json && options.images.size() > 1) fmt::print("{}\n", path);
  for (const std::size_t label : order) {
    best.push_back({{"class", class_name(model.info, label)},
                    {"label", label},
                    {logits.rank() > 2 ? "share" : "probability", probabilities[label]}});
    if (!options.json)
      fmt::print("{:6.2f} %  {}\n", 100 * probabilities[label], class_name(model.info, label));
  }
  if (options.json)
    print_json(
        {{"image", path}, {"class", class_name(model.info, order[0])}, {"predictions", best}});
}

void predict(const PredictOptions& options) {
  use_plan_file(options.plan_file);
  if (!options.mask.empty()) require_png(options.mask);
  if (!options.mask.empty() && options.images.size() > 1)
    throw Misuse("--mask is for one image at a time");
  const fovea::NoGrad no_grad;
  const fovea::nn::Model model = load_model(options.model);
  if (model.info.mean.empty()) {
    throw fovea::Error(
        fmt::format("predict: '{}' does not say how its inputs are normalised; call "
                    "fovea::data::describe(model, dataset) before saving it, or train it with "
                    "`fovea train`",
                    options.model));
  }
  model.eval();
  for (const std::string& path : options.images) predict_image(options, model, path);
}

}  // namespace

Action predict_command(CLI::App& app) {
  const auto options = std::make_shared<PredictOptions>();
  app.add_option("model", options->model, "A .fovea file")->required()->type_name("MODEL");
  app.add_option("images", options->images,
                 "PNG or JPEG images of the size that the network reads, or --resize")
      ->required()
      ->type_name("IMAGE");
  app.add_option("--top", options->top, "How many classes to name")
      ->check(whole_number(1))
      ->capture_default_str()
      ->type_name("K");
  const std::map<std::string, Fit> ways = {
      {"crop", Fit::crop}, {"stretch", Fit::stretch}, {"pad", Fit::pad}, {"none", Fit::none}};
  add_choice(app, "--resize", options->resize, ways,
             "Make images of other sizes fit, as resize= of images:DIR does: crop, stretch, pad or "
             "none (docs/data.md)");
  app.add_option("--mask", options->mask,
                 "Of a network that tells the class of each pixel: where to write them, as grey "
                 "levels counted from 0")
      ->type_name("FILE.png");
  add_threads(app);
  add_plan_file(app, options->plan_file);
  app.add_flag("--json", options->json, "Print one JSON object per image");
  app.footer("Example:\n  fovea predict lenet5.fovea shoe.png --top 3");
  return [options] { predict(*options); };
}

}  // namespace cli
