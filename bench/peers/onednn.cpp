// See onednn.h. Written for oneDNN 2, where an operation is first described (`desc`), then asked
// for (`primitive_desc`). A way is skipped where oneDNN has no implementation for it.
#include "onednn.h"

#include <omp.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <dnnl.hpp>
#include <memory>
#include <optional>
#include <unordered_map>
#include <utility>

namespace peers {
namespace {

using dnnl::algorithm;
using dnnl::convolution_backward_data;
using dnnl::convolution_backward_weights;
using dnnl::convolution_forward;
using dnnl::memory;
using dnnl::prop_kind;
using fovea::ConvAxis;
using fovea::ConvProblem;
using fovea::Pass;
using Tag = memory::format_tag;

// The three operands of a pass: input, weights, output (or their gradients).
struct Operands {
  memory::desc x, w, y;
};

struct Geometry {
  memory::dims stride, dilation, before, after;
};

struct Primitive {
  dnnl::primitive primitive;
  Operands layouts;
};

memory::dims dims_of(const fovea::Shape& shape) {
  return {shape.begin(), shape.end()};
}

// [out, in/groups, kernel...], or [groups, out/groups, in/groups, kernel...] where there are
// groups.
memory::dims weight_dims(const ConvProblem& problem) {
  memory::dims dims = dims_of(problem.weight_shape());
  if (problem.groups > 1) {
    dims[0] /= problem.groups;
    dims.insert(dims.begin(), problem.groups);
  }
  return dims;
}

Operands operands(const ConvProblem& problem, Tag data, Tag weights) {
  constexpr auto kType = memory::data_type::f32;
  return {{dims_of(problem.input_shape()), kType, data},
          {weight_dims(problem), kType, weights},
          {dims_of(problem.output_shape()), kType, data}};
}

Tag channels_last_tag(int dims) {
  constexpr std::array<Tag, 3> kTags = {Tag::nwc, Tag::nhwc, Tag::ndhwc};
  return kTags[static_cast<std::size_t>(dims - 1)];
}

// The layouts of run_conv.
Operands plain_operands(const ConvProblem& problem) {
  constexpr std::array<Tag, 3> kDense = {Tag::oiw, Tag::oihw, Tag::oidhw};
  constexpr std::array<Tag, 3> kGrouped = {Tag::goiw, Tag::goihw, Tag::goidhw};
  const auto index = static_cast<std::size_t>(problem.dims - 1);
  return operands(problem, channels_last_tag(problem.dims),
                  problem.groups > 1 ? kGrouped[index] : kDense[index]);
}

Geometry geometry_of(const ConvProblem& problem) {
  Geometry geometry;
  for (int i = 0; i < problem.dims; ++i) {
    const ConvAxis& axis = problem.axes[static_cast<std::size_t>(i)];
    geometry.stride.push_back(axis.stride);
    geometry.dilation.push_back(axis.dilation - 1);  // oneDNN counts from zero
    geometry.before.push_back(axis.padding.before);
    geometry.after.push_back(axis.padding.after);
  }
  return geometry;
}

convolution_forward::primitive_desc forward_desc(const Operands& wanted, const Geometry& geometry,
                                                 algorithm how, prop_kind kind,
                                                 const dnnl::engine& engine) {
  return {{kind, how, wanted.x, wanted.w, wanted.y, geometry.stride, geometry.dilation,
           geometry.before, geometry.after},
          engine};
}

Primitive make_primitive(const ConvProblem& problem, Pass pass, const Operands& wanted,
                         algorithm how, const dnnl::engine& engine) {
  const Geometry geometry = geometry_of(problem);
  if (pass == Pass::forward) {
    const auto chosen = forward_desc(wanted, geometry, how, prop_kind::forward_inference, engine);
    return {convolution_forward(chosen),
            {chosen.src_desc(), chosen.weights_desc(), chosen.dst_desc()}};
  }
  const auto hint = forward_desc(wanted, geometry, how, prop_kind::forward_training, engine);
  if (pass == Pass::backward_data) {
    const convolution_backward_data::primitive_desc chosen(
        {how, wanted.x, wanted.w, wanted.y, geometry.stride, geometry.dilation, geometry.before,
         geometry.after},
        engine, hint);
    return {convolution_backward_data(chosen),
            {chosen.diff_src_desc(), chosen.weights_desc(), chosen.diff_dst_desc()}};
  }
  const convolution_backward_weights::primitive_desc chosen(
      {how, wanted.x, wanted.w, wanted.y, geometry.stride, geometry.dilation, geometry.before,
       geometry.after},
      engine, hint);
  return {convolution_backward_weights(chosen),
          {chosen.src_desc(), chosen.diff_weights_desc(), chosen.diff_dst_desc()}};
}

std::optional<Primitive> try_primitive(const ConvProblem& problem, Pass pass,
                                       const Operands& wanted, algorithm how,
                                       const dnnl::engine& engine) {
  try {
    return make_primitive(problem, pass, wanted, how, engine);
  } catch (const dnnl::error& error) {
    if (error.status == dnnl_unimplemented) return std::nullopt;
    throw;
  }
}

// Memory from Fovea's allocator, so that both sides have pages of the same size.
struct Buffer {
  Buffer(const memory::desc& layout, const dnnl::engine& engine)
      : storage(fovea::Tensor::zeros(
            {static_cast<std::int64_t>((layout.get_size() + sizeof(float) - 1) / sizeof(float))})),
        view(layout, engine, storage.mutable_data<float>()) {}
  fovea::Tensor storage;
  memory view;
};

// One way with everything that it needs to be called.
struct Job {
  dnnl::engine engine;
  dnnl::stream stream;
  dnnl::primitive primitive;
  Buffer first, second, result;
  memory::desc plain_result;
  std::unordered_map<int, memory> arguments;

