// Google Benchmarks of the inner loops, on one thread and on data that stays in the L1 or L2 cache:
// what a loop can do when nothing else limits it.
//
// Counters: multiply-adds or bytes per second. To add a loop: a function and a BENCHMARK line.
#include <benchmark/benchmark.h>

#include <cstddef>
#include <cstdint>
#include <numeric>
#include <vector>

#include "conv/packed_weights.h"
#include "fovea/conv.h"
#include "fovea/executor.h"
#include "kernels/elementwise.h"
#include "kernels/patch_product.h"
#include "kernels/pool.h"
#include "kernels/simd.h"

namespace {

namespace kernels = fovea::kernels;

// 64-byte aligned, as tensors are.
template <class T>
class Values {
 public:
  explicit Values(std::int64_t count)
      : memory_(static_cast<std::size_t>(count) * sizeof(T)), data_(memory_.as<T>()) {
    for (std::int64_t i = 0; i < count; ++i) data_[i] = static_cast<T>(0.5);
  }
  T* data() const { return data_; }

 private:
  fovea::Workspace memory_;
  T* data_;
};

void count_rate(benchmark::State& state, const char* name, double each) {
  state.counters[name] = benchmark::Counter(each, benchmark::Counter::kIsIterationInvariantRate);
}

// A full register tile over range(0) taps of range(1) values: 3x3 on 64 channels, or 1x1 on 256 or
// 64, where the start and the end of a tile count.
template <class T>
void patch_product(benchmark::State& state) {
  const kernels::TileSize tile = kernels::tile_size<T>();
  const std::int64_t taps = state.range(0);
  const std::int64_t run = state.range(1);
  const int width = 2 * tile.lanes;
  const Values<T> input(kernels::kMaxTileRows * taps * run);
  const Values<T> weights(taps * run * width);
  const Values<T> output(static_cast<std::int64_t>(tile.rows) * width);
  std::vector<const T*> runs;
  for (std::int64_t i = 0; i < taps * kernels::kMaxTileRows; ++i) {
    runs.push_back(input.data() + i * run);
  }
  std::vector<T*> out;
  for (int m = 0; m < tile.rows; ++m) out.push_back(output.data() + m * width);
  const kernels::PatchProduct<T> job{.runs = runs.data(),
                                     .taps = taps,
                                     .run = run,
                                     .weights = weights.data(),
                                     .bias = nullptr,
                                     .out = out.data(),
                                     .column = 0,
                                     .rows = tile.rows,
                                     .width = width};
  for (auto _ : state) {
    kernels::patch_product(job);
    benchmark::ClobberMemory();
  }
  count_rate(state, "multiply_adds/s", static_cast<double>(taps * run * tile.rows * width));
}
BENCHMARK_TEMPLATE(patch_product, float)->Args({9, 64})->Args({1, 256})->Args({1, 64});
BENCHMARK_TEMPLATE(patch_product, double)->Args({9, 64})->Args({1, 256});

// A full register tile of the weight gradient, over range(0) positions of 64 channels.
template <class T>
void gradient_product(benchmark::State& state) {
  constexpr std::int64_t kChannels = 64;
  const kernels::TileSize tile = kernels::tile_size<T>();
  const std::int64_t count = state.range(0);
  const int width = 2 * tile.lanes;
  const Values<T> input(count * kChannels);
  const Values<T> gradient(count * kChannels);
  const Values<T> sum(static_cast<std::int64_t>(tile.gradient_rows) * width);
  std::vector<const T*> runs;
  std::vector<const T*> gradients;
  for (std::int64_t q = 0; q < count; ++q) {
    runs.push_back(input.data() + q * kChannels);
    gradients.push_back(gradient.data() + q * kChannels);
  }
  std::vector<std::int64_t> offsets;
  for (int m = 0; m < tile.gradient_rows; ++m) offsets.push_back(m);
  kernels::GradientProduct<T> job{};
  job.runs = runs.data();
  job.gradients = gradients.data();
  job.count = count;
  job.offsets = offsets.data();
  job.sum = sum.data();
  job.sum_step = width;
  job.rows = tile.gradient_rows;
  job.width = width;
  for (auto _ : state) {
    kernels::gradient_product(job);
    benchmark::ClobberMemory();
  }
  count_rate(state, "multiply_adds/s", static_cast<double>(count * tile.gradient_rows * width));
}
BENCHMARK_TEMPLATE(gradient_product, float)->Arg(56)->Arg(256);
BENCHMARK_TEMPLATE(gradient_product, double)->Arg(56)->Arg(256);

// 2x2 windows, stride 2, over a plane of 16x16 and range(0) channels.
struct PoolCase {
  static constexpr std::int64_t kInputs = 16;
  static constexpr std::int64_t kOutputs = 8;

