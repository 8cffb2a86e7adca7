// PNG images, through libpng.
//
// libpng reports errors by longjmp, which must not pass over C++ objects that have destructors:
// each call of it stands in a function that returns false instead, with nothing but plain data
// around. The file is not trusted: at most kMaxPixels pixels, and no more than its bytes can
// inflate to.
#include <png.h>

#include <csetjmp>
#include <cstdio>
#include <vector>

#include "core/atomic_file.h"
#include "core/check.h"
#include "core/input_file.h"
#include "fovea/data.h"

namespace fovea::data {
namespace {

constexpr std::int64_t kMaxPixels = std::int64_t{1} << 28;
constexpr png_uint_32 kMaxSide = 1U << 24;
constexpr std::int64_t kMaxInflation = 1032;  // deflate's best: 258 bytes from 2 bits

struct Decoder {
  png_structp png = nullptr;
  png_infop info = nullptr;
  char message[128] = "";
};

void on_error(png_structp png, png_const_charp message) {
  auto* decoder = static_cast<Decoder*>(png_get_error_ptr(png));
  std::snprintf(decoder->message, sizeof(decoder->message), "%s", message);
  std::longjmp(png_jmpbuf(png), 1);
}

void on_warning(png_structp, png_const_charp) {}  // the library never prints

enum class Levels : std::uint8_t {
  light,  // of a picture: palettes are looked up, few bits spread over eight
  plain   // of a mask: numbers as they are, of a palette the places in it
};

struct Header {
  png_uint_32 width = 0;
  png_uint_32 height = 0;
  int color = 0;                     // libpng's type
  int depth = 0;                     // bits
  int channels = 0;                  // that are returned: 1 or 3
  std::size_t stored_row_bytes = 0;  // as they are in the file
};

bool read_header(Decoder& decoder, std::FILE* stream, Levels levels, Header& header) {
  png_structp png = decoder.png;
  if (setjmp(png_jmpbuf(png)) != 0) return false;
  png_set_user_limits(png, kMaxSide, kMaxSide);
  // Only the chunks that hold the picture are read; of the others libpng would reserve whatever
  // length they claim.
  png_set_keep_unknown_chunks(png, PNG_HANDLE_CHUNK_NEVER, nullptr, -1);
  png_init_io(png, stream);
  png_read_info(png, decoder.info);
  header.width = png_get_image_width(png, decoder.info);
  header.height = png_get_image_height(png, decoder.info);
  header.stored_row_bytes = png_get_rowbytes(png, decoder.info);
  header.color = png_get_color_type(png, decoder.info);
  header.depth = png_get_bit_depth(png, decoder.info);
  const bool looked_up = levels == Levels::light || header.color != PNG_COLOR_TYPE_PALETTE;
  header.channels = (header.color & PNG_COLOR_MASK_COLOR) != 0 && looked_up ? 3 : 1;
  return true;
}

// Whatever is in the file becomes 8-bit grey or RGB rows.
bool read_rows(Decoder& decoder, const Header& header, Levels levels, png_bytep* rows) {
  png_structp png = decoder.png;
  if (setjmp(png_jmpbuf(png)) != 0) return false;
  if (levels == Levels::light) {
    png_set_scale_16(png);
    png_set_palette_to_rgb(png);
    if (header.channels == 1) png_set_expand_gray_1_2_4_to_8(png);
  } else {
    png_set_packing(png);
  }
  png_set_strip_alpha(png);
  png_set_interlace_handling(png);
  png_read_update_info(png, decoder.info);
  const std::size_t expected =
      std::size_t{header.width} * static_cast<std::size_t>(header.channels);
  if (png_get_rowbytes(png, decoder.info) != expected) png_error(png, "unexpected pixel format");
  png_read_image(png, rows);
  png_read_end(png, nullptr);  // a file without its end is truncated
  return true;
}

class PngReader {
 public:
  explicit PngReader(const std::string& path, Levels levels)
      : file_("read_png", path), levels_(levels) {
    check_signature();
    decoder_.png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &decoder_, on_error, on_warning);
    if (decoder_.png != nullptr) decoder_.info = png_create_info_struct(decoder_.png);
    if (decoder_.info == nullptr) {
      png_destroy_read_struct(&decoder_.png, nullptr, nullptr);
      throw_error("read_png: libpng cannot start");
    }
  }
  ~PngReader() { png_destroy_read_struct(&decoder_.png, &decoder_.info, nullptr); }
  PngReader(const PngReader&) = delete;
  PngReader& operator=(const PngReader&) = delete;

