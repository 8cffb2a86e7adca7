// JPEG images, through libjpeg.
//
// libjpeg reports errors by a call that must not return: it leaves by longjmp, which must not pass
// over C++ objects that have destructors, so each call of libjpeg stands in a function that returns
// false instead, with nothing but plain data around. The file is not trusted: at most kMaxPixels
// pixels, no more than kMostPixelsPerByte for each of its bytes, and at most kMaxScans passes over
// the image.
#include "fovea/readers.h"

#include "core/check.h"

#ifdef FOVEA_WITH_JPEG

#include <algorithm>
#include <csetjmp>
#include <cstdio>
#include <string>
#include <vector>

#include <jpeglib.h>

#include <jerror.h>

#include "core/input_file.h"
#include "core/printable.h"

namespace fovea::data {
namespace {

constexpr std::int64_t kMaxPixels = std::int64_t{1} << 28;
// Each block of 64 pixels takes at least a bit; one grey white picture comes near it.
constexpr std::int64_t kMostPixelsPerByte = 1024;
constexpr int kMaxScans = 100;
constexpr long kMaxWorkingMemory = 1L << 30;

struct Decoder {
  jpeg_decompress_struct jpeg{};
  jpeg_error_mgr errors{};
  jpeg_progress_mgr progress{};
  std::jmp_buf leave{};
  char message[JMSG_LENGTH_MAX] = "";
};

Decoder& decoder_of(j_common_ptr jpeg) {
  return *static_cast<Decoder*>(jpeg->client_data);
}

[[noreturn]] void on_error(j_common_ptr jpeg) {
  Decoder& decoder = decoder_of(jpeg);
  jpeg->err->format_message(jpeg, decoder.message);
  std::longjmp(decoder.leave, 1);
}

// Of the warnings, those that mean that a part of the picture is missing are errors.
void on_message(j_common_ptr jpeg, int level) {
  const int code = jpeg->err->msg_code;
  if (level < 0 && (code == JWRN_JPEG_EOF || code == JWRN_HIT_MARKER)) on_error(jpeg);
}

void on_output(j_common_ptr) {}  // the library never prints

void on_progress(j_common_ptr jpeg) {
  const auto* decompress = reinterpret_cast<j_decompress_ptr>(jpeg);
  if (decompress->input_scan_number <= kMaxScans) return;
  Decoder& decoder = decoder_of(jpeg);
  std::snprintf(decoder.message, sizeof(decoder.message), "more than %d passes", kMaxScans);
  std::longjmp(decoder.leave, 1);
}

bool read_header(Decoder& decoder, std::FILE* stream) {
  if (setjmp(decoder.leave) != 0) return false;
  jpeg_create_decompress(&decoder.jpeg);
  decoder.jpeg.client_data = &decoder;
  decoder.jpeg.progress = &decoder.progress;
  decoder.jpeg.mem->max_memory_to_use = kMaxWorkingMemory;
  jpeg_stdio_src(&decoder.jpeg, stream);
  jpeg_read_header(&decoder.jpeg, TRUE);
  switch (decoder.jpeg.jpeg_color_space) {
    case JCS_GRAYSCALE:
      decoder.jpeg.out_color_space = JCS_GRAYSCALE;
      break;
    case JCS_CMYK:
    case JCS_YCCK:
      decoder.jpeg.out_color_space = JCS_CMYK;
      break;
    default:
      decoder.jpeg.out_color_space = JCS_RGB;
  }
  return true;
}

bool set_size(Decoder& decoder, const JpegOptions& options) {
  if (setjmp(decoder.leave) != 0) return false;
  decoder.jpeg.scale_num = 1;
  if (options.least_height > 0 && options.least_width > 0) {
    for (unsigned denominator = 8; denominator > 1; denominator /= 2) {
      decoder.jpeg.scale_denom = denominator;
      jpeg_calc_output_dimensions(&decoder.jpeg);
      if (decoder.jpeg.output_height >= options.least_height &&
          decoder.jpeg.output_width >= options.least_width)
        return true;
    }
  }
  decoder.jpeg.scale_denom = 1;
  jpeg_calc_output_dimensions(&decoder.jpeg);
  return true;
}

// `rows` has output_height rows of output_width * output_components bytes.
bool read_rows(Decoder& decoder, JSAMPROW* rows) {
  jpeg_decompress_struct& jpeg = decoder.jpeg;
  if (setjmp(decoder.leave) != 0) return false;
  jpeg_start_decompress(&jpeg);
  while (jpeg.output_scanline < jpeg.output_height) {
    jpeg_read_scanlines(&jpeg, rows + jpeg.output_scanline,
                        jpeg.output_height - jpeg.output_scanline);
  }
  jpeg_finish_decompress(&jpeg);
  return true;
}

// Ink to light; Adobe's programs store it the other way round. [pixels, 4] -> [pixels, 3]
Tensor rgb_of_cmyk(const Tensor& inks, bool inverted) {
  const std::int64_t pixels = inks.numel() / 4;
  Tensor image = Tensor::empty({inks.size(0), inks.size(1), 3}, DType::uint8);
  const auto* in = inks.data<std::uint8_t>();
  auto* out = image.mutable_data<std::uint8_t>();
  const auto light = [&](std::uint8_t ink) { return inverted ? ink : 255 - ink; };
  for (std::int64_t i = 0; i < pixels; ++i, in += 4, out += 3) {
    for (int c = 0; c < 3; ++c)
      out[c] = static_cast<std::uint8_t>((light(in[c]) * light(in[3]) + 127) / 255);
  }
  return image;
}

class JpegReader {
 public:
  explicit JpegReader(const std::string& path) : file_("read_jpeg", path) {
    decoder_.jpeg.err = jpeg_std_error(&decoder_.errors);
    decoder_.errors.error_exit = on_error;
    decoder_.errors.emit_message = on_message;
    decoder_.errors.output_message = on_output;
    decoder_.progress.progress_monitor = on_progress;
    decoder_.jpeg.client_data = &decoder_;
  }
  ~JpegReader() { jpeg_destroy_decompress(&decoder_.jpeg); }
  JpegReader(const JpegReader&) = delete;
  JpegReader& operator=(const JpegReader&) = delete;

