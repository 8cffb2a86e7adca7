// Dropout's loop: a few hundred random numbers at a time into the first-level cache, then the
// elements.
//
// Philox4x32-10 as fovea::philox computes it, one counter per 64-bit lane. Each of the four numbers
// lies in the low half of a lane; what is in the high half never matters, for the multiplication
// of even lanes does not read it, and it is cut off in the end.
#include "kernels/random_drop.h"

#include <cstddef>

#include "kernels/simd.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/random_drop.cpp"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// The target's own headers follow.
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace fovea::kernels {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;
using Wide = hn::ScalableTag<std::uint64_t>;
using WideVector = hn::Vec<Wide>;

constexpr std::size_t kBlocks = 128;  // counters of one batch, four numbers each
constexpr std::size_t kNumbers = 4 * kBlocks;

// The product of the low halves of the lanes.
HWY_INLINE WideVector product(WideVector a, WideVector b) {
  const hn::Repartition<std::uint32_t, Wide> narrow;
  return hn::MulEven(hn::BitCast(narrow, a), hn::BitCast(narrow, b));
}

// The four numbers of the counters of one vector.
struct State {
  HWY_INLINE State(const DropRule& rule, WideVector counter) {
    const Wide d;
    s0 = counter;
    s1 = hn::ShiftRight<32>(counter);
    s2 = hn::Set(d, rule.stream);
    s3 = hn::Set(d, rule.stream >> 32);
  }

  HWY_INLINE void round(WideVector key0, WideVector key1) {
    const Wide d;
    const auto product0 = product(hn::Set(d, std::uint64_t{0xD2511F53}), s0);
    const auto product1 = product(hn::Set(d, std::uint64_t{0xCD9E8D57}), s2);
    s0 = hn::Xor3(hn::ShiftRight<32>(product1), s1, key0);
    s1 = product1;
    s2 = hn::Xor3(hn::ShiftRight<32>(product0), s3, key1);
    s3 = product0;
  }

  // In order, as draw() has placed the counters.
  HWY_INLINE void store(std::uint32_t* out) const {
    const Wide d;
    const hn::Repartition<std::uint32_t, Wide> narrow;
    const auto low = hn::Set(d, std::uint64_t{0xFFFFFFFF});
    const auto first = hn::Or(hn::And(s0, low), hn::ShiftLeft<32>(s1));
    const auto second = hn::Or(hn::And(s2, low), hn::ShiftLeft<32>(s3));
    hn::Store(hn::BitCast(narrow, hn::InterleaveLower(d, first, second)), narrow, out);
    hn::Store(hn::BitCast(narrow, hn::InterleaveUpper(d, first, second)), narrow,
              out + 2 * hn::Lanes(d));
  }

  WideVector s0, s1, s2, s3;
};

// The numbers of counters block, block + 1, ... in order. A round is a chain of a multiplication, a
// shift and an exclusive or, each waiting for the one before: four vectors go through it together.
void draw(const DropRule& rule, std::uint64_t block, std::uint32_t* HWY_RESTRICT numbers) {
  const Wide d;
  const std::size_t lanes = hn::Lanes(d);
  // Even lanes take the first half of a vector's counters, odd ones the second: so the numbers come
  // out in order when neighbouring lanes are separated.
  HWY_ALIGN std::uint64_t places[hn::MaxLanes(d)];
  for (std::size_t lane = 0; lane < lanes; ++lane) places[lane] = lane / 2 + lane % 2 * lanes / 2;
  const auto step = hn::Set(d, lanes);
  auto counter = hn::Add(hn::Set(d, block), hn::Load(d, places));
  for (std::size_t i = 0; i < kBlocks; i += 4 * lanes) {
    State a(rule, counter);
    counter = hn::Add(counter, step);
    State b(rule, counter);
    counter = hn::Add(counter, step);
    State c(rule, counter);
    counter = hn::Add(counter, step);
    State e(rule, counter);
    counter = hn::Add(counter, step);
    auto key0 = hn::Set(d, rule.seed);
    auto key1 = hn::Set(d, rule.seed >> 32);
    for (int count = 0; count < 10; ++count) {
      a.round(key0, key1);
      b.round(key0, key1);
      c.round(key0, key1);
      e.round(key0, key1);
      key0 = hn::Add(key0, hn::Set(d, std::uint64_t{0x9E3779B9}));
      key1 = hn::Add(key1, hn::Set(d, std::uint64_t{0xBB67AE85}));
    }
    a.store(numbers + 4 * i);
    b.store(numbers + 4 * (i + lanes));
    c.store(numbers + 4 * (i + 2 * lanes));
    e.store(numbers + 4 * (i + 3 * lanes));
  }
}

// Random numbers as lanes of the width of T.
HWY_INLINE auto load_numbers(hn::ScalableTag<float>, const std::uint32_t* from) {
  return hn::LoadU(hn::ScalableTag<std::uint32_t>(), from);
}
HWY_INLINE auto load_numbers(hn::ScalableTag<double>, const std::uint32_t* from) {
  return hn::PromoteTo(Wide(), hn::LoadU(hn::Rebind<std::uint32_t, Wide>(), from));
}

template <class T>
void dropped(const DropRule& rule, std::uint64_t block, std::int64_t count, T factor,
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
      hn::StoreU(hn::IfThenElseZero(hn::RebindMask(d, kept), value), d, y + start + i);
    }
    for (; i < size; ++i) y[start + i] = numbers[i] > highest ? x[start + i] * factor : T{0};
  }
}

void DropF32(const DropRule& rule, std::uint64_t block, std::int64_t count, float factor,
             const float* x, float* y) {
  dropped(rule, block, count, factor, x, y);
}
void DropF64(const DropRule& rule, std::uint64_t block, std::int64_t count, double factor,
             const double* x, double* y) {
  dropped(rule, block, count, factor, x, y);
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
          const float* x, float* y) {
  detect_simd();
  HWY_DYNAMIC_DISPATCH(DropF32)(rule, block, count, factor, x, y);
}
template <>
void drop(const DropRule& rule, std::uint64_t block, std::int64_t count, double factor,
          const double* x, double* y) {
  detect_simd();
  HWY_DYNAMIC_DISPATCH(DropF64)(rule, block, count, factor, x, y);
}

}  // namespace fovea::kernels
#endif  // HWY_ONCE
