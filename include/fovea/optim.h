// Optimisers and learning-rate schedules.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
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

// Parameters with a rate and a decay of their own, as in fine-tuning.
struct ParameterGroup {
  std::vector<Tensor> parameters = {};
  double lr_scale = 1;  // times the optimiser's rate, which schedules set
  std::optional<double> weight_decay = std::nullopt;  // instead of the optimiser's
};

// Changes parameters along their gradients. The learning rate may be set between steps, as
// schedules do. Every optimiser takes its parameters as one list or in groups.
class FOVEA_API Optimizer {
 public:
  Optimizer(std::vector<ParameterGroup> groups, double lr, double weight_decay);
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
  // Of parameter `index`, by its group.
  double lr_of(std::size_t index) const { return lr_ * settings_[index].lr_scale; }
  double weight_decay_of(std::size_t index) const { return settings_[index].weight_decay; }

  std::vector<Tensor> parameters_;
  double lr_;
  std::int64_t steps_ = 0;

 private:
  struct Setting {
    double lr_scale = 1;
    double weight_decay = 0;
  };
  std::vector<Setting> settings_;  // of each parameter
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
  Sgd(std::vector<ParameterGroup> groups, const SgdOptions& options);
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
  Adam(std::vector<ParameterGroup> groups, const AdamOptions& options = {});
  Adam(std::vector<Tensor> parameters, const AdamOptions& options = {});
  std::string_view method() const override { return "adam"; }
  void step() override;

 protected:
  enum class Decay : std::uint8_t { in_gradient, of_weight };
  Adam(std::vector<ParameterGroup> groups, const AdamOptions& options, Decay decay);

 private:
  AdamOptions options_;
  Decay decay_;
  std::vector<Tensor> first_;
  std::vector<Tensor> second_;
};

// Adam with w <- (1 - lr decay) w instead of a decay within the gradient (Loshchilov and Hutter,
// "Decoupled weight decay regularization", 2019).
class FOVEA_API AdamW : public Adam {
 public:
  AdamW(std::vector<ParameterGroup> groups, const AdamOptions& options = {.weight_decay = 0.01});
  AdamW(std::vector<Tensor> parameters, const AdamOptions& options = {.weight_decay = 0.01});
  std::string_view method() const override { return "adamw"; }
};

struct RmsPropOptions {
  double lr = 0.01;
  double alpha = 0.99;  // share of the mean of squares that is kept
  double eps = 1e-8;
  double momentum = 0;
  double weight_decay = 0;  // added to the gradient
};

// s <- alpha s + (1 - alpha) g^2; v <- momentum v + g / (sqrt(s) + eps); w <- w - lr v (Tieleman
// and Hinton, 2012).
class FOVEA_API RmsProp : public Optimizer {
 public:
  RmsProp(std::vector<ParameterGroup> groups, const RmsPropOptions& options = {});
  RmsProp(std::vector<Tensor> parameters, const RmsPropOptions& options = {});
  std::string_view method() const override { return "rmsprop"; }
  void step() override;

 private:
  RmsPropOptions options_;
  std::vector<Tensor> square_;
  std::vector<Tensor> velocity_;
};

// The norm of all gradients as one vector; where it is above `most`, they are scaled to have that.
// One that is not finite leaves them as they are.
FOVEA_API double clip_norm(const std::vector<Tensor>& parameters, double most);
// Moves each element of the gradients into [-most, most].
FOVEA_API void clip_value(const std::vector<Tensor>& parameters, double most);

struct MovingAverageOptions {
  double decay = 0.999;  // share that is kept in each step; less in the first ones: (1+t)/(10+t)
};

// The exponential moving average of a network's weights and buffers, kept in another network of the
// same build, which can be scored and saved at any time (Polyak and Juditsky, 1992).
//
//   fv::optim::MovingAverage average(net.module().state(), mean_net.module().state());
//   ... adam.step();
//   average.update();
class FOVEA_API MovingAverage {
 public:
  // Copies `source` to `average`, tensor by tensor; both of the same shapes and types. What is not
  // floating is copied in each step.
  MovingAverage(std::vector<Tensor> source, std::vector<Tensor> average,
                const MovingAverageOptions& options = {});
  void update();
  std::int64_t steps() const { return steps_; }
  // The tensors that hold the averages.
  const std::vector<Tensor>& averages() const { return average_; }
  // Goes on from averages that were saved after so many steps. Throws Error, and changes nothing,
  // unless they are of the same shapes and types.
  void set_state(const std::vector<Tensor>& averages, std::int64_t steps);

 private:
  std::vector<Tensor> source_;
  std::vector<Tensor> average_;
  MovingAverageOptions options_;
  std::int64_t steps_ = 0;
};

// Learning rate as a function of progress, 0 at the start and 1 at the end.
struct Schedule {
  enum class Kind : std::uint8_t { constant, step, linear, cosine, one_cycle };
  Kind kind = Kind::constant;
  double peak = 1e-3;  // the highest rate
  // The part in which the rate rises from peak / start_factor: of one_cycle along a cosine, of the
  // others in a straight line. Default: 0.3 of one_cycle, none of the others.
  std::optional<double> warmup = std::nullopt;
  double start_factor = 25;
  double final_factor = 1e4;                     // one_cycle: ends at peak / start_factor / this
  std::vector<double> milestones = {0.5, 0.75};  // step: where the rate is multiplied
  double step_factor = 0.1;                      // step: by this
};
// After the rise: constant; step; linear: peak (1 - t); cosine: peak (1 + cos(pi t)) / 2
// (Loshchilov and Hutter, 2017); one_cycle: a fall along a cosine (Smith and Topin, 2018).
FOVEA_API double learning_rate(const Schedule& schedule, double progress);

}  // namespace fovea::optim
