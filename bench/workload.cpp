// See workload.h.
#include "workload.h"

#include <utility>

#include "fovea/autograd.h"
#include "fovea/functions.h"
#include "fovea/models.h"
#include "fovea/random.h"

namespace bench {
namespace {

using fovea::ConvProblem;
using fovea::Pass;
using fovea::Tensor;

constexpr double kRate = 0.01;
constexpr double kMomentum = 0.9;
constexpr std::int64_t kClasses = 10;

Tensor random_tensor(const fovea::Shape& shape, fovea::DType dtype, std::uint64_t seed,
                     fovea::Layout layout) {
  fovea::Generator generator{.seed = seed};
  return fovea::uniform(shape, -1, 1, generator, dtype).contiguous(layout);
}

// Written, so that every page is there before anything is timed.
Tensor zeros(const fovea::Shape& shape, fovea::DType dtype, fovea::Layout layout) {
  return Tensor::zeros(shape, dtype, layout);
}

fovea::Shape batch_shape(const fovea::Shape& sample, std::int64_t batch) {
  fovea::Shape shape{batch};
  for (const std::int64_t size : sample) shape.push_back(size);
  return shape;
}

Tensor random_labels(std::int64_t batch, std::int64_t classes) {
  std::vector<std::int64_t> labels;
  for (std::int64_t i = 0; i < batch; ++i) labels.push_back(i * 7 % classes);
  return Tensor::from(labels, {batch});
}

}  // namespace

ConvWork::ConvWork(fovea::Plan plan) : plan_(std::move(plan)) {
  constexpr auto kCells = fovea::Layout::channels_last;
  constexpr auto kWeights = fovea::Layout::row_major;
  const ConvProblem& problem = plan_.problem;
  const bool to_data = plan_.pass == Pass::backward_data;
  const bool to_weights = plan_.pass == Pass::backward_weights;
  first_ = random_tensor(to_data ? problem.output_shape() : problem.input_shape(), problem.dtype, 1,
                         kCells);
  second_ = random_tensor(to_weights ? problem.output_shape() : problem.weight_shape(),
                          problem.dtype, 2, to_weights ? kCells : kWeights);
  result_ = to_weights ? zeros(problem.weight_shape(), problem.dtype, kWeights)
                       : zeros(to_data ? problem.input_shape() : problem.output_shape(),
                               problem.dtype, kCells);
}

NetworkWork::NetworkWork(const std::string& network, std::int64_t batch, const fovea::Shape& input)
    : model_(fovea::models::build(network, {.classes = kClasses, .input = input})),
      images_(random_tensor(batch_shape(model_.info.input, batch), fovea::DType::float32, 1,
                            fovea::Layout::channels_last)),
      labels_(random_labels(batch, kClasses)),
      optimizer_(model_.parameters(), {.lr = kRate, .momentum = kMomentum}) {}

double NetworkWork::train(bool drop) {
  model_.train();
  if (!drop) {
    model_.module().visit([](const std::string&, fovea::nn::Module& module) {
      if (dynamic_cast<fovea::nn::Dropout*>(&module) != nullptr) module.eval();
    });
  }
  optimizer_.zero_grad();
  const Tensor loss = fovea::cross_entropy(model_(images_), labels_);
  loss.backward();
  optimizer_.step();
  return loss.item<double>();
}

Tensor NetworkWork::infer() {
  const fovea::NoGrad no_grad;
  model_.eval();
  return model_(images_);
}

}  // namespace bench
