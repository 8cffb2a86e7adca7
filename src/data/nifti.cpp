// NIfTI-1 volumes (nifti.nimh.nih.gov/nifti-1): a header of 348 bytes, whose own size stored first
// tells the byte order, then, at an offset that it names, the voxels with the first axis fastest.
//
// The file is not trusted: a plain file must have the bytes that its header asks for, and a gzip
// file must not claim more than deflate can pack into its size, before memory is reserved. To add
// an element type: a line in kTypes.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>

#include "core/check.h"
#include "core/input_file.h"
#include "data/byte_stream.h"
#include "data/elements.h"
#include "fovea/readers.h"

namespace fovea::data {
namespace {

constexpr std::int64_t kHeaderBytes = 348;
constexpr std::int64_t kLeastOffset = 352;  // of the voxels, in a file that holds both
constexpr int kMaxAxes = 7;

struct TypeDef {
  int code;
  Element element;
};
constexpr std::array kTypes = {
    TypeDef{2, Element::u8},     TypeDef{256, Element::i8},   TypeDef{512, Element::u16},
    TypeDef{4, Element::i16},    TypeDef{768, Element::u32},  TypeDef{8, Element::i32},
    TypeDef{1280, Element::u64}, TypeDef{1024, Element::i64}, TypeDef{16, Element::f32},
    TypeDef{64, Element::f64},
};

struct Header {
  bool big_endian = false;
  Element element = Element::f32;
  Shape sizes;              // of the axes, the fastest first
  std::int64_t offset = 0;  // of the first voxel
  double slope = 1;
  double intercept = 0;

  std::int64_t voxels() const {
    std::int64_t count = 1;
    for (const std::int64_t size : sizes) {
      if (__builtin_mul_overflow(count, size, &count))
        return std::numeric_limits<std::int64_t>::max();
    }
    return count;
  }
};

// At the places that the standard gives.
class RawHeader {
 public:
  RawHeader(ByteStream& stream, const std::string& path) : path_(path) {
    const std::size_t count = stream.read(bytes_.data(), bytes_.size());
    FOVEA_CHECK(count == bytes_.size(),
                "read_nifti: '{}' has {} bytes, too few for the header of 348", path, count);
    const auto little = number_at<std::int32_t>(bytes_.data(), false);
    big_endian_ = number_at<std::int32_t>(bytes_.data(), true) == kHeaderBytes;
    FOVEA_CHECK(big_endian_ || little == kHeaderBytes,
                "read_nifti: '{}' is not a NIfTI-1 file: its first number is {}, expected 348{}",
                path, little, little == 540 ? " (540 is NIfTI-2; convert it first)" : "");
  }

  Header parse() const {
    const char* magic = reinterpret_cast<const char*>(bytes_.data()) + 344;
    FOVEA_CHECK(
        std::memcmp(magic, "ni1", 4) != 0,
        "read_nifti: '{}' is the header alone, with the voxels in an .img file; convert the "
        "pair into one .nii file",
        path_);
    FOVEA_CHECK(
        std::memcmp(magic, "n+1", 4) == 0,
        "read_nifti: '{}' is not a NIfTI-1 file: it lacks the letters n+1 behind its header",
        path_);
    Header header;
    header.big_endian = big_endian_;
    header.element = element();
    header.sizes = sizes();
    const double offset = at<float>(108);
    FOVEA_CHECK(offset >= kLeastOffset && offset <= 1e9,
                "read_nifti: '{}' says that its voxels start at byte {}, expected {} or more",
                path_, offset, kLeastOffset);
    header.offset = static_cast<std::int64_t>(offset);
    const double slope = at<float>(112);
    const double intercept = at<float>(116);
    if (slope != 0 && std::isfinite(slope) && std::isfinite(intercept)) {
      header.slope = slope;
      header.intercept = intercept;
    }
    return header;
  }

 private:
  template <class T>
  T at(std::size_t place) const {
    return number_at<T>(bytes_.data() + place, big_endian_);
  }

  Element element() const {
    const int code = at<std::int16_t>(70);
    for (const TypeDef& type : kTypes) {
      if (type.code == code) return type.element;
    }
    throw_error(fmt::format(
        "read_nifti: '{}' has voxels of type {}; integers and floating-point numbers of up to 8 "
        "bytes can be read, complex numbers and colours cannot",
        path_, code));
  }

  Shape sizes() const {
    const int rank = at<std::int16_t>(40);
    FOVEA_CHECK(rank >= 1 && rank <= kMaxAxes, "read_nifti: '{}' has {} axes, expected 1 to {}",
                path_, rank, kMaxAxes);
    Shape sizes;
    for (int axis = 1; axis <= rank; ++axis) {
      sizes.push_back(at<std::int16_t>(static_cast<std::size_t>(40 + 2 * axis)));
      FOVEA_CHECK(sizes.back() >= 1, "read_nifti: '{}' has the size {} along axis {}", path_,
                  sizes.back(), axis);
    }
    return sizes;
  }

  std::string path_;
  std::array<std::uint8_t, kHeaderBytes> bytes_{};
  bool big_endian_ = false;
};

void skip(ByteStream& stream, std::int64_t bytes, const std::string& path) {
  std::array<std::uint8_t, 4096> block;
  while (bytes > 0) {
    const auto wanted = static_cast<std::size_t>(std::min<std::int64_t>(bytes, block.size()));
    FOVEA_CHECK(stream.read(block.data(), wanted) == wanted,
                "read_nifti: '{}' ends before its voxels: it is truncated", path);
    bytes -= static_cast<std::int64_t>(wanted);
  }
}

// [C, depth, height, width] in row-major order is the order of the file.
Shape shape_of(const Shape& sizes) {
  Shape shape = {1, 1, 1, 1};
  for (int axis = 0; axis < sizes.rank(); ++axis) shape[axis < 3 ? 3 - axis : 0] *= sizes[axis];
  return shape;
}

}  // namespace

Tensor read_nifti(const std::string& path) {
  InputFile file("read_nifti", path);
  const bool packed = is_gzip(file);
  const auto stream = packed ? open_gzip("read_nifti", file) : open_plain(file);
  const Header header = RawHeader(*stream, path).parse();
  const std::int64_t most = packed ? file.size() * kMostInflation : file.size();
  FOVEA_CHECK(header.voxels() <= (most - header.offset) / bytes_of(header.element),
              "read_nifti: '{}' claims {} voxels of {} bytes from byte {} on, but has no more than "
              "{} bytes: it is truncated or damaged",
              path, header.sizes, bytes_of(header.element), header.offset, most);
  skip(*stream, header.offset - kHeaderBytes, path);
  Tensor volume = Tensor::empty(shape_of(header.sizes), DType::float32);
  const std::int64_t count = read_elements(*stream, header.element, header.big_endian, volume);
  FOVEA_CHECK(count == volume.numel(),
              "read_nifti: '{}' holds {} voxels, but its header asks for {}: it is truncated", path,
              count, volume.numel());
  std::uint8_t more = 0;  // of no interest, but at the end of its data gzip verifies a check sum
  stream->read(&more, 1);
  if (header.slope == 1 && header.intercept == 0) return volume;
  auto* voxels = volume.mutable_data<float>();
  for (std::int64_t i = 0; i < count; ++i) {
    voxels[i] =
        static_cast<float>(static_cast<double>(voxels[i]) * header.slope + header.intercept);
  }
  return volume;
}

}  // namespace fovea::data
