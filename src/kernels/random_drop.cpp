// Dropout's loop: a few hundred random numbers at a time into the first-level cache, then the
// elements.
//
// Philox4x32-10 as fovea::philox computes it, one counter per 64-bit lane. Each of the four numbers
// lies in the low half of a lane; what is in the high half never matters, for the multiplication
// of even lanes does not read it, and it is cut off in the end.
#include "kernels/random_drop.h"

#include <cstddef>

#include "kernels/simd.h"
#include "kernels/stream.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/random_drop.cpp"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// The target's own headers follow.
#include "hwy/highway.h"
#include "kernels/stream-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fovea::kernels {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;
using Wide = hn::ScalableTag<std::uint64_t>;
using WideVector = hn::Vec<Wide>;

constexpr std::size_t kBlocks = 192;  // counters of one batch, four numbers each
constexpr std::size_t kNumbers = 4 * kBlocks;

// The product of the low halves of the lanes.
HWY_INLINE WideVector product(WideVector a, WideVector b) {
  const hn::Repartition<std::uint32_t, Wide> narrow;
  return hn::MulEven(hn::BitCast(narrow, a), hn::BitCast(narrow, b));
}

// The high halves of the lanes, in the low ones.
HWY_INLINE WideVector high(WideVector x) {
  return hn::ShiftRight<32>(x);
}

// What all counters of a batch share after two rounds of ten: the upper half of the counter is one
// number, and so is the stream, so that only half of the first round and half of the second depend
// on the counter.
struct Shared {
  Shared(const DropRule& rule, std::uint64_t counter) {
    const std::uint64_t key0 = rule.seed & kLow;
    const std::uint64_t key1 = rule.seed >> 32;
    const std::uint64_t product1 = kMultiplier1 * (rule.stream & kLow);
    const std::uint64_t s0 = (product1 >> 32) ^ (counter >> 32) ^ key0;  // after one round
    const std::uint64_t product0 = kMultiplier0 * s0;
    first = (rule.stream >> 32) ^ key1;
    low1 = product1 & kLow;
    second0 = low1 ^ ((key0 + kWeyl0) & kLow);
    second2 = (product0 >> 32) ^ ((key1 + kWeyl1) & kLow);
    low0 = product0 & kLow;
  }

  static constexpr std::uint64_t kLow = 0xFFFFFFFF;
  static constexpr std::uint64_t kMultiplier0 = 0xD2511F53;
  static constexpr std::uint64_t kMultiplier1 = 0xCD9E8D57;
  static constexpr std::uint64_t kWeyl0 = 0x9E3779B9;
  static constexpr std::uint64_t kWeyl1 = 0xBB67AE85;
  std::uint64_t first, low1, second0, second2, low0;
};

// The four numbers of the counters of one vector.
struct State {
  // After two rounds.
  HWY_INLINE State(const Shared& shared, WideVector counter) {
    const Wide d;
    const auto product0 = product(hn::Set(d, Shared::kMultiplier0), counter);
    const auto mixed = hn::Xor(high(product0), hn::Set(d, shared.first));
    const auto product1 = product(hn::Set(d, Shared::kMultiplier1), mixed);
    s0 = hn::Xor(high(product1), hn::Set(d, shared.second0));
    s1 = product1;
    s2 = hn::Xor(product0, hn::Set(d, shared.second2));
    s3 = hn::Set(d, shared.low0);
  }

  HWY_INLINE void round(WideVector key0, WideVector key1) {
    const Wide d;
    const auto product0 = product(hn::Set(d, Shared::kMultiplier0), s0);
    const auto product1 = product(hn::Set(d, Shared::kMultiplier1), s2);
    s0 = hn::Xor3(high(product1), s1, key0);
    s1 = product1;
    s2 = hn::Xor3(high(product0), s3, key1);
    s3 = product0;
  }

  // In order, as draw() has placed the counters.
  HWY_INLINE void store(std::uint32_t* out) const {
    const Wide d;
    const hn::Repartition<std::uint32_t, Wide> narrow;
    const auto pair = [&](WideVector even, WideVector odd) HWY_ATTR {
      return hn::BitCast(
          d, hn::OddEven(hn::DupEven(hn::BitCast(narrow, odd)), hn::BitCast(narrow, even)));
    };
    const auto first = pair(s0, s1);
    const auto second = pair(s2, s3);
    hn::Store(hn::BitCast(narrow, hn::InterleaveLower(d, first, second)), narrow, out);
    hn::Store(hn::BitCast(narrow, hn::InterleaveUpper(d, first, second)), narrow,
              out + 2 * hn::Lanes(d));
  }

  WideVector s0, s1, s2, s3;
};

