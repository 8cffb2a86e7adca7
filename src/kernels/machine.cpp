// The roofline's two limits, measured: multiply-adds in registers, and a copy of large memory.
//
// Other work on the machine can only make a round slower, so the best of several rounds counts.
#include "fovea/machine.h"

#include <cstddef>
#include <cstdint>

#include "hwy/cache_control.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/machine.cpp"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
#include "kernels/registers.h"

HWY_BEFORE_NAMESPACE();
namespace fovea::kernels {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Independent sums: more than latency times multipliers, and with two operands no more than the
// register file.
#if FOVEA_MANY_REGISTERS
constexpr int kSums = 24;
#else
constexpr int kSums = 12;
#endif

// sum <- sum * factor + 1 - factor, which tends to 1 from anywhere. Returns the operations done.
template <class T>
double Multiply(std::int64_t steps, double factor, double* result) {
  const hn::ScalableTag<T> d;
  using V = hn::Vec<decltype(d)>;
  const V scale = hn::Set(d, static_cast<T>(factor));
  const V add = hn::Set(d, static_cast<T>(1 - factor));
  V sum[kSums];
#pragma GCC unroll 24
  for (int i = 0; i < kSums; ++i) sum[i] = hn::Set(d, static_cast<T>(i));
  for (std::int64_t step = 0; step < steps; ++step) {
#pragma GCC unroll 24
    for (int i = 0; i < kSums; ++i) sum[i] = hn::MulAdd(sum[i], scale, add);
  }
  V total = sum[0];
#pragma GCC unroll 24
  for (int i = 1; i < kSums; ++i) total = hn::Add(total, sum[i]);
  *result = static_cast<double>(hn::GetLane(total));
  return 2.0 * kSums * static_cast<double>(HWY_LANES(T)) * static_cast<double>(steps);
}

double Multiply32(std::int64_t steps, double factor, double* result) {
  return Multiply<float>(steps, factor, result);
}
double Multiply64(std::int64_t steps, double factor, double* result) {
  return Multiply<double>(steps, factor, result);
}

// `count` is a multiple of every vector; both are aligned. Stores that bypass the caches save the
// reading of what will be overwritten, but not every machine is faster with them.
void Copy(const float* from, float* to, std::size_t count, bool bypass) {
  const hn::ScalableTag<float> d;
  const std::size_t lanes = hn::Lanes(d);
  if (bypass) {
    for (std::size_t i = 0; i < count; i += lanes) hn::Stream(hn::Load(d, from + i), d, to + i);
    hwy::FlushStream();
  } else {
    for (std::size_t i = 0; i < count; i += lanes) hn::Store(hn::Load(d, from + i), d, to + i);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace fovea::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include <sys/mman.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <functional>
#include <memory>
#include <vector>

#include "core/check.h"
#include "fovea/executor.h"
#include "kernels/simd.h"

namespace fovea {
namespace kernels {

HWY_EXPORT(Multiply32);
HWY_EXPORT(Multiply64);
HWY_EXPORT(Copy);

namespace {

constexpr int kRounds = 20;
constexpr double kRoundSeconds = 5e-3;
constexpr std::int64_t kTasksPerThread = 4;  // whoever is late does less
constexpr std::size_t kBufferBytes = std::size_t{256} << 20;
constexpr std::size_t kChunkBytes = std::size_t{4} << 20;
constexpr int kCopyRounds = 6;

double seconds_of(const std::function<void()>& work) {
  using Clock = std::chrono::steady_clock;
  const Clock::time_point start = Clock::now();
  work();
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// The fewest seconds of several rounds.
double best_of(int rounds, const std::function<void()>& work) {
  double best = seconds_of(work);
  for (int round = 1; round < rounds; ++round) best = std::min(best, seconds_of(work));
  return best;
}

double multiply(DType dtype, std::int64_t steps, double* result) {
  constexpr double kFactor = 0.5;
  return dtype == DType::float64 ? HWY_DYNAMIC_DISPATCH(Multiply64)(steps, kFactor, result)
                                 : HWY_DYNAMIC_DISPATCH(Multiply32)(steps, kFactor, result);
}

double peak_gflops(DType dtype) {
  const std::int64_t tasks = num_threads() * kTasksPerThread;
  std::vector<double> results(static_cast<std::size_t>(tasks));
  std::vector<double> operations(static_cast<std::size_t>(tasks));
  constexpr std::int64_t kTrialSteps = 1 << 17;
  const double trial = best_of(5, [&] { multiply(dtype, kTrialSteps, results.data()); });
  const auto steps = static_cast<std::int64_t>(
      std::max(1.0, kRoundSeconds / kTasksPerThread / trial * kTrialSteps));
  const double seconds = best_of(kRounds, [&] {
    parallel_for(tasks, [&](std::int64_t task) {
      const auto i = static_cast<std::size_t>(task);
      operations[i] = multiply(dtype, steps, &results[i]);
    });
  });
  double total = 0;
  for (const double each : operations) total += each;
  return total / seconds * 1e-9;
}

struct Free {
  void operator()(float* data) const { std::free(data); }
};
using Buffer = std::unique_ptr<float[], Free>;

// Not from the tensors' cache, which would keep it; on huge pages, so that no time goes to page
// tables.
Buffer large_buffer() {
  constexpr std::size_t kHugePage = std::size_t{2} << 20;
  Buffer buffer(static_cast<float*>(std::aligned_alloc(kHugePage, kBufferBytes)));
  FOVEA_CHECK(buffer != nullptr, "measure_machine: the system has no {} bytes left", kBufferBytes);
  madvise(buffer.get(), kBufferBytes, MADV_HUGEPAGE);
  parallel_ranges(kBufferBytes / sizeof(float), kChunkBytes / sizeof(float),
                  [&](std::int64_t begin, std::int64_t end) {
                    std::fill(buffer.get() + begin, buffer.get() + end, 1.0f);
                  });
  return buffer;
}

double copy_gbytes() {
  const Buffer from = large_buffer();
  const Buffer to = large_buffer();
  const auto copy = [&](bool bypass) {
    parallel_ranges(kBufferBytes / sizeof(float), kChunkBytes / sizeof(float),
                    [&](std::int64_t begin, std::int64_t end) {
                      HWY_DYNAMIC_DISPATCH(Copy)
                      (from.get() + begin, to.get() + begin, static_cast<std::size_t>(end - begin),
                       bypass);
                    });
  };
  const double seconds = std::min(best_of(kCopyRounds, [&] { copy(true); }),
                                  best_of(kCopyRounds, [&] { copy(false); }));
  return 2 * static_cast<double>(kBufferBytes) / seconds * 1e-9;
}

}  // namespace
}  // namespace kernels

MachineSpeed measure_machine(DType dtype) {
  FOVEA_CHECK(dtype == DType::float32 || dtype == DType::float64,
              "measure_machine: the type is {}, but must be float32 or float64", name(dtype));
  kernels::detect_simd();
  return {.peak_gflops = kernels::peak_gflops(dtype), .copy_gbytes = kernels::copy_gbytes()};
}

}  // namespace fovea
#endif
