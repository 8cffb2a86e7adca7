// Layers and networks: Module, the layers, Sequential, and Model, a network that knows what it is.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fovea/export.h"
#include "fovea/functions.h"
#include "fovea/tensor.h"

namespace fovea::nn {

struct NamedTensor {
  std::string name;  // "conv1.weight"
  Tensor tensor;
};

struct NamedGenerator {
  std::string name;      // "dropout1.generator"
  Generator* generator;  // the module's own
};

// Something with parameters that maps a tensor to a tensor. Derive, register members in the
// constructor, and write forward() with the functions of functions.h. A module stays where it is
// built: members register by address.
class FOVEA_API Module {
 public:
  Module() = default;
  virtual ~Module();
  Module(const Module&) = delete;
  Module& operator=(const Module&) = delete;

  // Calls forward(), and tells a running trace which layer speaks.
  Tensor operator()(const Tensor& input);

  // In order of registration, children after own, with dotted names.
  std::vector<NamedTensor> named_parameters() const;
  std::vector<NamedTensor> named_buffers() const;
  // What random numbers are drawn from in training: with it, dropout goes on where it was.
  std::vector<NamedGenerator> named_generators() const;
  std::vector<Tensor> parameters() const;
  // Parameters, then buffers: all that a file of its weights holds.
  std::vector<Tensor> state() const;
  std::int64_t parameter_count() const;

  // Takes the parameters whose full names match out of training, and returns those names: they
  // require no gradient any more, and a module without any other parameters stays in evaluation.
  // In a pattern, * stands for anything; "layer1" also means all that is below it.
  std::vector<std::string> freeze(std::string_view pattern);

  // Switches this and all children between training and evaluation (dropout).
  void train(bool on = true);
  void eval() { train(false); }
  bool is_training() const { return training_; }
  void zero_grad();
  // Converts parameters and buffers in place.
  void to(DType dtype);

  // "Conv2d(1, 6, kernel=5, padding=2)"
  virtual std::string describe() const = 0;
  const std::vector<std::pair<std::string, Module*>>& children() const { return children_; }
  // Calls `visit(path, module)` for this module and all below it, parents first; the path of this
  // one is "".
  void visit(const std::function<void(const std::string&, Module&)>& visit);

 protected:
  virtual Tensor forward(const Tensor& input) = 0;

  // Names are unique within a module and hold no dot; Error otherwise.
  Tensor& add_parameter(std::string name, Tensor& value);
  Tensor& add_buffer(std::string name, Tensor& value);
  // For modules that draw random numbers in forward(): checkpoints hold its state.
  void add_generator(std::string name, Generator& generator);
  void add_module(std::string name, Module& child);

 private:
  void check_name(const std::string& name) const;
  void collect(const std::string& prefix, bool buffers, std::vector<NamedTensor>& out) const;
  void collect(const std::string& prefix, std::vector<NamedGenerator>& out) const;