  Tensor read() {
    Header header;
    check(read_header(decoder_, file_.stream(), levels_, header));
    FOVEA_CHECK(levels_ == Levels::light || (header.channels == 1 && header.depth <= 8),
                "read_png_mask: '{}' has {}, but the levels of a mask are grey or places in a "
                "palette, of at most 8 bits",
                file_.path(),
                header.channels == 1 ? fmt::format("{} bits", header.depth) : "colours");
    const std::int64_t height = header.height;
    const std::int64_t width = header.width;
    FOVEA_CHECK(height * width <= kMaxPixels,
                "read_png: '{}' is {}x{}, more than the {} pixels allowed", file_.path(), width,
                height, kMaxPixels);
    FOVEA_CHECK(
        static_cast<std::int64_t>(header.stored_row_bytes) * height <= file_.size() * kMaxInflation,
        "read_png: '{}' claims {}x{} pixels, but its {} bytes cannot hold them: it is truncated or "
        "damaged",
        file_.path(), width, height, file_.size());
    Tensor image = Tensor::empty({height, width, header.channels}, DType::uint8);
    auto* pixels = image.mutable_data<std::uint8_t>();
    std::vector<png_bytep> rows;
    for (std::int64_t y = 0; y < height; ++y) rows.push_back(pixels + y * width * header.channels);
    check(read_rows(decoder_, header, levels_, rows.data()));
    return image.permute({2, 0, 1});
  }

 private:
  void check_signature() {
    png_byte signature[8] = {};
    const std::size_t count = file_.read(signature, sizeof(signature));
    FOVEA_CHECK(count == sizeof(signature) && png_sig_cmp(signature, 0, sizeof(signature)) == 0,
                "read_png: '{}' is not a PNG file", file_.path());
    std::rewind(file_.stream());
  }
  void check(bool done) const {
    FOVEA_CHECK(done, "read_png: '{}' is truncated or damaged ({})", file_.path(),
                decoder_.message);
  }

  InputFile file_;
  Levels levels_;
  Decoder decoder_;
};

}  // namespace

Tensor read_png(const std::string& path) {
  return PngReader(path, Levels::light).read();
}

Tensor read_png_mask(const std::string& path) {
  return PngReader(path, Levels::plain).read();
}

void write_png(const std::string& path, const Tensor& image) {
  FOVEA_CHECK(image.defined() && image.dtype() == DType::uint8 && image.rank() == 3 &&
                  (image.size(0) == 1 || image.size(0) == 3),
              "write_png: the image is {}, expected uint8 [1, height, width] or [3, height, width]",
              image.describe());
  const std::int64_t height = image.size(1);
  const std::int64_t width = image.size(2);
  FOVEA_CHECK(height > 0 && width > 0 && height <= kMaxSide && width <= kMaxSide &&
                  height * width <= kMaxPixels,
              "write_png: the image is {}x{}; it must have from 1 to {} pixels", width, height,
              kMaxPixels);
  const Tensor pixels = image.detach().permute({1, 2, 0}).contiguous();
  png_image description{};
  description.version = PNG_IMAGE_VERSION;
  description.width = static_cast<png_uint_32>(width);
  description.height = static_cast<png_uint_32>(height);
  description.format = image.size(0) == 1 ? PNG_FORMAT_GRAY : PNG_FORMAT_RGB;
  png_alloc_size_t bytes = PNG_IMAGE_PNG_SIZE_MAX(description);
  std::vector<std::uint8_t> encoded(bytes);
  const int done = png_image_write_to_memory(&description, encoded.data(), &bytes, 0,
                                             pixels.data<std::uint8_t>(), 0, nullptr);
  FOVEA_CHECK(done != 0, "write_png: cannot encode '{}': {}", path, description.message);
  AtomicFile file("write_png", path);
  file.write(encoded.data(), bytes);
  file.commit();
}

}  // namespace fovea::data
