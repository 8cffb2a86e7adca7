// Squares of the values of 16 bytes are turned round in registers, the rest one by one. Each value
// is moved once either way, but a square moves several at a time: scattered single stores took
// longer than the sums that they write.
#include "kernels/transpose.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/transpose.cpp"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace fovea::kernels {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// rows[0..4)[j..j + 4) to four neighbours in each of four columns.
HWY_INLINE void Square(const float* const* rows, int64_t j, float* out, int64_t step) {
  const hn::Full128<float> d;
  const hn::Full128<double> pairs;
  const auto a = hn::LoadU(d, rows[0] + j);
  const auto b = hn::LoadU(d, rows[1] + j);
  const auto c = hn::LoadU(d, rows[2] + j);
  const auto e = hn::LoadU(d, rows[3] + j);
  const auto ab_low = hn::BitCast(pairs, hn::InterleaveLower(d, a, b));
  const auto ce_low = hn::BitCast(pairs, hn::InterleaveLower(d, c, e));
  const auto ab_high = hn::BitCast(pairs, hn::InterleaveUpper(d, a, b));
  const auto ce_high = hn::BitCast(pairs, hn::InterleaveUpper(d, c, e));
  hn::StoreU(hn::BitCast(d, hn::InterleaveLower(pairs, ab_low, ce_low)), d, out);
  hn::StoreU(hn::BitCast(d, hn::InterleaveUpper(pairs, ab_low, ce_low)), d, out + step);
  hn::StoreU(hn::BitCast(d, hn::InterleaveLower(pairs, ab_high, ce_high)), d, out + 2 * step);
  hn::StoreU(hn::BitCast(d, hn::InterleaveUpper(pairs, ab_high, ce_high)), d, out + 3 * step);
}

HWY_INLINE void Square(const double* const* rows, int64_t j, double* out, int64_t step) {
  const hn::Full128<double> d;
  const auto a = hn::LoadU(d, rows[0] + j);
  const auto b = hn::LoadU(d, rows[1] + j);
  hn::StoreU(hn::InterleaveLower(d, a, b), d, out);
  hn::StoreU(hn::InterleaveUpper(d, a, b), d, out + step);
}

template <class T>
void Transpose(const T* const* rows, int64_t count, int64_t width, T* out, int64_t step) {
  constexpr int64_t kSide = 16 / sizeof(T);
  const int64_t squares = width / kSide * kSide;
  int64_t i = 0;
  for (; i + kSide <= count; i += kSide) {
    for (int64_t j = 0; j < squares; j += kSide) Square(rows + i, j, out + j * step + i, step);
    for (int64_t j = squares; j < width; ++j) {
      for (int64_t k = i; k < i + kSide; ++k) out[j * step + k] = rows[k][j];
    }
  }
  for (; i < count; ++i) {
    for (int64_t j = 0; j < width; ++j) out[j * step + i] = rows[i][j];
  }
}

void Transpose32(const float* const* rows, int64_t count, int64_t width, float* out, int64_t step) {
  Transpose(rows, count, width, out, step);
}
void Transpose64(const double* const* rows, int64_t count, int64_t width, double* out,
                 int64_t step) {
  Transpose(rows, count, width, out, step);
}

}  // namespace HWY_NAMESPACE
}  // namespace fovea::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fovea::kernels {

HWY_EXPORT(Transpose32);
HWY_EXPORT(Transpose64);

template <>
void transpose(const float* const* rows, std::int64_t count, std::int64_t width, float* out,
               std::int64_t out_step) {
  HWY_DYNAMIC_DISPATCH(Transpose32)(rows, count, width, out, out_step);
}
template <>
void transpose(const double* const* rows, std::int64_t count, std::int64_t width, double* out,
               std::int64_t out_step) {
  HWY_DYNAMIC_DISPATCH(Transpose64)(rows, count, width, out, out_step);
}

}  // namespace fovea::kernels
#endif