  Tensor read(const JpegOptions& options) {
    check_start();
    check(read_header(decoder_, file_.stream()));
    const std::int64_t pixels =
        std::int64_t{decoder_.jpeg.image_height} * std::int64_t{decoder_.jpeg.image_width};
    FOVEA_CHECK(pixels <= kMaxPixels, "read_jpeg: '{}' is {}x{}, more than the {} pixels allowed",
                file_.path(), decoder_.jpeg.image_width, decoder_.jpeg.image_height, kMaxPixels);
    FOVEA_CHECK(pixels <= file_.size() * kMostPixelsPerByte,
                "read_jpeg: '{}' claims {}x{} pixels, but its {} bytes cannot hold them: it is "
                "truncated or damaged",
                file_.path(), decoder_.jpeg.image_width, decoder_.jpeg.image_height, file_.size());
    check(set_size(decoder_, options));
    const bool inks = decoder_.jpeg.out_color_space == JCS_CMYK;
    const std::int64_t channels = inks ? 4 : decoder_.jpeg.out_color_space == JCS_RGB ? 3 : 1;
    const std::int64_t height = decoder_.jpeg.output_height;
    const std::int64_t width = decoder_.jpeg.output_width;
    Tensor image = Tensor::empty({height, width, channels}, DType::uint8);
    auto* cells = image.mutable_data<std::uint8_t>();
    std::vector<JSAMPROW> rows;
    for (std::int64_t y = 0; y < height; ++y) rows.push_back(cells + y * width * channels);
    check(read_rows(decoder_, rows.data()));
    if (inks) image = rgb_of_cmyk(image, decoder_.jpeg.saw_Adobe_marker != 0);
    return image.permute({2, 0, 1});
  }

 private:
  void check_start() {
    std::uint8_t start[3] = {};
    const std::size_t count = file_.read(start, sizeof(start));
    FOVEA_CHECK(count == sizeof(start) && start[0] == 0xff && start[1] == 0xd8 && start[2] == 0xff,
                "read_jpeg: '{}' is not a JPEG file", file_.path());
    std::rewind(file_.stream());
  }
  void check(bool done) const {
    FOVEA_CHECK(done, "read_jpeg: '{}' is truncated or damaged ({})", file_.path(),
                printable(decoder_.message));
  }

  InputFile file_;
  Decoder decoder_;
};

}  // namespace

Tensor read_jpeg(const std::string& path, const JpegOptions& options) {
  return JpegReader(path).read(options);
}

}  // namespace fovea::data

#else

namespace fovea::data {

Tensor read_jpeg(const std::string& path, const JpegOptions&) {
  throw_error(fmt::format(
      "read_jpeg: cannot read '{}': Fovea was built without libjpeg; install libjpeg62-turbo-dev "
      "and build it again",
      path));
}

}  // namespace fovea::data

#endif