  std::vector<std::pair<std::string, Tensor*>> parameters_;
  std::vector<std::pair<std::string, Tensor*>> buffers_;
  std::vector<std::pair<std::string, Generator*>> generators_;
  std::vector<std::pair<std::string, Module*>> children_;
  std::string name_;  // given by the parent
  bool training_ = true;
  bool frozen_ = false;
};

// Whether a full name, as "layer1.0.conv1.weight", is one that a pattern of Module::freeze() means.
FOVEA_API bool matches(std::string_view pattern, std::string_view name);

// Fresh weights from an explicit generator. Fan-in is the product of all axes but the first.
namespace init {
FOVEA_API void uniform(Tensor& tensor, double low, double high, Generator& generator);
FOVEA_API void normal(Tensor& tensor, double mean, double stddev, Generator& generator);
// Standard deviation sqrt(1 / fan_in) (LeCun et al., "Efficient BackProp", 1998).
FOVEA_API void lecun_uniform(Tensor& tensor, Generator& generator);
FOVEA_API void lecun_normal(Tensor& tensor, Generator& generator);
// sqrt(2 / (fan_in + fan_out)) (Glorot and Bengio, 2010).
FOVEA_API void xavier_uniform(Tensor& tensor, Generator& generator);
FOVEA_API void xavier_normal(Tensor& tensor, Generator& generator);
// sqrt(2 / fan_in), for ReLU (He et al., 2015).
FOVEA_API void kaiming_uniform(Tensor& tensor, Generator& generator);
FOVEA_API void kaiming_normal(Tensor& tensor, Generator& generator);
}  // namespace init

struct ConvLayerOptions {
  Spatial stride = 1;
  Padding padding = 0;
  PaddingMode padding_mode = PaddingMode::zeros;
  double padding_value = 0;  // of padding_mode constant
  Spatial dilation = 1;
  std::int64_t groups = 1;
  bool flip = false;
  bool bias = true;
  Precision precision = Precision::fast;
  std::int64_t workspace_limit = kNoWorkspaceLimit;  // bytes
};

// A convolution layer of 1 to 3 dimensions [E]: weight [out, in/groups, kernel...] and bias [out],
// both uniform in
// +-1/sqrt(fan_in) at creation.
class FOVEA_API Conv : public Module {
 public:
  Conv(int dims, std::int64_t in, std::int64_t out, const Spatial& kernel,
       const ConvLayerOptions& options, Generator& generator);
  std::string describe() const override;
  // activation(conv(input) + bias + residual) with these weights and bias instead of its own.
  Tensor with_weights(const Tensor& input, const Tensor& other_weight, const Tensor& other_bias,
                      const Epilogue& epilogue = {}) const;
  Tensor weight;
  Tensor bias;  // undefined without bias

 protected:
  Tensor forward(const Tensor& input) final;

 private:
  int dims_;
  ConvLayerOptions options_;
};

template <int Dims>
class ConvNd : public Conv {
 public:
  ConvNd(std::int64_t in, std::int64_t out, const Spatial& kernel, const ConvLayerOptions& options,
         Generator& generator)
      : Conv(Dims, in, out, kernel, options, generator) {}
};
using Conv1d = ConvNd<1>;
using Conv2d = ConvNd<2>;
using Conv3d = ConvNd<3>;

struct ConvTransposeLayerOptions {
  Spatial stride = 1;
  Padding padding = 0;
  PaddingMode padding_mode = PaddingMode::zeros;
  Spatial output_padding = 0;
  Spatial output_size = 0;  // wanted instead of an output_padding; 0: none
  Spatial dilation = 1;
  std::int64_t groups = 1;
  bool flip = false;
  bool bias = true;
  Precision precision = Precision::fast;
  std::int64_t workspace_limit = kNoWorkspaceLimit;  // bytes
};

// A transposed convolution layer of 1 to 3 dimensions, learned up-sampling [A]: weight [in,
// out/groups, kernel...] and bias [out], both uniform in +-1/sqrt(out/groups * taps) at creation.
class FOVEA_API ConvTranspose : public Module {
 public:
  ConvTranspose(int dims, std::int64_t in, std::int64_t out, const Spatial& kernel,
                const ConvTransposeLayerOptions& options, Generator& generator);
  std::string describe() const override;
  Tensor weight;
  Tensor bias;  // undefined without bias

 protected:
  Tensor forward(const Tensor& input) override;

 private:
  int dims_;
  ConvTransposeLayerOptions options_;
};

template <int Dims>
class ConvTransposeNd : public ConvTranspose {
 public:
  ConvTransposeNd(std::int64_t in, std::int64_t out, const Spatial& kernel,
                  const ConvTransposeLayerOptions& options, Generator& generator)
      : ConvTranspose(Dims, in, out, kernel, options, generator) {}
};
using ConvTranspose1d = ConvTransposeNd<1>;
using ConvTranspose2d = ConvTransposeNd<2>;
using ConvTranspose3d = ConvTransposeNd<3>;

// A layer with weights of its own at each output position [C], so for inputs of one size: weight
// [positions, out, in/groups * taps] and bias [out, output...], both uniform in +-1/sqrt(in/groups
// * taps) at creation. It has no `flip`, and always the `precision` exact.
class FOVEA_API LocallyConnected : public Module {
 public:
  // `input`: the spatial sizes.
  LocallyConnected(const Shape& input, std::int64_t in, std::int64_t out, const Spatial& kernel,
                   const ConvLayerOptions& options, Generator& generator);
  std::string describe() const override;
  Tensor weight;
  Tensor bias;  // undefined without bias

