// Safetensors: 8 bytes with the length of the header (little end first), a JSON header that gives
// each tensor's type, shape and place, then the raw data, row-major, without holes or overlaps.
// (https://huggingface.co/docs/safetensors)
//
// The file is not trusted: every number is checked against the size of the file before memory is
// reserved. To add an element type: a line in kTypes and, if it is stored in another form than
// Fovea's own, its case in read_elements.
#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <nlohmann/json.hpp>
#include <string_view>
#include <tuple>
#include <utility>

#include "core/atomic_file.h"
#include "core/check.h"
#include "core/convert.h"
#include "core/dispatch.h"
#include "core/input_file.h"
#include "core/printable.h"
#include "core/strict_json.h"
#include "core/tensor_impl.h"
#include "fovea/save.h"

namespace fovea {
namespace {

using Json = nlohmann::json;

static_assert(std::endian::native == std::endian::little,
              "the format is little-endian; swap bytes here");

constexpr std::int64_t kLengthBytes = 8;
constexpr std::int64_t kMaxHeader = std::int64_t{100}
                                    << 20;  // as the reference implementation has it
constexpr int kMaxDepth = 2;                // of the header: {"name": {"shape": [
constexpr std::string_view kMetadata = "__metadata__";

enum class Stored : std::uint8_t { same, half, bfloat };

struct TypeDef {
  std::string_view name;
  std::size_t bytes;  // of one element in the file
  DType dtype;        // in memory
  Stored stored;
};

constexpr std::array kTypes = {
    TypeDef{"F32", 4, DType::float32, Stored::same},
    TypeDef{"F64", 8, DType::float64, Stored::same},
    TypeDef{"I64", 8, DType::int64, Stored::same},
    TypeDef{"U8", 1, DType::uint8, Stored::same},
    TypeDef{"F16", 2, DType::float32, Stored::half},
    TypeDef{"BF16", 2, DType::float32, Stored::bfloat},
};

float widen_bfloat(std::uint16_t bits) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
}

// One entry of the header, checked.
struct Entry {
  std::string name;
  const TypeDef* type = nullptr;
  Shape shape;
  std::int64_t begin = 0;  // in the data
  std::int64_t end = 0;
};

struct Header {
  std::vector<Entry> entries;  // in the order of their data
  std::map<std::string, std::string> metadata;
};

class Reader {
 public:
  explicit Reader(const std::string& path) : file_("read_safetensors", path) {}

  TensorFile read() {
    const Header header = read_header();
    TensorFile result;
    result.metadata = header.metadata;
    // The entries follow each other without a gap, so the file is read from front to back.
    for (const Entry& entry : header.entries)
      result.tensors.emplace(entry.name, read_tensor(entry));
    return result;
  }

 private:
  template <class... Args>
  void check(bool condition, fmt::format_string<Args...> message, Args&&... args) const {
    FOVEA_CHECK(condition, "read_safetensors: '{}': {}", file_.path(),
                printable(fmt::format(message, std::forward<Args>(args)...)));
  }

  // The same for what no such file has.
  template <class... Args>
  void check_kind(bool condition, fmt::format_string<Args...> message, Args&&... args) const {
    FOVEA_CHECK(condition, "read_safetensors: '{}' is no .fovea or safetensors file ({})",
                file_.path(), fmt::format(message, std::forward<Args>(args)...));
  }

  Header read_header() {
    check_kind(file_.size() >= kLengthBytes, "{} bytes are too few for one", file_.size());
    std::uint64_t length = 0;
    file_.read_exactly(&length, sizeof(length));
    check_kind(length <= static_cast<std::uint64_t>(kMaxHeader),
               "its header would have {} bytes, at most {} are allowed", length, kMaxHeader);
    const std::int64_t data = file_.size() - kLengthBytes - static_cast<std::int64_t>(length);
    check(data >= 0, "the header claims {} bytes, but only {} follow: the file is truncated",
          length, file_.size() - kLengthBytes);
    std::string text(length, '\0');
    file_.read_exactly(text.data(), text.size());
    check_kind(!text.empty() && text.front() == '{', "its header does not start with '{{'");
    const Json json = parse_strictly(
        text, fmt::format("read_safetensors: '{}': the header", file_.path()), kMaxDepth);
    Header header;
    for (const auto& [name, value] : json.items()) {
      if (name == kMetadata) {
        read_metadata(value, header);
      } else {
        header.entries.push_back(read_entry(name, value));
      }
    }
    check_places(header.entries, data);
    return header;
  }

  void read_metadata(const Json& json, Header& header) const {
    check(json.is_object(), "__metadata__ is not an object");
    for (const auto& [key, value] : json.items()) {
      check(value.is_string(), "__metadata__ gives '{}' a value that is not a string", key);
      header.metadata.emplace(key, value.get<std::string>());
    }
  }

  Entry read_entry(const std::string& name, const Json& json) const {
    check(json.is_object() && json.contains("dtype") && json["dtype"].is_string() &&
              json.contains("shape") && json["shape"].is_array() && json.contains("data_offsets") &&
              json["data_offsets"].is_array() && json["data_offsets"].size() == 2,
          "'{}' needs a dtype, a shape and two data_offsets", name);
    Entry entry;
    entry.name = name;
    const auto& dtype = json["dtype"].get_ref<const std::string&>();
    const auto* type = std::find_if(kTypes.begin(), kTypes.end(),
                                    [&](const auto& def) { return def.name == dtype; });
    check(type != kTypes.end(), "'{}' has the type {}; F64, F32, F16, BF16, I64 and U8 can be read",
          name, dtype);
    entry.type = type;
    check(json["shape"].size() <= kMaxRank, "'{}' has {} axes, at most {} are supported", name,
          json["shape"].size(), kMaxRank);
    for (const Json& size : json["shape"]) entry.shape.push_back(read_number(size, name));
    entry.begin = read_number(json["data_offsets"][0], name);
    entry.end = read_number(json["data_offsets"][1], name);
    const std::int64_t bytes = byte_count(entry);
    check(entry.begin <= entry.end && entry.end - entry.begin == bytes,
          "'{}' is {} {}, {} bytes, but its data_offsets are [{}, {}]", name, dtype, entry.shape,
          bytes, entry.begin, entry.end);
    return entry;
  }

