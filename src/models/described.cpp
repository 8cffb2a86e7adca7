// Networks that are described in a text, a line per layer (network_text.h; docs/networks.md).
//
// The text is worked through line by line with a tensor that has a shape and no data, so each layer
// learns from it how many channels come in, and an error is that of its line. To add a layer: its
// function and its line in kLayers.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <vector>

#include "autograd/trace.h"
#include "core/abstract_scope.h"
#include "core/check.h"
#include "core/input_file.h"
#include "core/tensor_impl.h"
#include "fovea/autograd.h"
#include "models/build.h"
#include "models/network_text.h"

namespace fovea::models {
namespace {

constexpr std::int64_t kMostBytes = 1 << 20;  // of a text
constexpr std::size_t kMostLines = 10'000;

using Layer = std::unique_ptr<nn::Module>;

// What a layer is built from: its line, the shape that comes in, and the network's options.
struct Site {
  NetworkLine& line;
  const Shape& input;  // [N, C, spatial...]
  std::int64_t classes;
  std::uint64_t seed;
  Generator& generator;
  const std::map<std::string, nn::Module*, std::less<>>& above;  // the layers, by name

  std::int64_t channels() const { return input[1]; }
  int dims() const { return input.rank() - 2; }
  Shape space() const {
    return Shape(std::span<const std::int64_t>(input.begin() + 2, input.end()));
  }
  // A number, or `classes`.
  std::int64_t outputs() const {
    if (line.takes("classes")) return classes;
    return line.integer("the number of outputs, or `classes`,");
  }
};

PaddingMode padding_mode(NetworkLine& line) {
  const std::string word = line.word("padding_mode", "zeros");
  for (const PaddingMode mode : kPaddingModes) {
    if (name(mode) == word) return mode;
  }
  line.fail(fmt::format("there is no padding_mode '{}'", word));
}

Layer conv(Site& site) {
  const std::int64_t out = site.outputs();
  NetworkLine& line = site.line;
  const Spatial kernel = line.sizes("kernel", 3);
  return std::make_unique<nn::Conv>(site.dims(), site.channels(), out, kernel,
                                    nn::ConvLayerOptions{.stride = line.sizes("stride", 1),
                                                         .padding = line.padding(),
                                                         .padding_mode = padding_mode(line),
                                                         .dilation = line.sizes("dilation", 1),
                                                         .groups = line.integer("groups", 1),
                                                         .flip = line.flag("flip", false),
                                                         .bias = line.flag("bias", true)},
                                    site.generator);
}

Layer conv_transpose(Site& site) {
  const std::int64_t out = site.outputs();
  NetworkLine& line = site.line;
  const Spatial kernel = line.sizes("kernel", 2);
  return std::make_unique<nn::ConvTranspose>(
      site.dims(), site.channels(), out, kernel,
      nn::ConvTransposeLayerOptions{.stride = line.sizes("stride", 1),
                                    .padding = line.padding(),
                                    .padding_mode = padding_mode(line),
                                    .output_padding = line.sizes("output_padding", 0),
                                    .output_size = line.sizes("output_size", 0),
                                    .dilation = line.sizes("dilation", 1),
                                    .groups = line.integer("groups", 1),
                                    .flip = line.flag("flip", false),
                                    .bias = line.flag("bias", true)},
      site.generator);
}

Layer locally_connected_layer(Site& site) {
  const std::int64_t out = site.outputs();
  NetworkLine& line = site.line;
  const Spatial kernel = line.sizes("kernel", 3);
  return std::make_unique<nn::LocallyConnected>(
      site.space(), site.channels(), out, kernel,
      nn::ConvLayerOptions{.stride = line.sizes("stride", 1),
                           .padding = line.padding(),
                           .padding_mode = padding_mode(line),
                           .dilation = line.sizes("dilation", 1),
                           .groups = line.integer("groups", 1),
                           .bias = line.flag("bias", true)},
      site.generator);
}

Layer pad_layer(Site& site) {
  NetworkLine& line = site.line;
  const Padding amounts = line.padding();
  return std::make_unique<nn::Pad>(amounts, PadOptions{.mode = padding_mode(line)});
}

WindowOptions window_options(NetworkLine& line) {
  return {.stride = line.sizes("stride", 1),
          .padding = line.padding(),
          .padding_mode = padding_mode(line),
          .dilation = line.sizes("dilation", 1)};
}

Layer unfold_layer(Site& site) {
  NetworkLine& line = site.line;
  const Spatial kernel = line.sizes("a kernel");
  return std::make_unique<nn::Unfold>(kernel, window_options(line));
}

Layer fold_layer(Site& site) {
  NetworkLine& line = site.line;
  const Spatial size = line.sizes("the size to fold to, as 28x28");
  const Spatial kernel = line.sizes("a kernel");
  return std::make_unique<nn::Fold>(size, kernel, window_options(line));
}

Layer linear_layer(Site& site) {
  if (site.input.rank() != 2)
    site.line.fail(
        fmt::format("linear takes [N, features], but {} comes in; flatten it first", site.input));
  return std::make_unique<nn::Linear>(site.channels(), site.outputs(), site.generator,
                                      site.line.flag("bias", true));
}

Layer batch_norm_layer(Site& site) {
  return std::make_unique<nn::BatchNorm>(
      std::max(site.dims(), 1), site.channels(),
      nn::BatchNormLayerOptions{.eps = site.line.number("eps", 1e-5),
                                .momentum = site.line.number("momentum", 0.1)});
}

Layer group_norm_layer(Site& site) {
  return std::make_unique<nn::GroupNorm>(
      site.line.integer("a number of groups"), site.channels(),
      nn::NormLayerOptions{.eps = site.line.number("eps", 1e-5)});
}

Layer instance_norm_layer(Site& site) {
  return std::make_unique<nn::InstanceNorm>(
      site.channels(), nn::NormLayerOptions{.eps = site.line.number("eps", 1e-5)});
}

// Over all but the batch.
Layer layer_norm_layer(Site& site) {
  return std::make_unique<nn::LayerNorm>(
      Shape(std::span<const std::int64_t>(site.input.begin() + 1, site.input.end())),
      nn::NormLayerOptions{.eps = site.line.number("eps", 1e-5)});
}

Layer response_norm(Site& site) {
  NetworkLine& line = site.line;
  return std::make_unique<nn::LocalResponseNorm>(
      line.integer("a number of channels"), ResponseNormOptions{.alpha = line.number("alpha", 1e-4),
                                                                .beta = line.number("beta", 0.75),
                                                                .k = line.number("k", 1)});
}

// A window for each dimension.
Spatial window(Site& site) {
  return Spatial(site.line.sizes("a window").expand(site.dims(), "window"));
}

Layer max_pool_layer(Site& site) {
  NetworkLine& line = site.line;
  const Spatial size = window(site);
  return std::make_unique<nn::MaxPool>(size,
                                       PoolOptions{.stride = line.sizes("stride", 0),
                                                   .padding = line.padding(),
                                                   .dilation = line.sizes("dilation", 1),
                                                   .ceil_mode = line.flag("ceil_mode", false)});
}

Layer max_unpool_layer(Site& site) {
  const std::string name = site.line.word("the name of the max_pool line");
  const auto found = site.above.find(name);
  auto* const pool =
      found == site.above.end() ? nullptr : dynamic_cast<nn::MaxPool*>(found->second);
  if (pool == nullptr) site.line.fail(fmt::format("no max_pool above is called '{}'", name));
  return std::make_unique<nn::MaxUnpool>(*pool);
}

Layer lp_pool_layer(Site& site) {
  NetworkLine& line = site.line;
  const double p = line.number("the power p");
  const Spatial size = window(site);
  return std::make_unique<nn::LpPool>(
      p, size,
      LpPoolOptions{.stride = line.sizes("stride", 0), .ceil_mode = line.flag("ceil_mode", false)});
}

Layer avg_pool_layer(Site& site) {
  NetworkLine& line = site.line;
  const Spatial size = window(site);
  return std::make_unique<nn::AvgPool>(
      size, AvgPoolOptions{.stride = line.sizes("stride", 0),
                           .padding = line.padding(),
                           .ceil_mode = line.flag("ceil_mode", false),
                           .count_include_pad = line.flag("count_include_pad", true)});
}

Layer adaptive_avg_pool_layer(Site& site) {
  return std::make_unique<nn::AdaptiveAvgPool>(window(site));
}

Layer adaptive_max_pool_layer(Site& site) {
  return std::make_unique<nn::AdaptiveMaxPool>(window(site));
}

Layer upsample_layer(Site& site) {
  NetworkLine& line = site.line;
  const std::string mode = line.word("mode", "nearest");
  if (mode != "nearest" && mode != "linear")
    line.fail(fmt::format("mode is nearest or linear, not '{}'", mode));
  return std::make_unique<nn::Upsample>(
      UpsampleOptions{.scale = line.sizes("scale", 2),
                      .mode = mode == "linear" ? Interpolation::linear : Interpolation::nearest,
                      .align_corners = line.flag("align_corners", false)});
}

Layer dropout_layer(Site& site) {
  return std::make_unique<nn::Dropout>(site.line.number("a probability"), site.seed);
}

Layer dropout2d_layer(Site& site) {
  return std::make_unique<nn::Dropout2d>(site.line.number("a probability"), site.seed);
}

Layer leaky_relu_layer(Site& site) {
  return std::make_unique<nn::LeakyRelu>(site.line.number("slope", 0.01));
}

Layer elu_layer(Site& site) {
  return std::make_unique<nn::Elu>(site.line.number("scale", 1));
}

template <class Layers>
Layer along_axis(Site& site) {
  return std::make_unique<Layers>(static_cast<int>(site.line.integer("axis", 1)));
}

template <class Function>
Layer plain(Site&) {
  return std::make_unique<Function>();
}

struct LayerKind {
  std::string_view name;
  Layer (*build)(Site& site);
};
constexpr LayerKind kLayers[] = {
    {"conv", conv},
    {"conv_transpose", conv_transpose},
    {"locally_connected", locally_connected_layer},
    {"linear", linear_layer},
    {"pad", pad_layer},
    {"unfold", unfold_layer},
    {"fold", fold_layer},
    {"batch_norm", batch_norm_layer},
    {"group_norm", group_norm_layer},
    {"instance_norm", instance_norm_layer},
    {"layer_norm", layer_norm_layer},
    {"local_response_norm", response_norm},
    {"max_pool", max_pool_layer},
    {"max_unpool", max_unpool_layer},
    {"lp_pool", lp_pool_layer},
    {"avg_pool", avg_pool_layer},
    {"adaptive_avg_pool", adaptive_avg_pool_layer},
    {"adaptive_max_pool", adaptive_max_pool_layer},
    {"global_avg_pool", plain<nn::GlobalAvgPool>},
    {"global_max_pool", plain<nn::GlobalMaxPool>},
    {"upsample", upsample_layer},
    {"flatten", plain<nn::Flatten>},
    {"dropout", dropout_layer},
    {"dropout2d", dropout2d_layer},
    {"relu", plain<nn::Relu>},
    {"relu6", plain<nn::Relu6>},
    {"leaky_relu", leaky_relu_layer},
    {"elu", elu_layer},
    {"sigmoid", plain<nn::Sigmoid>},
    {"tanh", plain<nn::Tanh>},
    {"gelu", plain<nn::Gelu>},
    {"silu", plain<nn::Silu>},
    {"hardswish", plain<nn::Hardswish>},
    {"softplus", plain<nn::Softplus>},
    {"softmax", along_axis<nn::Softmax>},
    {"log_softmax", along_axis<nn::LogSoftmax>},
};

// Those that join several values into one.
struct JoinKind {
  std::string_view name;
  Tensor (*join)(const std::vector<Tensor>& values);
};
constexpr JoinKind kJoins[] = {
    {"add",
     [](const std::vector<Tensor>& values) {
       Tensor sum = values.front();
       for (std::size_t i = 1; i < values.size(); ++i) sum = sum + values[i];
       return sum;
     }},
    {"mul",
     [](const std::vector<Tensor>& values) {
       Tensor product = values.front();
       for (std::size_t i = 1; i < values.size(); ++i) product = product * values[i];
       return product;
     }},
    {"concat", [](const std::vector<Tensor>& values) { return concat(values); }},
};

template <class Kind, std::size_t Count>
const Kind* find(const Kind (&kinds)[Count], std::string_view name) {
  const auto* const found =
      std::find_if(kinds, kinds + Count, [&](const Kind& kind) { return kind.name == name; });
  return found == kinds + Count ? nullptr : found;
}

class Described final : public Block {
 public:
  std::string describe() const override {
    return fmt::format("Described({} layers)", steps_.size());
  }