 protected:
  Tensor forward(const Tensor& input) override;

 private:
  Shape input_;
  Shape kernel_;
  ConvLayerOptions options_;
};

// Cells around the spatial axes.
class FOVEA_API Pad : public Module {
 public:
  explicit Pad(const Padding& amounts, const PadOptions& options = {})
      : amounts_(amounts), options_(options) {}
  std::string describe() const override;

 protected:
  Tensor forward(const Tensor& input) override;

 private:
  Padding amounts_;
  PadOptions options_;
};

// y = x w^T + b: weight [out, in], bias [out], both uniform in +-1/sqrt(in) at creation.
class FOVEA_API Linear : public Module {
 public:
  Linear(std::int64_t in, std::int64_t out, Generator& generator, bool bias = true);
  std::string describe() const override;
  Tensor weight;
  Tensor bias;

 protected:
  Tensor forward(const Tensor& input) final;
};

// A layer without parameters, y = f(x): one of those below, or one of your own.
class FOVEA_API Function : public Module {
 public:
  Function(std::string description, std::function<Tensor(const Tensor&)> f)
      : description_(std::move(description)), f_(std::move(f)) {}
  // An activation that can be part of the layer in front of it.
  Function(std::string description, Activation activation, double slope = 0);
  std::string describe() const override { return description_; }
  // It as the epilogue of a layer; none where it is not such an activation.
  const Epilogue& epilogue() const { return epilogue_; }

 protected:
  Tensor forward(const Tensor& input) final { return f_(input); }

 private:
  std::string description_;
  std::function<Tensor(const Tensor&)> f_;
  Epilogue epilogue_;
};

// Each calls the function of functions.h that has its name; Relu6: activate().
struct FOVEA_API Unfold : Function {
  explicit Unfold(const Spatial& kernel, const WindowOptions& options = {});
};
struct FOVEA_API Fold : Function {
  Fold(const Spatial& size, const Spatial& kernel, const WindowOptions& options = {});
};
class FOVEA_API MaxPool : public Function {
 public:
  explicit MaxPool(const Spatial& window, const PoolOptions& options = {});

