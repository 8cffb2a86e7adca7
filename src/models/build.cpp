// See build.h.
#include "models/build.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/abstract_scope.h"
#include "core/check.h"
#include "core/tensor_impl.h"
#include "fovea/autograd.h"

namespace fovea::models {
namespace {

std::string sizes(const Shape& shape) {
  return fmt::format("{}", fmt::join(shape, "x"));
}

}  // namespace

Builder::Builder(std::string name, const Shape& input, std::int64_t classes, const Options& options,
                 std::string_view advice)
    : generator{.seed = options.seed},
      name_(std::move(name)),
      options_(options),
      input_(options.input.empty() ? input : options.input),
      classes_(options.classes == 0 ? classes : options.classes) {
  FOVEA_CHECK(classes_ > 0, "{}: needs at least one class, but got classes={}", name_, classes_);
  FOVEA_CHECK(input_.rank() == input.rank(),
              "{}: takes samples of {} axes, such as {} (channels first), but got input={}{}",
              name_, input.rank(), sizes(input), sizes(input_), advice);
  // What any network makes of so many values can still be counted.
  constexpr double kMostValues = 1LL << 40;
  double values = 1;
  for (const std::int64_t size : input_) values *= static_cast<double>(size);
  FOVEA_CHECK(*std::min_element(input_.begin(), input_.end()) > 0 && values <= kMostValues,
              "{}: a sample has positive sizes and at most 2^40 values, but got input={}", name_,
              sizes(input_));
  FOVEA_CHECK(options.width > 0 && options.width <= 16,
              "{}: width must be above 0 and at most 16, but is {}", name_, options.width);
  if (options.width != 1) adapted(fmt::format("it has {} times the channels", options.width));
  if (channels() != input[0])
    adapted(fmt::format("its first layer takes {} {} instead of {}", channels(),
                        channels() == 1 ? "channel" : "channels", input[0]));
  if (classes_ != classes)
    adapted(fmt::format("its last layer gives {} {} instead of {}", classes_,
                        classes_ == 1 ? "class" : "classes", classes));
}

std::int64_t Builder::side() const {
  return *std::min_element(input_.begin() + 1, input_.end());
}

std::int64_t Builder::widened(std::int64_t channels) const {
  if (options_.width == 1) return channels;
  const double wanted = static_cast<double>(channels) * options_.width;
  const auto rounded = std::max<std::int64_t>(8, static_cast<std::int64_t>(wanted + 4) / 8 * 8);
  return static_cast<double>(rounded) < 0.9 * wanted ? rounded + 8 : rounded;
}

nn::Model Builder::finish(std::shared_ptr<nn::Module> net) const {
  Shape shape = {1};
  for (const std::int64_t size : input_) shape.push_back(size);
  const Layout layout = shape.rank() > 2 ? Layout::channels_last : Layout::row_major;
  net->eval();
  try {
    const NoGrad no_grad;
    (*net)(allocate_tensor(make_spec(shape, DType::float32, layout), true));
  } catch (const Error& error) {
    throw_error(
        fmt::format("{} cannot take samples of {}: {}", name_, sizes(input_), error.what()));
  }
  net->train();
  nn::ModelInfo info;
  info.architecture = name_;
  info.options = {{"classes", std::to_string(classes_)}, {"seed", std::to_string(options_.seed)}};
  if (options_.width != 1) info.options["width"] = fmt::format("{}", options_.width);
  info.input = input_;
  info.adapted = notes_;
  return {std::move(net), std::move(info)};
}

nn::ConvLayerOptions without_bias(const Spatial& stride, const Padding& padding,
                                  std::int64_t groups) {
  return {.stride = stride, .padding = padding, .groups = groups, .bias = false};
}

void start_for_relu(nn::Module& net, Generator& generator) {
  net.visit([&](const std::string&, nn::Module& module) {
    auto* conv = dynamic_cast<nn::Conv*>(&module);
    if (conv == nullptr) return;
    nn::init::kaiming_normal(conv->weight, generator);
    if (conv->bias.defined()) conv->bias.fill(0);
  });
}

}  // namespace fovea::models