  void append(std::string name, Layer layer, const JoinKind* join,
              std::vector<std::size_t> inputs) {
    nn::Module* const module = layer.get();
    if (layer != nullptr) own(name, std::move(layer));
    steps_.push_back({std::move(name), module, join, std::move(inputs)});
  }

  // Of the last step alone; the others have run.
  Tensor run_step(std::size_t step, const std::vector<Tensor>& values) const {
    const Step& at = steps_[step];
    std::vector<Tensor> inputs;
    for (const std::size_t input : at.inputs) inputs.push_back(values[input]);
    if (at.join == nullptr) return (*at.module)(inputs.front());
    const autograd::LayerScope scope(at.name, this, [this] { return describe(); });
    return at.join->join(inputs);
  }

  // Values that no later step reads are let go.
  void plan_lifetimes() {
    std::vector<std::size_t> last(steps_.size() + 1, 0);
    for (std::size_t step = 0; step < steps_.size(); ++step) {
      for (const std::size_t input : steps_[step].inputs) last[input] = step;
    }
    for (std::size_t value = 0; value < steps_.size(); ++value)
      steps_[last[value]].done.push_back(value);
  }

 protected:
  Tensor forward(const Tensor& input) override {
    std::vector<Tensor> values(steps_.size() + 1);
    values[0] = input;
    for (std::size_t step = 0; step < steps_.size(); ++step) {
      values[step + 1] = run_step(step, values);
      for (const std::size_t value : steps_[step].done) values[value] = Tensor();
    }
    return values.back();
  }

