// Makes JPEG files for tests, with libjpeg.
#pragma once

#ifdef FOVEA_WITH_JPEG

#include <cstdio>
#include <cstdlib>
#include <string>

#include <jpeglib.h>

namespace fovea::testing {

struct Jpeg {
  int width = 8;
  int height = 8;
  int channels = 3;  // 1: grey, 3: RGB, 4: CMYK
  bool progressive = false;
  int quality = 95;
};

// `value(y, x, c)` from 0 to 255.
template <class Value>
std::string jpeg_of(const Jpeg& image, const Value& value) {
  jpeg_compress_struct jpeg{};
  jpeg_error_mgr errors{};
  jpeg.err = jpeg_std_error(&errors);
  jpeg_create_compress(&jpeg);
  unsigned char* memory = nullptr;
  unsigned long size = 0;
  jpeg_mem_dest(&jpeg, &memory, &size);
  jpeg.image_width = static_cast<JDIMENSION>(image.width);
  jpeg.image_height = static_cast<JDIMENSION>(image.height);
  jpeg.input_components = image.channels;
  jpeg.in_color_space = image.channels == 1   ? JCS_GRAYSCALE
                        : image.channels == 3 ? JCS_RGB
                                              : JCS_CMYK;
  jpeg_set_defaults(&jpeg);
  jpeg_set_quality(&jpeg, image.quality, TRUE);
  if (image.progressive) jpeg_simple_progression(&jpeg);
  jpeg_start_compress(&jpeg, TRUE);
  for (int y = 0; y < image.height; ++y) {
    std::string row;
    for (int x = 0; x < image.width; ++x) {
      for (int c = 0; c < image.channels; ++c) row += static_cast<char>(value(y, x, c));
    }
    auto* pixels = reinterpret_cast<JSAMPROW>(row.data());
    jpeg_write_scanlines(&jpeg, &pixels, 1);
  }
  jpeg_finish_compress(&jpeg);
  jpeg_destroy_compress(&jpeg);
  std::string bytes(reinterpret_cast<const char*>(memory), size);
  std::free(memory);
  return bytes;
}

}  // namespace fovea::testing

#endif