 private:
  friend class MaxUnpool;
  struct Found;  // where the maxima were
  MaxPool(const Spatial& window, const PoolOptions& options, std::shared_ptr<Found> found);
  std::shared_ptr<Found> found_;
};
// Each value in the place where `pool`, in front of it, found its maximum, zeros elsewhere, to the
// size that was pooled: the way back up of an encoder and decoder (Badrinarayanan et al., "SegNet",
// 2015). A call takes over what the last call of `pool` in the same thread found; one layer per
// `pool`.
class FOVEA_API MaxUnpool : public Function {
 public:
  explicit MaxUnpool(MaxPool& pool);
};
struct FOVEA_API AvgPool : Function {
  explicit AvgPool(const Spatial& window, const AvgPoolOptions& options = {});
};
struct FOVEA_API LpPool : Function {
  LpPool(double p, const Spatial& window, const LpPoolOptions& options = {});
};
struct FOVEA_API AdaptiveMaxPool : Function {
  explicit AdaptiveMaxPool(const Spatial& output);
};
struct FOVEA_API AdaptiveAvgPool : Function {
  explicit AdaptiveAvgPool(const Spatial& output);
};
struct FOVEA_API GlobalMaxPool : Function {
  GlobalMaxPool();
};
struct FOVEA_API GlobalAvgPool : Function {
  GlobalAvgPool();
};
struct FOVEA_API Upsample : Function {
  explicit Upsample(const UpsampleOptions& options = {});
};
struct FOVEA_API Flatten : Function {
  Flatten();
};
struct FOVEA_API LocalResponseNorm : Function {
  explicit LocalResponseNorm(std::int64_t size, const ResponseNormOptions& options = {});
};
struct FOVEA_API Relu : Function {
  Relu();
};
struct FOVEA_API Relu6 : Function {
  Relu6();
};
struct FOVEA_API LeakyRelu : Function {
  explicit LeakyRelu(double slope = 0.01);
};
struct FOVEA_API Elu : Function {
  explicit Elu(double scale = 1);
};
struct FOVEA_API Sigmoid : Function {
  Sigmoid();
};
struct FOVEA_API Tanh : Function {
  Tanh();
};
struct FOVEA_API Gelu : Function {
  Gelu();
};
struct FOVEA_API Silu : Function {
  Silu();
};
struct FOVEA_API Hardswish : Function {
  Hardswish();
};
struct FOVEA_API Softplus : Function {
  Softplus();
};
struct FOVEA_API Softmax : Function {
  explicit Softmax(int axis = 1);
};
struct FOVEA_API LogSoftmax : Function {
  explicit LogSoftmax(int axis = 1);
};

// What normalising layers share: weight, ones at creation, and bias, zeros; both undefined where
// the layer is not affine.
class FOVEA_API Norm : public Module {
 public:
  Tensor weight;
  Tensor bias;

 protected:
  void add_affine(const Shape& shape);
};

struct NormLayerOptions {
  double eps = 1e-5;
  bool affine = true;
};

struct BatchNormLayerOptions {
  double eps = 1e-5;
  double momentum = 0.1;  // of the running statistics
  bool affine = true;
};

// Batch normalisation [D section 5] of 1 to 3 dimensions: statistics of the batch in training, the
// running ones in evaluation. Weight, bias and running statistics are [channels].
class FOVEA_API BatchNorm : public Norm {
 public:
  BatchNorm(int dims, std::int64_t channels, const BatchNormLayerOptions& options);
  ~BatchNorm() override;
  std::string describe() const override;
  // activation((*this)(conv(input)) + residual), as the blocks of most networks have it. In
  // evaluation mode, with nothing recorded or traced, it is one operator: the normalisation is
  // folded into weights for the convolution, which are kept until something that they were made
  // from changes. Equal but for rounding.
  Tensor after(Conv& conv, const Tensor& input, const Epilogue& epilogue = {});
  Tensor running_mean;
  Tensor running_var;
  Tensor num_batches_tracked;  // int64 []: of training

 protected:
  Tensor forward(const Tensor& input) final;

 private:
  class Folded;
  bool folds_into(const Conv& conv, const Tensor& input) const;

  int dims_;
  BatchNormLayerOptions options_;
  std::unique_ptr<Folded> folded_;
};

template <int Dims>
class BatchNormNd : public BatchNorm {
 public:
  explicit BatchNormNd(std::int64_t channels, const BatchNormLayerOptions& options = {})
      : BatchNorm(Dims, channels, options) {}
};
using BatchNorm1d = BatchNormNd<1>;
using BatchNorm2d = BatchNormNd<2>;
using BatchNorm3d = BatchNormNd<3>;

// Over each sample's groups of channels; weight and bias [channels].
class FOVEA_API GroupNorm : public Norm {
 public:
  GroupNorm(std::int64_t groups, std::int64_t channels, const NormLayerOptions& options = {});
  std::string describe() const override;

 protected:
  Tensor forward(const Tensor& input) override;

 private:
  std::int64_t groups_;
  std::int64_t channels_;
  NormLayerOptions options_;
};

// Over the space of each sample and channel, in any number of dimensions; weight and bias
// [channels].
class FOVEA_API InstanceNorm : public Norm {
 public:
  explicit InstanceNorm(std::int64_t channels, const NormLayerOptions& options = {});
  std::string describe() const override;