  explicit PoolCase(std::int64_t channels) {
    std::iota(cells.begin(), cells.end(), 0);
    const kernels::PoolAxis axis{.cells = cells.data(),
                                 .counts = counts.data(),
                                 .output_step = 2,
                                 .taps = 2,
                                 .outputs = kOutputs,
                                 .inputs = kInputs};
    plane.axes = {{{.cells = &zero, .counts = counts.data()}, axis, axis}};
    plane.channels = channels;
  }

  std::int32_t zero = 0;
  std::vector<std::int32_t> cells = std::vector<std::int32_t>(kInputs);
  std::vector<std::int64_t> counts = std::vector<std::int64_t>(kOutputs, 2);
  kernels::PoolPlane plane;
};

template <class T>
void max_pool(benchmark::State& state) {
  const PoolCase pool(state.range(0));
  const std::int64_t cells = pool.plane.outputs() * pool.plane.channels;
  const Values<T> input(4 * cells);
  const Values<T> output(cells);
  const Values<std::int64_t> positions(cells);
  for (auto _ : state) {
    kernels::max_pool(pool.plane, 0, pool.plane.outputs(), input.data(), output.data(),
                      positions.data());
    benchmark::ClobberMemory();
  }
  count_rate(state, "bytes/s", static_cast<double>(cells) * (5 * sizeof(T) + 8));
}
BENCHMARK_TEMPLATE(max_pool, float)->Arg(6)->Arg(64);

template <class T>
void avg_pool(benchmark::State& state) {
  const PoolCase pool(state.range(0));
  const std::int64_t cells = pool.plane.outputs() * pool.plane.channels;
  const Values<T> input(4 * cells);
  const Values<T> output(cells);
  for (auto _ : state) {
    kernels::avg_pool(pool.plane, 0, pool.plane.outputs(), input.data(), output.data());
    benchmark::ClobberMemory();
  }
  count_rate(state, "bytes/s", static_cast<double>(cells) * 5 * sizeof(T));
}
BENCHMARK_TEMPLATE(avg_pool, float)->Arg(6)->Arg(64);

constexpr std::int64_t kElements = 4096;

void unary(benchmark::State& state, kernels::Unary op) {
  const Values<float> input(kElements);
  const Values<float> output(kElements);
  for (auto _ : state) {
    kernels::unary(op, {.columns = kElements}, input.data(), output.data());
    benchmark::ClobberMemory();
  }
  count_rate(state, "bytes/s", 2.0 * kElements * sizeof(float));
}
BENCHMARK_CAPTURE(unary, relu, kernels::Unary::relu);
BENCHMARK_CAPTURE(unary, exp, kernels::Unary::exp);
BENCHMARK_CAPTURE(unary, sigmoid, kernels::Unary::sigmoid);
BENCHMARK_CAPTURE(unary, tanh, kernels::Unary::tanh);

void binary(benchmark::State& state, kernels::Binary op) {
  const Values<float> a(kElements);
  const Values<float> b(kElements);
  const Values<float> output(kElements);
  for (auto _ : state) {
    kernels::binary(op, {.columns = kElements}, a.data(), b.data(), output.data());
    benchmark::ClobberMemory();
  }
  count_rate(state, "bytes/s", 3.0 * kElements * sizeof(float));
}
BENCHMARK_CAPTURE(binary, add, kernels::Binary::add);
BENCHMARK_CAPTURE(binary, relu_backward, kernels::Binary::relu_backward);

// The weights of a 3x3 convolution, 64 to 64 channels, into blocks for patch_product.
void pack_weights(benchmark::State& state) {
  const auto problem = fovea::ConvProblem::parse("ic64ih56oc64kh3ph1");
  const std::int64_t taps = problem.taps();
  const std::int64_t count = problem.weight_shape().numel();
  fovea::conv::WeightView view{.groups = 1,
                               .group_step = count,
                               .results = problem.out_channels,
                               .result_step = problem.in_channels * taps,
                               .taps = {},
                               .run = {}};
  for (std::int64_t t = 0; t < taps; ++t) view.taps.push_back(t);
  for (std::int64_t c = 0; c < problem.in_channels; ++c) view.run.push_back(c * taps);
  const Values<float> weights(count);
  const int lanes = kernels::tile_size<float>().lanes;
  for (auto _ : state) {
    benchmark::DoNotOptimize(fovea::conv::pack_weights<float>(
        problem, fovea::Pass::forward, {.second = weights.data()}, {view}, lanes));
  }
  count_rate(state, "bytes/s", 2.0 * static_cast<double>(count) * sizeof(float));
}
BENCHMARK(pack_weights);

}  // namespace

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::AddCustomContext("simd", kernels::simd_name());
  fovea::set_num_threads(1);
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
