// IDX, the format of MNIST (LeCun, Cortes and Burges, 1998): two zero bytes, the element type, the
// number of axes, each size as 32 bits (big end first), then the elements in row-major order.
//
// The file is not trusted. A plain file must have exactly the size that its header asks for, which
// is checked before memory is reserved; a gzip file must not claim more than deflate can pack into
// its size.
#include <algorithm>
#include <array>

#include "core/check.h"
#include "core/input_file.h"
#include "data/byte_stream.h"
#include "fovea/data.h"

namespace fovea::data {
namespace {

constexpr int kUnsignedByte = 0x08;  // the element type; MNIST and its relatives have no other
constexpr int kMaxAxes = 4;

struct Header {
  Shape shape;
  std::size_t elements = 0;
  std::int64_t bytes = 0;  // of header and elements together
};

Header read_header(ByteStream& stream, const std::string& path) {
  std::array<std::uint8_t, 4> magic{};
  const std::size_t count = stream.read(magic.data(), magic.size());
  FOVEA_CHECK(count == magic.size(), "read_idx: '{}' has {} bytes, too few for an IDX header", path,
              count);
  FOVEA_CHECK(magic[0] == 0 && magic[1] == 0,
              "read_idx: '{}' is not an IDX file: it starts with {:02x} {:02x}, expected 00 00",
              path, magic[0], magic[1]);
  FOVEA_CHECK(magic[2] == kUnsignedByte,
              "read_idx: '{}' has elements of type 0x{:02x}, expected unsigned bytes (0x08)", path,
              magic[2]);
  const int rank = magic[3];
  FOVEA_CHECK(rank >= 1 && rank <= kMaxAxes, "read_idx: '{}' has {} axes, expected 1 to {}", path,
              rank, kMaxAxes);
  Header header;
  header.bytes = 4 + 4 * rank;
  std::int64_t elements = 1;
  std::int64_t strides = 1;  // where a size is zero, the others must still have a product
  bool countable = true;
  for (int axis = 0; axis < rank; ++axis) {
    std::array<std::uint8_t, 4> size{};
    FOVEA_CHECK(stream.read(size.data(), size.size()) == size.size(),
                "read_idx: '{}' ends in its header: it is truncated, download it again", path);
    const std::int64_t value =
        (std::int64_t{size[0]} << 24) | (size[1] << 16) | (size[2] << 8) | size[3];
    header.shape.push_back(value);
    countable = countable && !__builtin_mul_overflow(elements, value, &elements) &&
                !__builtin_mul_overflow(strides, std::max<std::int64_t>(value, 1), &strides);
  }
  countable = countable && !__builtin_add_overflow(header.bytes, elements, &header.bytes);
  FOVEA_CHECK(countable,
              "read_idx: '{}' claims the shape {}, more than any file can hold: it is damaged",
              path, header.shape);
  header.elements = static_cast<std::size_t>(elements);
  return header;
}

Tensor read_plain(InputFile& file) {
  const Header header = read_header(*open_plain(file), file.path());
  FOVEA_CHECK(header.bytes == file.size(),
              "read_idx: '{}' has {} bytes, but its header, shape {}, asks for {}: the file is {}",
              file.path(), file.size(), header.shape, header.bytes,
              file.size() < header.bytes ? "truncated, download it again" : "damaged");
  Tensor tensor = Tensor::empty(header.shape, DType::uint8);
  file.read_exactly(tensor.mutable_data<std::uint8_t>(), header.elements);
  return tensor;
}

Tensor read_gzip(InputFile& file) {
  const auto stream = open_gzip("read_idx", file);
  const Header header = read_header(*stream, file.path());
  FOVEA_CHECK(header.bytes / kMostInflation <= file.size(),
              "read_idx: '{}' has {} bytes, but its header, shape {}, asks for {}, more than gzip "
              "can pack into them: it is damaged",
              file.path(), file.size(), header.shape, header.bytes);
  Tensor tensor = Tensor::empty(header.shape, DType::uint8);
  auto* out = tensor.mutable_data<std::uint8_t>();
  const std::size_t count = stream->read(out, header.elements);
  FOVEA_CHECK(
      count == header.elements,
      "read_idx: '{}' holds {} elements, but its header, shape {}, asks for {}: it is damaged",
      file.path(), count, header.shape, header.elements);
  // Asking for one byte more also makes zlib verify the check sum.
  std::uint8_t extra = 0;
  FOVEA_CHECK(
      stream->read(&extra, 1) == 0,
      "read_idx: '{}' holds more than the {} elements of its header, shape {}: it is damaged",
      file.path(), header.elements, header.shape);
  return tensor;
}

}  // namespace

Tensor read_idx(const std::string& path) {
  InputFile file("read_idx", path);
  return is_gzip(file) ? read_gzip(file) : read_plain(file);
}

}  // namespace fovea::data