 protected:
  Tensor forward(const Tensor& input) override;

 private:
  std::int64_t channels_;
  NormLayerOptions options_;
};

// Over the last axes, whose sizes are `shape`; weight and bias of that shape.
class FOVEA_API LayerNorm : public Norm {
 public:
  explicit LayerNorm(const Shape& shape, const NormLayerOptions& options = {});
  std::string describe() const override;

 protected:
  Tensor forward(const Tensor& input) override;

 private:
  Shape shape_;
  NormLayerOptions options_;
};

// Active in training only; draws its masks from a generator of its own.
class FOVEA_API Dropout : public Module {
 public:
  Dropout(double p, std::uint64_t seed);
  std::string describe() const override;

 protected:
  Tensor forward(const Tensor& input) override;

 private:
  double p_;
  Generator generator_;
};

// The same for whole channels.
class FOVEA_API Dropout2d : public Module {
 public:
  Dropout2d(double p, std::uint64_t seed);
  std::string describe() const override;

 protected:
  Tensor forward(const Tensor& input) override;

 private:
  double p_;
  Generator generator_;
};

// Modules in a row; it owns them. A convolution or linear layer, the batch normalisation behind it
// (see BatchNorm::after) and an activation are computed as one, unless a trace is running.
class FOVEA_API Sequential : public Module {
 public:
  // Appends and returns the new layer. The name defaults to the place: "0", "1", ...
  template <class M, class... Args>
  M& add(std::string name, Args&&... args) {
    auto layer = std::make_unique<M>(std::forward<Args>(args)...);
    M& reference = *layer;
    append(std::move(name), std::move(layer));
    return reference;
  }
  void append(std::string name, std::unique_ptr<Module> layer);
  std::string describe() const override;

 protected:
  Tensor forward(const Tensor& input) override;

 private:
  // Neighbouring layers, from the one behind the last step on.
  struct Step {
    std::size_t layers = 1;
    Conv* conv = nullptr;  // or linear, or neither
    Linear* linear = nullptr;
    BatchNorm* norm = nullptr;
    Epilogue epilogue;
  };
  static Tensor run(const Step& step, const Tensor& input);
  void plan(Module& layer);

  std::vector<std::unique_ptr<Module>> layers_;
  std::vector<Step> steps_;
};

// Every layer type, with an example that the tests run: gradient, float32 against float64, train
// against eval.
struct LayerDef {
  std::string_view name;  // "Conv2d"
  std::unique_ptr<Module> (*example)(Generator& generator);
  Shape example_input;
};
FOVEA_API const std::vector<LayerDef>& layers();

// What a network needs besides its weights to be of use: how it was built and what its input and
// output mean.
struct ModelInfo {
  std::string architecture;  // a name of models::list(), or empty for a network of one's own
  std::map<std::string, std::string> options;  // as given to the architecture
  Shape input;                                 // one sample, without the batch axis: [1, 28, 28]
  // Per channel, of inputs scaled to 0..1: 0 and 1 where they are used as they are; empty: unknown.
  std::vector<double> mean, stddev;
  std::vector<std::string> classes;  // names, in the order of the outputs
  // How it differs from the network of that name: "its last layer gives 10 classes instead of
  // 1000".
  std::vector<std::string> adapted;
};

// A network that knows what it is; a handle, so copies share the weights. One that was made without
// a module is empty, and throws Error when it is used.
class FOVEA_API Model {
 public:
  Model() = default;
  Model(std::shared_ptr<Module> module, ModelInfo about)
      : info(std::move(about)), module_(std::move(module)) {}
  Tensor operator()(const Tensor& input) const { return module()(input); }
  Module& module() const;
  std::vector<Tensor> parameters() const { return module().parameters(); }
  void train(bool on = true) const { module().train(on); }
  void eval() const { module().eval(); }

  ModelInfo info;

 private:
  std::shared_ptr<Module> module_;
};

}  // namespace fovea::nn
