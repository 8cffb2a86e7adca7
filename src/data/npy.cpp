// NumPy's .npy: the bytes 93 "NUMPY", a version, the length of the header, the header (a Python
// dictionary: type, memory order, shape), then the elements.
// (numpy.org/doc/stable/reference/generated/numpy.lib.format.html)
//
// The file is not trusted: what the header asks for is compared with the size of the file before
// memory is reserved. To add an element type: a line in kTypes.
#include "data/npy.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>
#include <string_view>

#include "core/check.h"
#include "core/input_file.h"
#include "core/printable.h"
#include "data/elements.h"
#include "fovea/readers.h"

namespace fovea::data {
namespace {

constexpr std::string_view kMagic = "\x93NUMPY";
constexpr std::int64_t kMaxHeader = 65536;

struct TypeDef {
  std::string_view name;  // without the byte order
  Element element;
};
constexpr std::array kTypes = {
    TypeDef{"f4", Element::f32}, TypeDef{"f8", Element::f64}, TypeDef{"f2", Element::f16},
    TypeDef{"u1", Element::u8},  TypeDef{"i1", Element::i8},  TypeDef{"b1", Element::u8},
    TypeDef{"u2", Element::u16}, TypeDef{"i2", Element::i16}, TypeDef{"u4", Element::u32},
    TypeDef{"i4", Element::i32}, TypeDef{"u8", Element::u64}, TypeDef{"i8", Element::i64},
};

// The header, {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }, item by item.
class HeaderText {
 public:
  HeaderText(std::string_view text, std::string start) : rest_(text), start_(std::move(start)) {}

  bool accept(std::string_view token) {
    while (!rest_.empty() && (rest_[0] == ' ' || rest_[0] == '\n')) rest_.remove_prefix(1);
    if (!rest_.starts_with(token)) return false;
    rest_.remove_prefix(token.size());
    return true;
  }
  void expect(std::string_view token) {
    if (!accept(token)) fail(fmt::format("expected {}", token));
  }
  std::string_view quoted() {
    const char* quote = accept("'") ? "'" : "\"";
    if (*quote == '"') expect("\"");
    const std::size_t end = rest_.find(*quote);
    if (end == std::string_view::npos) fail("a text has no end");
    const std::string_view text = rest_.substr(0, end);
    rest_.remove_prefix(end + 1);
    return text;
  }
  bool boolean() {
    if (accept("True")) return true;
    expect("False");
    return false;
  }
  Shape shape() {
    Shape shape;
    expect("(");
    while (!accept(")")) {
      std::int64_t size = 0;
      accept("");  // blanks
      const auto [after, error] = std::from_chars(rest_.data(), rest_.data() + rest_.size(), size);
      if (error != std::errc() || size < 0) fail("the shape is no list of sizes");
      if (shape.rank() == kMaxRank) fail(fmt::format("there are more than {} axes", kMaxRank));
      rest_.remove_prefix(static_cast<std::size_t>(after - rest_.data()));
      accept("L");  // as Python 2 wrote it
      shape.push_back(size);
      if (!accept(",")) {
        expect(")");
        break;
      }
    }
    return shape;
  }
  [[noreturn]] void fail(const std::string& why) const {
    throw_error(fmt::format("{} has a header that cannot be read: {}, at '{}'", start_, why,
                            printable(rest_.substr(0, 20))));
  }