  std::int64_t read_number(const Json& json, const std::string& name) const {
    check(json.is_number_unsigned() && json.get<std::uint64_t>() <= INT64_MAX,
          "'{}' has a size or an offset that is not a natural number", name);
    return json.get<std::int64_t>();
  }

  std::int64_t byte_count(const Entry& entry) const {
    // Zero sizes count as one at first: strides are products of the others, and must fit as well.
    std::int64_t bytes =
        static_cast<std::int64_t>(std::max(entry.type->bytes, size_of(entry.type->dtype)));
    bool empty = false;
    bool countable = true;
    for (const std::int64_t size : entry.shape) {
      empty = empty || size == 0;
      countable =
          countable && !__builtin_mul_overflow(bytes, std::max<std::int64_t>(size, 1), &bytes);
    }
    check(countable, "'{}' has the shape {}, more than any file can hold", entry.name, entry.shape);
    return empty ? 0 : entry.shape.numel() * static_cast<std::int64_t>(entry.type->bytes);
  }

  void check_places(std::vector<Entry>& entries, std::int64_t data) const {
    std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
      return std::tie(a.begin, a.end, a.name) < std::tie(b.begin, b.end, b.name);
    });
    std::int64_t place = 0;
    for (const Entry& entry : entries) {
      check(entry.begin == place, "'{}' starts at byte {} of the data, expected {}: entries {}",
            entry.name, entry.begin, place, entry.begin < place ? "overlap" : "leave a hole");
      place = entry.end;
    }
    check(place == data,
          "the entries need {} bytes of data, but {} follow the header: the file is {}", place,
          data, place > data ? "truncated" : "damaged");
  }

  Tensor read_tensor(const Entry& entry) {
    Tensor tensor = Tensor::empty(entry.shape, entry.type->dtype);
    if (entry.type->stored == Stored::same) {
      dispatch_all(tensor.dtype(), [&](auto tag) {
        using T = typename decltype(tag)::type;
        file_.read_exactly(tensor.mutable_data<T>(),
                           static_cast<std::size_t>(entry.end - entry.begin));
      });
      return tensor;
    }
    const auto widen = entry.type->stored == Stored::half ? widen_half : widen_bfloat;
    auto* out = tensor.mutable_data<float>();
    std::array<std::uint16_t, 4096> block{};
    for (std::int64_t left = tensor.numel(); left > 0;) {
      const auto count = std::min(static_cast<std::size_t>(left), block.size());
      file_.read_exactly(block.data(), count * sizeof(block[0]));
      out = std::transform(block.begin(), block.begin() + count, out, widen);
      left -= static_cast<std::int64_t>(count);
    }
    return tensor;
  }

  InputFile file_;
};

// Fovea's own types come first in kTypes.
std::string_view stored_name(DType dtype) {
  const auto* type = std::find_if(kTypes.begin(), kTypes.end(),
                                  [&](const auto& def) { return def.dtype == dtype; });
  return type->name;
}

// The header, padded so that the data starts at a multiple of eight.
std::string header_of(const TensorFile& file) {
  Json json = Json::object();
  if (!file.metadata.empty()) json[std::string(kMetadata)] = file.metadata;
  std::int64_t place = 0;
  for (const auto& [name, tensor] : file.tensors) {
    FOVEA_CHECK(name != kMetadata, "write_safetensors: a tensor cannot be called {}", kMetadata);
    FOVEA_CHECK(tensor.defined() && !tensor.is_abstract(),
                "write_safetensors: the tensor '{}' holds no data", name);
    const std::int64_t bytes = tensor.numel() * static_cast<std::int64_t>(size_of(tensor.dtype()));
    json[name] = {
        {"dtype", stored_name(tensor.dtype())},
        {"shape", std::vector<std::int64_t>(tensor.shape().begin(), tensor.shape().end())},
        {"data_offsets", {place, place + bytes}}};
    place += bytes;
  }
  std::string header;
  try {
    header = json.dump();
  } catch (const Json::exception& error) {
    throw_error(fmt::format("write_safetensors: a name or a metadata value is not valid UTF-8 ({})",
                            error.what()));
  }
  header.resize((header.size() + 7) / 8 * 8, ' ');
  FOVEA_CHECK(static_cast<std::int64_t>(header.size()) <= kMaxHeader,
              "write_safetensors: the header would have {} bytes, at most {} are allowed",
              header.size(), kMaxHeader);
  return header;
}

void write_elements(AtomicFile& out, const Tensor& tensor) {
  const Tensor elements = dense(tensor, Layout::row_major);
  dispatch_all(elements.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    out.write(elements.data<T>(), static_cast<std::size_t>(elements.numel()) * sizeof(T));
  });
}

}  // namespace

TensorFile read_safetensors(const std::string& path) {
  return Reader(path).read();
}

void write_safetensors(const std::string& path, const TensorFile& file) {
  const std::string header = header_of(file);
  const std::uint64_t length = header.size();
  AtomicFile out("write_safetensors", path);
  out.write(&length, sizeof(length));
  out.write(header.data(), header.size());
  for (const auto& [name, tensor] : file.tensors) write_elements(out, tensor);
  out.commit();
}

}  // namespace fovea
