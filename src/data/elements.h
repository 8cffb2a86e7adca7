// Numbers as array files store them: of many types, with either end first.
#pragma once

#include <cstdint>
#include <string_view>

#include "data/byte_stream.h"
#include "fovea/tensor.h"

namespace fovea::data {

enum class Element : std::uint8_t { u8, i8, u16, i16, u32, i32, u64, i64, f16, f32, f64 };

std::int64_t bytes_of(Element element);
// The type of a tensor that holds all of its values (but integers above 2^63 - 1, which become
// that).
DType natural_type(Element element);

// Fills `out`, contiguous and of any type, from the stream, converting each element. Returns how
// many there were: fewer than out.numel() only where the stream ends.
std::int64_t read_elements(ByteStream& stream, Element element, bool big_endian, Tensor& out);

}  // namespace fovea::data
