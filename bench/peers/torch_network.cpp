// See torch_network.h.
#include "torch_network.h"

#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>
#include <dlfcn.h>
#include <torch/nn.h>
#include <torch/optim/sgd.h>
#include <torch/version.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <stdexcept>
#include <string_view>

namespace peers {
namespace {

struct Style {
  std::string_view name;
  torch::Tensor (*activation)(const torch::Tensor&);
  torch::Tensor (*pool)(const torch::Tensor&);
};

constexpr std::array<Style, 2> kStyles = {{
    {"lenet5", [](const torch::Tensor& x) { return torch::relu(x); },
     [](const torch::Tensor& x) { return torch::max_pool2d(x, 2); }},
    {"lenet5_1998", [](const torch::Tensor& x) { return torch::sigmoid(x); },
     [](const torch::Tensor& x) { return torch::avg_pool2d(x, 2); }},
}};

const Style& style_of(const std::string& architecture) {
  for (const Style& style : kStyles) {
    if (style.name == architecture) return style;
  }
  throw std::runtime_error("fovea-peers has no '" + architecture + "' in libtorch");
}

// The names and shapes of fovea::models' parameters.
struct LeNet : torch::nn::Module {
  LeNet(const Style& how, std::int64_t classes) : style(how) {
    conv1 =
        register_module("conv1", torch::nn::Conv2d(torch::nn::Conv2dOptions(1, 6, 5).padding(2)));
    conv2 = register_module("conv2", torch::nn::Conv2d(torch::nn::Conv2dOptions(6, 16, 5)));
    fc1 = register_module("fc1", torch::nn::Linear(400, 120));
    fc2 = register_module("fc2", torch::nn::Linear(120, 84));
    fc3 = register_module("fc3", torch::nn::Linear(84, classes));
  }
  torch::Tensor forward(torch::Tensor x) {
    x = style.pool(style.activation(conv1(x)));
    x = style.pool(style.activation(conv2(x)));
    x = style.activation(fc1(x.flatten(1)));
    return fc3(style.activation(fc2(x)));
  }

  Style style;
  torch::nn::Conv2d conv1{nullptr}, conv2{nullptr};
  torch::nn::Linear fc1{nullptr}, fc2{nullptr}, fc3{nullptr};
};

std::int64_t class_count(const std::vector<Parameter>& parameters) {
  for (const Parameter& parameter : parameters) {
    if (parameter.name == "fc3.bias") return static_cast<std::int64_t>(parameter.values.size());
  }
  throw std::runtime_error("there is no parameter fc3.bias");
}

void load(LeNet& net, const std::vector<Parameter>& parameters) {
  const torch::NoGradGuard no_grad;
  auto own = net.named_parameters();
  if (own.size() != parameters.size())
    throw std::runtime_error("the networks differ in parameters");
  for (const Parameter& parameter : parameters) {
    torch::Tensor* target = own.find(parameter.name);
    const auto count = static_cast<std::int64_t>(parameter.values.size());
    if (target == nullptr || target->numel() != count)
      throw std::runtime_error("libtorch's network has no such parameter: " + parameter.name);
    std::copy(parameter.values.begin(), parameter.values.end(), target->data_ptr<float>());
  }
}

}  // namespace

struct TorchNetwork::Impl {
  std::shared_ptr<LeNet> net;
  torch::Tensor images, labels, logits;
  std::unique_ptr<torch::optim::SGD> optimizer;
};

TorchNetwork::TorchNetwork(const std::string& architecture,
                           const std::vector<Parameter>& parameters, const Batch& batch,
                           TorchLayout layout, const SgdSettings& sgd)
    : impl_(std::make_unique<Impl>()) {
  impl_->net = std::make_shared<LeNet>(style_of(architecture), class_count(parameters));
  load(*impl_->net, parameters);
  const auto count = static_cast<std::int64_t>(batch.labels.size());
  impl_->images = torch::empty({count, 1, 28, 28});
  std::copy(batch.images.begin(), batch.images.end(), impl_->images.data_ptr<float>());
  impl_->labels = torch::empty({count}, torch::kInt64);
  std::copy(batch.labels.begin(), batch.labels.end(), impl_->labels.data_ptr<std::int64_t>());
  if (layout == TorchLayout::channels_last) {
    // Modules have no such conversion of their own in C++; biases have no layout.
    const torch::NoGradGuard no_grad;
    for (torch::Tensor& parameter : impl_->net->parameters()) {
      if (parameter.dim() == 4)
        parameter.set_data(parameter.contiguous(torch::MemoryFormat::ChannelsLast));
    }
    // One channel is both layouts at once, and `contiguous` would keep the strides of the first.
    impl_->images =
        torch::empty_like(impl_->images, torch::MemoryFormat::ChannelsLast).copy_(impl_->images);
  }
  impl_->optimizer = std::make_unique<torch::optim::SGD>(
      impl_->net->parameters(), torch::optim::SGDOptions(sgd.lr).momentum(sgd.momentum));
}

TorchNetwork::~TorchNetwork() = default;

double TorchNetwork::train_step() {
  impl_->optimizer->zero_grad();
  const torch::Tensor loss =
      torch::nn::functional::cross_entropy(impl_->net->forward(impl_->images), impl_->labels);
  loss.backward();
  impl_->optimizer->step();
  return loss.item<double>();
}

void TorchNetwork::infer() {
  const c10::InferenceMode guard;
  impl_->logits = impl_->net->forward(impl_->images);
}

std::vector<float> TorchNetwork::logits() const {
  const torch::Tensor dense = impl_->logits.contiguous();
  return {dense.data_ptr<float>(), dense.data_ptr<float>() + dense.numel()};
}

bool torch_has(const std::string& architecture) {
  return std::any_of(kStyles.begin(), kStyles.end(),
                     [&](const Style& style) { return style.name == architecture; });
}

void set_torch_threads(int count) {
  at::set_num_threads(count);
}

std::string torch_version() {
  return "libtorch " + std::to_string(TORCH_VERSION_MAJOR) + "." +
         std::to_string(TORCH_VERSION_MINOR);
}

std::string torch_blas() {
  Dl_info info{};
  void* product = dlsym(RTLD_DEFAULT, "sgemm_");
  if (product == nullptr || dladdr(product, &info) == 0) return "unknown";
  return std::filesystem::weakly_canonical(info.dli_fname).string();
}

}  // namespace peers