 private:
  struct Step {
    std::string name;
    nn::Module* module;               // null for a join
    const JoinKind* join;             // null for a layer
    std::vector<std::size_t> inputs;  // 0: the network's, i + 1: the result of step i
    std::vector<std::size_t> done = {};
  };
  std::vector<Step> steps_;
};

// The text, line by line.
class Reader {
 public:
  Reader(const std::string& text, std::string file, const Options& options)
      : file_(std::move(file)), options_(options), generator_{.seed = options.seed} {
    std::size_t start = 0;
    for (std::size_t number = 1; start <= text.size(); ++number) {
      const std::size_t end = std::min(text.find('\n', start), text.size());
      const std::string place = fmt::format("{}:{}", file_, number);
      FOVEA_CHECK(number <= kMostLines, "{}: a network has at most {} lines", place, kMostLines);
      NetworkLine line(place, std::string_view(text).substr(start, end - start));
      start = end + 1;
      if (!line.empty()) read(line);
    }
    FOVEA_CHECK(!input_.empty(), "{}: has no line `input`, such as `input 1x28x28`", file_);
    FOVEA_CHECK(values_.size() > 1, "{}: has no layers", file_);
  }

  Shape input() const { return input_; }
  std::int64_t classes() const { return classes_; }
  // What differs from the text.
  std::vector<std::string> adapted() const {
    std::vector<std::string> notes;
    if (input_ != own_input_) {
      notes.push_back(fmt::format("it takes samples of {} instead of {}", fmt::join(input_, "x"),
                                  fmt::join(own_input_, "x")));
    }
    if (classes_ != own_classes_)
      notes.push_back(fmt::format("`classes` is {} instead of {}", classes_, own_classes_));
    return notes;
  }
  const Shape& output() const { return values_.back().shape(); }
  std::shared_ptr<Described> take() {
    net_->plan_lifetimes();
    start_for_relu(*net_, generator_);
    return std::move(net_);
  }

