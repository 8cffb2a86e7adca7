// Optimisers and learning-rate schedules.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "fovea/export.h"
#include "fovea/tensor.h"

namespace fovea::optim {

// What an optimiser remembers from step to step. Its other options are not part of it: they are
// those that it is made with.
struct OptimizerState {
  std::string method;  // "adam"
  std::int64_t steps = 0;
  double lr = 0;
  std::map<std::string, Tensor> tensors;  // "first.0": of the first parameter
};

// Changes parameters along their gradients. The learning rate may be set between steps, as
// schedules do.
class FOVEA_API Optimizer {
 public:
  explicit Optimizer(std::vector<Tensor> parameters, double lr);
  virtual ~Optimizer();
  virtual std::string_view method() const = 0;  // "adam"
  // One update of every parameter that has a gradient.
  virtual void step() = 0;
  void zero_grad();
  double lr() const { return lr_; }
  void set_lr(double lr) { lr_ = lr; }
  // The tensors share the optimiser's memory: clone them to keep them over the next step.
  OptimizerState state() const;
  // Copies the state in. Throws Error, and changes nothing, unless it is of the same method and of
  // parameters of the same shapes and types.
  void set_state(const OptimizerState& state);

 protected:
  // A tensor of zeros for each parameter, in its shape, type and memory order: "first.0", "first.1"
  // and so on in the state.
  std::vector<Tensor> add_state(std::string_view name);

  std::vector<Tensor> parameters_;
  double lr_;
  std::int64_t steps_ = 0;

 private:
  std::map<std::string, Tensor> kept_;
};

struct SgdOptions {
  double lr = 0.01;
  double momentum = 0;
  bool nesterov = false;
  double weight_decay = 0;
};

// v <- momentum v + (g + decay w); w <- w - lr v, or with Nesterov w - lr (g + decay w + momentum
// v).
class FOVEA_API Sgd : public Optimizer {
 public:
  Sgd(std::vector<Tensor> parameters, const SgdOptions& options);
  std::string_view method() const override { return "sgd"; }
  void step() override;

 private:
  SgdOptions options_;
  std::vector<Tensor> velocity_;
};

struct AdamOptions {
  double lr = 1e-3;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double eps = 1e-8;
  double weight_decay = 0;  // added to the gradient
};

// Kingma and Ba, "Adam: a method for stochastic optimization", 2015.
class FOVEA_API Adam : public Optimizer {
 public:
  Adam(std::vector<Tensor> parameters, const AdamOptions& options = {});
  std::string_view method() const override { return "adam"; }
  void step() override;

 private:
  AdamOptions options_;
  std::vector<Tensor> first_;
  std::vector<Tensor> second_;
};

// Learning rate as a function of progress, 0 at the start and 1 at the end.
struct Schedule {
  enum class Kind : std::uint8_t { constant, cosine, one_cycle };
  Kind kind = Kind::constant;
  double peak = 1e-3;         // the highest rate
  double warmup = 0.3;        // one_cycle: the part that rises
  double start_factor = 25;   // one_cycle: starts at peak / start_factor
  double final_factor = 1e4;  // one_cycle: ends at peak / start_factor / final_factor
};
// cosine: peak (1 + cos(pi t)) / 2 (Loshchilov and Hutter, 2017); one_cycle: a rise and a fall,
// both along cosines (Smith and Topin, 2018).
FOVEA_API double learning_rate(const Schedule& schedule, double progress);

}  // namespace fovea::optim