  void call() {
    primitive.execute(stream, arguments);
    stream.wait();
  }
  fovea::Tensor read() {
    Buffer plain(plain_result, engine);
    copy(result.view, plain.view);
    return plain.storage;
  }
  void copy(memory from, memory to) {
    dnnl::reorder(from, to).execute(stream, from, to);
    stream.wait();
  }
};

std::shared_ptr<Job> make_job(const ConvProblem& problem, Pass pass, const Primitive& made,
                              const fovea::Tensor& first, const fovea::Tensor& second,
                              const dnnl::engine& engine) {
  using Part = memory::desc Operands::*;
  struct Roles {
    Part first, second, result;
    int first_id, second_id, result_id;
  };
  static constexpr std::array<Roles, 3> kRoles = {{
      {&Operands::x, &Operands::w, &Operands::y, DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_DST},
      {&Operands::y, &Operands::w, &Operands::x, DNNL_ARG_DIFF_DST, DNNL_ARG_WEIGHTS,
       DNNL_ARG_DIFF_SRC},
      {&Operands::x, &Operands::y, &Operands::w, DNNL_ARG_SRC, DNNL_ARG_DIFF_DST,
       DNNL_ARG_DIFF_WEIGHTS},
  }};
  const Roles& roles = kRoles[static_cast<std::size_t>(pass)];
  const Operands plain = plain_operands(problem);
  auto job = std::make_shared<Job>(Job{.engine = engine,
                                       .stream = dnnl::stream(engine),
                                       .primitive = made.primitive,
                                       .first = Buffer(made.layouts.*roles.first, engine),
                                       .second = Buffer(made.layouts.*roles.second, engine),
                                       .result = Buffer(made.layouts.*roles.result, engine),
                                       .plain_result = plain.*roles.result,
                                       .arguments = {}});
  // oneDNN has no view of constant memory; it only reads from these.
  const auto view = [&](Part part, const fovea::Tensor& tensor) {
    return memory(plain.*part, engine, const_cast<float*>(tensor.data<float>()));
  };
  job->copy(view(roles.first, first), job->first.view);
  job->copy(view(roles.second, second), job->second.view);
  job->arguments = {{roles.first_id, job->first.view},
                    {roles.second_id, job->second.view},
                    {roles.result_id, job->result.view}};
  return job;
}

}  // namespace

std::vector<Way> onednn_ways(const ConvProblem& problem, Pass pass, const fovea::Tensor& first,
                             const fovea::Tensor& second) {
  if (problem.dtype != fovea::DType::float32) return {};
  struct Question {
    std::string_view name;
    Tag data;
    algorithm how;
  };
  const Tag last = channels_last_tag(problem.dims);
  const std::array<Question, 4> questions = {{
      {kChannelsLastDirect, last, algorithm::convolution_direct},
      {"onednn nhwc winograd", last, algorithm::convolution_winograd},
      {"onednn any direct", Tag::any, algorithm::convolution_direct},
      {"onednn any winograd", Tag::any, algorithm::convolution_winograd},
  }};
  const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  std::vector<Way> ways;
  for (const Question& question : questions) {
    // Weights in the layout that oneDNN likes best, as Fovea packs them: both did that beforehand.
    const Operands wanted = operands(problem, question.data, Tag::any);
    const auto made = try_primitive(problem, pass, wanted, question.how, engine);
    if (!made) continue;
    const auto job = make_job(problem, pass, *made, first, second, engine);
    ways.push_back(
        {std::string(question.name), [job] { job->call(); }, [job] { return job->read(); }});
  }
  return ways;
}

void set_onednn_threads(int count) {
  omp_set_num_threads(count);
}

}  // namespace peers