 private:
  void read(NetworkLine& line) {
    if (line.layer() == "input") {
      read_input(line);
    } else if (line.layer() == "classes") {
      const std::int64_t count = line.integer("a number");
      if (count < 1) line.fail("a network has at least one class");
      published_classes_ = count;
      line.finish();
    } else {
      read_layer(line);
    }
  }

  void read_input(NetworkLine& line) {
    if (!input_.empty()) line.fail("the input is given twice");
    const Shape own = line.sizes("the sizes of a sample, as 1x28x28").values();
    line.finish();
    own_input_ = own;
    input_ = options_.input.empty() ? own : options_.input;
    if (input_.rank() != own.rank())
      line.fail(fmt::format("the network takes samples of {} axes, but {} is asked for", own.rank(),
                            input_));
    double values = 1;
    Shape batch = {1};
    for (const std::int64_t size : input_) {
      if (size < 1) line.fail("every size of a sample is at least 1");
      values *= static_cast<double>(size);
      batch.push_back(size);
    }
    if (values > static_cast<double>(1LL << 40)) line.fail("a sample has at most 2^40 values");
    const Layout layout = batch.rank() > 2 ? Layout::channels_last : Layout::row_major;
    add_value("input", allocate_tensor(make_spec(batch, DType::float32, layout), true), line);
  }