// The numbers of counters block, block + 1, ... in order, whose upper halves are alike. A round is
// a chain of a multiplication, a shift and an exclusive or, each waiting for the one before:
// several vectors go through it together.
void draw(const DropRule& rule, std::uint64_t block, std::uint32_t* HWY_RESTRICT numbers) {
  const Wide d;
  const std::size_t lanes = hn::Lanes(d);
  // Even lanes take the first half of a vector's counters, odd ones the second: so the numbers come
  // out in order when neighbouring lanes are separated.
  HWY_ALIGN std::uint64_t places[hn::MaxLanes(d)];
  for (std::size_t lane = 0; lane < lanes; ++lane) places[lane] = lane / 2 + lane % 2 * lanes / 2;
  const auto step = hn::Set(d, lanes);
  const Shared shared(rule, block);
  auto counter = hn::Add(hn::Set(d, block), hn::Load(d, places));
  const auto next = [&]() HWY_ATTR {
    const State state(shared, counter);
    counter = hn::Add(counter, step);
    return state;
  };
  for (std::size_t i = 0; i < kBlocks; i += 6 * lanes) {
    State a = next();
    State b = next();
    State c = next();
    State e = next();
    State f = next();
    State g = next();
    auto key0 = hn::Set(d, rule.seed + 2 * Shared::kWeyl0);
    auto key1 = hn::Set(d, (rule.seed >> 32) + 2 * Shared::kWeyl1);
    for (int count = 2; count < 10; ++count) {
      for (State* state : {&a, &b, &c, &e, &f, &g}) state->round(key0, key1);
      key0 = hn::Add(key0, hn::Set(d, Shared::kWeyl0));
      key1 = hn::Add(key1, hn::Set(d, Shared::kWeyl1));
    }
    std::uint32_t* out = numbers + 4 * i;
    for (const State* state : {&a, &b, &c, &e, &f, &g}) {
      state->store(out);
      out += 4 * lanes;
    }
  }
}

// Random numbers as lanes of the width of T.
HWY_INLINE auto load_numbers(hn::ScalableTag<float>, const std::uint32_t* from) {
  return hn::LoadU(hn::ScalableTag<std::uint32_t>(), from);
}
HWY_INLINE auto load_numbers(hn::ScalableTag<double>, const std::uint32_t* from) {
  return hn::PromoteTo(Wide(), hn::LoadU(hn::Rebind<std::uint32_t, Wide>(), from));
}

template <bool kStreamed, class T>
void dropped_to(const DropRule& rule, std::uint64_t block, std::int64_t count, T factor,
                const T* HWY_RESTRICT x, T* HWY_RESTRICT y) {
  const hn::ScalableTag<T> d;
  const hn::RebindToUnsigned<decltype(d)> du;
  const std::size_t lanes = hn::Lanes(d);
  const auto highest = static_cast<std::uint32_t>(rule.threshold - 1);  // that is dropped
  HWY_ALIGN std::uint32_t numbers[kNumbers];
  const auto all = static_cast<std::size_t>(count);
  for (std::size_t start = 0; start < all; start += kNumbers, block += kBlocks) {
    draw(rule, block, numbers);
    const std::size_t size = HWY_MIN(kNumbers, all - start);
    std::size_t i = 0;
    for (; i + lanes <= size; i += lanes) {
      const auto kept = hn::Gt(load_numbers(d, numbers + i),
                               hn::Set(du, static_cast<hn::TFromD<decltype(du)>>(highest)));
      const auto value = hn::Mul(hn::LoadU(d, x + start + i), hn::Set(d, factor));
      put<kStreamed>(d, hn::IfThenElseZero(hn::RebindMask(d, kept), value), y + start + i);
    }
    for (; i < size; ++i) y[start + i] = numbers[i] > highest ? x[start + i] * factor : T{0};
  }
  if (kStreamed) finish_streaming();
}

template <class T>
void dropped(const DropRule& rule, std::uint64_t block, std::int64_t count, T factor, const T* x,
             T* y, bool streamed) {
  if (streamed) return dropped_to<true>(rule, block, count, factor, x, y);
  dropped_to<false>(rule, block, count, factor, x, y);
}

void DropF32(const DropRule& rule, std::uint64_t block, std::int64_t count, float factor,
             const float* x, float* y, bool streamed) {
  dropped(rule, block, count, factor, x, y, streamed);
}
void DropF64(const DropRule& rule, std::uint64_t block, std::int64_t count, double factor,
             const double* x, double* y, bool streamed) {
  dropped(rule, block, count, factor, x, y, streamed);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace fovea::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fovea::kernels {

HWY_EXPORT(DropF32);
HWY_EXPORT(DropF64);

template <>
void drop(const DropRule& rule, std::uint64_t block, std::int64_t count, float factor,
          const float* x, float* y, bool streamed) {
  detect_simd();
  HWY_DYNAMIC_DISPATCH(DropF32)(rule, block, count, factor, x, y, streamed);
}
template <>
void drop(const DropRule& rule, std::uint64_t block, std::int64_t count, double factor,
          const double* x, double* y, bool streamed) {
  detect_simd();
  HWY_DYNAMIC_DISPATCH(DropF64)(rule, block, count, factor, x, y, streamed);
}

}  // namespace fovea::kernels
#endif  // HWY_ONCE
