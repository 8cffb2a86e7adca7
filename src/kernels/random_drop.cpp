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

// The four numbers of the counters of two vectors: two, so that one multiplies while the other
// waits.
struct Pair {
  WideVector state[2][4];
};

HWY_INLINE void round(Pair& pair, WideVector key0, WideVector key1) {
  const Wide d;
  const auto multiplier0 = hn::Set(d, std::uint64_t{0xD2511F53});
  const auto multiplier1 = hn::Set(d, std::uint64_t{0xCD9E8D57});
  for (auto& s : pair.state) {
    const auto product0 = product(multiplier0, s[0]);
    const auto product1 = product(multiplier1, s[2]);
    s[0] = hn::Xor(hn::Xor(hn::ShiftRight<32>(product1), s[1]), key0);
    s[1] = product1;
    s[2] = hn::Xor(hn::Xor(hn::ShiftRight<32>(product0), s[3]), key1);
    s[3] = product0;
  }
}

// The numbers of counters block, block + 1, ... in order.
void draw(const DropRule& rule, std::uint64_t block, std::uint32_t* HWY_RESTRICT numbers) {
  const Wide d;
  const hn::Repartition<std::uint32_t, Wide> narrow;
  const std::size_t lanes = hn::Lanes(d);
  const auto low = hn::Set(d, std::uint64_t{0xFFFFFFFF});
  // Even lanes take the first half of a vector's counters, odd ones the second: so the numbers come
  // out in order when neighbouring lanes are separated.
  HWY_ALIGN std::uint64_t places[hn::MaxLanes(d)];
  for (std::size_t lane = 0; lane < lanes; ++lane) places[lane] = lane / 2 + lane % 2 * lanes / 2;
  const auto place = hn::Load(d, places);
  for (std::size_t i = 0; i < kBlocks; i += 2 * lanes) {
    Pair pair;
    for (std::size_t j = 0; j < 2; ++j) {
      const auto counter = hn::Add(hn::Set(d, block + i + j * lanes), place);
      pair.state[j][0] = counter;
      pair.state[j][1] = hn::ShiftRight<32>(counter);
      pair.state[j][2] = hn::Set(d, rule.stream);
      pair.state[j][3] = hn::Set(d, rule.stream >> 32);
    }
    std::uint64_t key0 = rule.seed & 0xFFFFFFFF;
    std::uint64_t key1 = rule.seed >> 32;
    for (int count = 0; count < 10; ++count) {
      round(pair, hn::Set(d, key0), hn::Set(d, key1));
      key0 += 0x9E3779B9;
      key1 += 0xBB67AE85;
    }
    for (std::size_t j = 0; j < 2; ++j) {
      const auto& s = pair.state[j];
      const auto first = hn::Or(hn::And(s[0], low), hn::ShiftLeft<32>(s[1]));
      const auto second = hn::Or(hn::And(s[2], low), hn::ShiftLeft<32>(s[3]));
      std::uint32_t* out = numbers + 4 * (i + j * lanes);
      hn::Store(hn::BitCast(narrow, hn::InterleaveLower(d, first, second)), narrow, out);
      hn::Store(hn::BitCast(narrow, hn::InterleaveUpper(d, first, second)), narrow,
                out + 2 * lanes);
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