  void read_layer(NetworkLine& line) {
    if (input_.empty()) line.fail("the first line must be `input`, such as `input 1x28x28`");
    own_classes_ = published_classes_;
    classes_ = options_.classes != 0 ? options_.classes : own_classes_;
    const LayerKind* const kind = find(kLayers, line.layer());
    const JoinKind* const join = find(kJoins, line.layer());
    if (kind == nullptr && join == nullptr) fail_unknown(line);
    std::vector<std::size_t> inputs = inputs_of(line, join != nullptr);
    const std::string name =
        line.name().empty() ? fmt::format("{}{}", line.layer(), values_.size()) : line.name();
    try {
      Layer layer;
      if (kind != nullptr) {
        Site site{.line = line,
                  .input = values_[inputs.front()].shape(),
                  .classes = classes_,
                  .seed = options_.seed + values_.size(),
                  .generator = generator_,
                  .above = layers_};
        layer = kind->build(site);
        layers_.emplace(name, layer.get());
        layer->eval();  // no masks are drawn of shapes
      }
      line.finish();
      net_->append(name, std::move(layer), join, std::move(inputs));
      const NoGrad no_grad;
      add_value(name, net_->run_step(values_.size() - 1, values_), line);
    } catch (const Error& error) {
      const std::string message = error.what();
      if (message.starts_with(file_)) throw;
      line.fail(message);
    }
  }

  std::vector<std::size_t> inputs_of(const NetworkLine& line, bool joins) const {
    std::vector<std::size_t> inputs;
    for (const std::string& name : line.inputs()) {
      const auto found = names_.find(name);
      if (found == names_.end()) line.fail(fmt::format("no line above is called '{}'", name));
      inputs.push_back(found->second);
    }
    if (joins && inputs.size() < 2)
      line.fail(fmt::format("{0} joins two or more values: `{0} < NAME NAME`", line.layer()));
    if (!joins && inputs.size() > 1)
      line.fail(fmt::format("{} takes one value, but {} are named", line.layer(), inputs.size()));
    if (inputs.empty()) inputs.push_back(values_.size() - 1);
    return inputs;
  }

  void add_value(const std::string& name, Tensor value, const NetworkLine& line) {
    if (!names_.emplace(name, values_.size()).second)
      line.fail(fmt::format("the name '{}' is taken already", name));
    values_.push_back(std::move(value));
  }

  [[noreturn]] static void fail_unknown(const NetworkLine& line) {
    std::vector<std::string_view> names = {"input", "classes"};
    for (const LayerKind& kind : kLayers) names.push_back(kind.name);
    for (const JoinKind& kind : kJoins) names.push_back(kind.name);
    line.fail(
        fmt::format("there is no layer '{}'; there are {}", line.layer(), fmt::join(names, ", ")));
  }

  std::string file_;
  const Options& options_;
  Generator generator_;
  std::shared_ptr<Described> net_ = std::make_shared<Described>();
  Shape input_;
  Shape own_input_;  // as the text has it
  std::int64_t published_classes_ = 10;
  std::int64_t own_classes_ = 10;  // as the lines above have it
  std::int64_t classes_ = 10;
  std::vector<Tensor> values_;  // shapes alone
  std::map<std::string, std::size_t, std::less<>> names_;
  std::map<std::string, nn::Module*, std::less<>> layers_;
};

}  // namespace

nn::Model described(const std::string& text, const std::string& file, const Options& options) {
  FOVEA_CHECK(options.width == 1, "{}: a described network has no width", file);
  FOVEA_CHECK(options.classes >= 0, "{}: needs at least one class, but got classes={}", file,
              options.classes);
  Reader reader(text, file, options);
  nn::ModelInfo info;
  info.architecture = kDescribed;
  info.options = {{"classes", std::to_string(reader.classes())},
                  {"seed", std::to_string(options.seed)},
                  {"text", text}};
  info.input = reader.input();
  info.adapted = reader.adapted();
  std::shared_ptr<Described> net = reader.take();
  net->train();
  return {std::move(net), std::move(info)};
}

nn::Model read_network(const std::string& path, const Options& options) {
  const std::string text = read_text_file("read_network", path, kMostBytes);
  return described(text, path, options);
}

}  // namespace fovea::models
