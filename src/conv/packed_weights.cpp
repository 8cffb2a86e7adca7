// Packing, and finding what was packed before.
#include "conv/packed_weights.h"

#include <algorithm>

#include "conv/axes.h"
#include "fovea/executor.h"
#include "kernels/patch_product.h"
#include "kernels/transpose.h"

namespace fovea::conv {
namespace {

constexpr std::int64_t kElementsPerTask = 1 << 16;

// All that the packed order depends on, besides the contents.
Derived::Key key_of(const ConvProblem& problem, Pass pass, WeightOrder order, int lanes) {
  Derived::Key key{static_cast<std::int64_t>(pass),
                   lanes,
                   problem.dims,
                   problem.in_channels,
                   problem.out_channels,
                   problem.groups,
                   static_cast<std::int64_t>(problem.dtype)};
  key.back() = static_cast<std::int64_t>(order);
  std::size_t place = 7;
  for (const ConvAxis& axis : three_axes(problem)) {
    key[place++] = axis.kernel;
    key[place++] = axis.stride;
    key[place++] = axis.dilation;
    key[place++] = axis.padding.before;
    key[place++] = pass == Pass::backward_data ? std::min(axis.stride, axis.input) : 0;  // phases
  }
  return key;
}

bool are_neighbours(const std::vector<std::int64_t>& offsets) {
  for (std::size_t i = 1; i < offsets.size(); ++i) {
    if (offsets[i] != offsets[i - 1] + 1) return false;
  }
  return !offsets.empty();
}

template <class T>
void pack_block(const WeightView& view, const T* weights, std::int64_t block, int lanes,
                T* packed) {
  const int width = block_width(view.results, block, lanes);
  const int padded = kernels::block_lanes(width, lanes);
  const auto runs = static_cast<std::int64_t>(view.run.size());
  const T* first = weights + block * 2 * lanes * view.result_step;
  for (std::size_t t = 0; width < padded && t < view.taps.size() * view.run.size(); ++t) {
    std::fill_n(packed + static_cast<std::int64_t>(t) * padded + width, padded - width, T(0));
  }
  const auto taps = static_cast<std::int64_t>(view.taps.size());
  if (view.result_step == 1) {  // rows of neighbouring results
    for (const std::int64_t tap : view.taps) {
      for (const std::int64_t run : view.run) {
        std::copy_n(first + tap + run, width, packed);
        packed += padded;
      }
    }
  } else if (are_neighbours(view.run)) {  // a matrix [results][run] per tap
    for (const std::int64_t tap : view.taps) {
      kernels::transpose(
          {.rows = width, .columns = runs, .from_stride = view.result_step, .to_stride = padded},
          first + tap + view.run.front(), packed);
      packed += runs * padded;
    }
  } else if (are_neighbours(view.taps)) {  // a matrix [results][taps] per place of the run
    for (const std::int64_t run : view.run) {
      kernels::transpose({.rows = width,
                          .columns = taps,
                          .from_stride = view.result_step,
                          .to_stride = runs * padded},
                         first + run + view.taps.front(), packed);
      packed += padded;
    }
  } else {
    for (const std::int64_t tap : view.taps) {
      for (const std::int64_t run : view.run) {
        for (int j = 0; j < width; ++j) packed[j] = first[j * view.result_step + tap + run];
        packed += padded;
      }
    }
  }
}

template <class T>
void pack_view(const WeightView& view, const T* weights, int lanes, T* packed) {
  const std::int64_t blocks = block_count(view.results, lanes);
  const std::int64_t per_block = view.packed_size(lanes) / std::max<std::int64_t>(blocks, 1);
  const std::int64_t grain =
      std::max<std::int64_t>(1, kElementsPerTask / std::max<std::int64_t>(per_block, 1));
  parallel_ranges(view.groups * blocks, grain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const std::int64_t group = i / blocks;
      const std::int64_t block = i % blocks;
      pack_block(view, weights + group * view.group_step, block, lanes,
                 packed + group * view.packed_size(lanes) + view.block_begin(block, lanes));
    }
  });
}

}  // namespace

std::int64_t WeightView::packed_size(int lanes) const {
  const std::int64_t blocks = block_count(results, lanes);
  const std::int64_t padded =
      blocks == 0 ? 0
                  : (blocks - 1) * 2 * lanes +
                        kernels::block_lanes(block_width(results, blocks - 1, lanes), lanes);
  return padded * static_cast<std::int64_t>(taps.size() * run.size());
}

std::shared_ptr<const Workspace> derive_weights(const ConvArgs& args, const Derived::Key& key,
                                                std::size_t bytes,
                                                const std::function<void(void*)>& fill) {
  Derived* const derived = args.weights == nullptr ? nullptr : args.weights->derived();
  const std::uint64_t version = derived == nullptr ? 0 : args.weights->version();
  if (derived != nullptr) {
    if (auto kept = derived->find(key, version))
      return std::static_pointer_cast<const Workspace>(kept);
  }
  auto memory = std::make_shared<Workspace>(bytes);
  fill(memory->as<void>());
  if (derived != nullptr) derived->keep(key, version, memory);
  return memory;
}

std::shared_ptr<const Workspace> derive_weights(const ConvProblem& problem, Pass pass,
                                                const ConvArgs& args, WeightOrder order, int lanes,
                                                std::size_t bytes,
                                                const std::function<void(void*)>& fill) {
  return derive_weights(args, key_of(problem, pass, order, lanes), bytes, fill);
}

template <class T>
std::shared_ptr<const Workspace> pack_weights(const ConvProblem& problem, Pass pass,
                                              const ConvArgs& args,
                                              const std::vector<WeightView>& views, int lanes) {
  std::int64_t size = 0;
  for (const WeightView& view : views) size += view.groups * view.packed_size(lanes);
  return derive_weights(problem, pass, args, WeightOrder::blocks, lanes,
                        static_cast<std::size_t>(size) * sizeof(T), [&](void* memory) {
                          T* next = static_cast<T*>(memory);
                          for (const WeightView& view : views) {
                            pack_view(view, static_cast<const T*>(args.second), lanes, next);
                            next += view.groups * view.packed_size(lanes);
                          }
                        });
}
template std::shared_ptr<const Workspace> pack_weights<float>(const ConvProblem&, Pass,
                                                              const ConvArgs&,
                                                              const std::vector<WeightView>&, int);
template std::shared_ptr<const Workspace> pack_weights<double>(const ConvProblem&, Pass,
                                                               const ConvArgs&,
                                                               const std::vector<WeightView>&, int);

}  // namespace fovea::conv
