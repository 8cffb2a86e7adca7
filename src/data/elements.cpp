// See elements.h. Bytes come in blocks of fixed size and are converted on the way, so that nothing
// but the tensor is as large as the file. To add a type: a case in each of the two switches.
#include "data/elements.h"

#include <algorithm>
#include <array>
#include <limits>

#include "core/check.h"
#include "core/convert.h"
#include "core/dispatch.h"

namespace fovea::data {
namespace {

constexpr std::int64_t kBlock = 8192;  // elements

// Calls f(TypeTag<T>{}) with the C++ type of what is stored; halves come as their bits.
template <class F>
decltype(auto) dispatch_element(Element element, F&& f) {
  switch (element) {
    case Element::u8:
      return f(TypeTag<std::uint8_t>{});
    case Element::i8:
      return f(TypeTag<std::int8_t>{});
    case Element::f16:
    case Element::u16:
      return f(TypeTag<std::uint16_t>{});
    case Element::i16:
      return f(TypeTag<std::int16_t>{});
    case Element::u32:
      return f(TypeTag<std::uint32_t>{});
    case Element::i32:
      return f(TypeTag<std::int32_t>{});
    case Element::u64:
      return f(TypeTag<std::uint64_t>{});
    case Element::i64:
      return f(TypeTag<std::int64_t>{});
    case Element::f32:
      return f(TypeTag<float>{});
    case Element::f64:
      return f(TypeTag<double>{});
  }
  FOVEA_ASSERT(false);
}

// Reads `count` numbers of type From; each becomes widen(number), then To.
template <class From, class To, class Widen>
std::int64_t read_as(ByteStream& stream, bool big_endian, std::int64_t count, To* out,
                     const Widen& widen) {
  std::array<std::uint8_t, static_cast<std::size_t>(kBlock) * sizeof(From)> block;
  std::int64_t done = 0;
  while (done < count) {
    const std::int64_t wanted = std::min(kBlock, count - done);
    const std::size_t bytes =
        stream.read(block.data(), static_cast<std::size_t>(wanted) * sizeof(From));
    const auto got = static_cast<std::int64_t>(bytes / sizeof(From));
    for (std::int64_t i = 0; i < got; ++i) {
      const auto* place = block.data() + static_cast<std::size_t>(i) * sizeof(From);
      out[done + i] = convert<To>(widen(number_at<From>(place, big_endian)));
    }
    done += got;
    if (got < wanted) break;
  }
  return done;
}

}  // namespace

std::int64_t bytes_of(Element element) {
  return dispatch_element(element, [](auto tag) {
    return static_cast<std::int64_t>(sizeof(typename decltype(tag)::type));
  });
}

DType natural_type(Element element) {
  switch (element) {
    case Element::u8:
      return DType::uint8;
    case Element::f16:
    case Element::f32:
      return DType::float32;
    case Element::f64:
      return DType::float64;
    default:
      return DType::int64;
  }
}

std::int64_t read_elements(ByteStream& stream, Element element, bool big_endian, Tensor& out) {
  return dispatch_all(out.dtype(), [&](auto to) {
    using To = typename decltype(to)::type;
    To* values = out.mutable_data<To>();
    const std::int64_t count = out.numel();
    if (element == Element::f16)
      return read_as<std::uint16_t>(stream, big_endian, count, values, widen_half);
    return dispatch_element(element, [&](auto from) {
      using From = typename decltype(from)::type;
      return read_as<From>(stream, big_endian, count, values, [](From value) {
        if constexpr (std::is_same_v<From, std::uint64_t> && std::is_same_v<To, std::int64_t>)
          return std::min<From>(value, std::numeric_limits<std::int64_t>::max());
        else
          return value;
      });
    });
  });
}

}  // namespace fovea::data