 private:
  std::string_view rest_;
  std::string start_;  // of messages
};

struct Header {
  Element element = Element::f32;
  bool big_endian = false;
  bool fortran_order = false;
  Shape shape;
};

void set_type(Header& header, std::string_view text, const std::string& start) {
  const bool ordered = !text.empty() && std::string_view("<>|=").find(text[0]) != text.npos;
  header.big_endian = text.starts_with('>');
  for (const TypeDef& type : kTypes) {
    if (text.substr(ordered ? 1 : 0) == type.name) {
      header.element = type.element;
      return;
    }
  }
  throw_error(
      fmt::format("{} has elements of type '{}'; those that can be read are integers, booleans and "
                  "floating-point numbers of 2, 4 and 8 bytes. Save it with .astype('float32')",
                  start, printable(text)));
}

Header parse_header(std::string_view text, const std::string& start) {
  HeaderText in(text, start);
  Header header;
  bool typed = false;
  bool shaped = false;
  in.expect("{");
  while (!in.accept("}")) {
    const std::string_view key = in.quoted();
    in.expect(":");
    if (key == "descr") {
      set_type(header, in.quoted(), start);
      typed = true;
    } else if (key == "fortran_order") {
      header.fortran_order = in.boolean();
    } else if (key == "shape") {
      header.shape = in.shape();
      shaped = true;
    } else {
      in.fail(fmt::format("there is no key '{}'", printable(key)));
    }
    if (!in.accept(",")) {
      in.expect("}");
      break;
    }
  }
  if (!typed || !shaped) in.fail("descr or shape is missing");
  return header;
}

// Bytes of all elements; the most there can be if they have no such number.
std::int64_t data_bytes(const Header& header) {
  std::int64_t bytes = bytes_of(header.element);
  std::int64_t strides = bytes;  // where a size is zero, the others must still have a product
  for (const std::int64_t size : header.shape) {
    if (__builtin_mul_overflow(bytes, size, &bytes) ||
        __builtin_mul_overflow(strides, std::max<std::int64_t>(size, 1), &strides))
      return std::numeric_limits<std::int64_t>::max();
  }
  // What is kept has up to eight bytes where the file has one.
  return strides > std::numeric_limits<std::int64_t>::max() / 8
             ? std::numeric_limits<std::int64_t>::max()
             : bytes;
}

// Reads the length of the header, which has 2 bytes in version 1 and 4 later, and the header.
std::string read_header_text(ByteStream& stream, const std::string& start) {
  std::array<std::uint8_t, 12> lead{};
  std::size_t count = stream.read(lead.data(), 10);
  FOVEA_CHECK(count == 10 && std::equal(kMagic.begin(), kMagic.end(), lead.begin(),
                                        [](char a, std::uint8_t b) {
                                          return static_cast<std::uint8_t>(a) == b;
                                        }),
              "{} is not a .npy array", start);
  const int version = lead[6];
  FOVEA_CHECK(version >= 1 && version <= 3, "{} has the version {}, expected 1 to 3", start,
              version);
  std::int64_t length = number_at<std::uint16_t>(lead.data() + 8, false);
  if (version > 1) {
    FOVEA_CHECK(stream.read(lead.data() + 10, 2) == 2, "{} ends in its header", start);
    length = number_at<std::uint32_t>(lead.data() + 8, false);
  }
  FOVEA_CHECK(length <= kMaxHeader, "{} has a header of {} bytes, more than the {} allowed", start,
              length, kMaxHeader);
  std::string text(static_cast<std::size_t>(length), '\0');
  count = stream.read(text.data(), text.size());
  FOVEA_CHECK(count == text.size(), "{} ends in its header: it is truncated", start);
  return text;
}

}  // namespace

Tensor read_npy_stream(const std::string& op, const std::string& what, ByteStream& stream,
                       std::int64_t most_bytes) {
  const std::string start = fmt::format("{}: {}", op, what);
  const Header header = parse_header(read_header_text(stream, start), start);
  const std::int64_t bytes = data_bytes(header);
  FOVEA_CHECK(
      bytes <= most_bytes,
      "{} claims the shape {} of elements of {} bytes, but has no more than {} bytes: it is "
      "truncated or damaged",
      start, header.shape, bytes_of(header.element), most_bytes);
  Shape stored = header.shape;
  if (header.fortran_order) std::reverse(stored.begin(), stored.end());
  Tensor array = Tensor::empty(stored, natural_type(header.element));
  const std::int64_t count = read_elements(stream, header.element, header.big_endian, array);
  FOVEA_CHECK(count == array.numel(),
              "{} holds {} elements, but its header, shape {}, asks for {}: it is truncated", start,
              count, header.shape, array.numel());
  std::uint8_t extra = 0;
  FOVEA_CHECK(stream.read(&extra, 1) == 0,
              "{} holds more than the {} elements of its header, shape {}: it is damaged", start,
              array.numel(), header.shape);
  if (!header.fortran_order) return array;
  Shape axes;
  for (int axis = stored.rank(); axis-- > 0;) axes.push_back(axis);
  return array.permute(axes);
}

Tensor read_npy(const std::string& path) {
  InputFile file("read_npy", path);
  return read_npy_stream("read_npy", fmt::format("'{}'", path), *open_plain(file), file.size());
}

}  // namespace fovea::data
