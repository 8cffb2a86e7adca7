// See torch_network.h.
#include "torch_network.h"

#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>
#include <dlfcn.h>
#include <torch/nn.h>
#include <torch/optim/sgd.h>
#include <torch/version.h>

#include <algorithm>
#include <filesystem>
#include <stdexcept>

#include "torch_models.h"

namespace peers {
namespace {

void load(TorchModule& net, const std::vector<Parameter>& parameters) {
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
  std::shared_ptr<TorchModule> net;
  torch::Tensor images, labels, logits;
  std::unique_ptr<torch::optim::SGD> optimizer;
};

TorchNetwork::TorchNetwork(const std::string& architecture,
                           const std::vector<Parameter>& parameters, const Batch& batch,
                           TorchLayout layout, const SgdSettings& sgd)
    : impl_(std::make_unique<Impl>()) {
  const auto classes = static_cast<std::int64_t>(parameters.back().values.size());  // a bias
  impl_->net = build_torch_module(architecture, {batch.shape[1], batch.shape[2], classes});
  load(*impl_->net, parameters);
  const auto count = static_cast<std::int64_t>(batch.labels.size());
  impl_->images = torch::empty(batch.shape);
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

double TorchNetwork::train_step(bool drop) {
  impl_->net->train();
  if (!drop) {
    for (const auto& module : impl_->net->modules()) {
      if (module->as<torch::nn::Dropout>() != nullptr) module->eval();
    }
  }
  impl_->optimizer->zero_grad();
  const torch::Tensor loss =
      torch::nn::functional::cross_entropy(impl_->net->forward(impl_->images), impl_->labels);
  loss.backward();
  impl_->optimizer->step();
  return loss.item<double>();
}

void TorchNetwork::infer() {
  impl_->net->eval();
  const c10::InferenceMode guard;
  impl_->logits = impl_->net->forward(impl_->images);
}

std::vector<float> TorchNetwork::logits() const {
  const torch::Tensor dense = impl_->logits.contiguous();
  return {dense.data_ptr<float>(), dense.data_ptr<float>() + dense.numel()};
}

bool torch_has(const std::string& architecture) {
  return has_torch_module(architecture);
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
