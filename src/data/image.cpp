// Images of either format, told apart by their first bytes: names of files are often wrong.
#include <array>

#include "core/check.h"
#include "core/input_file.h"
#include "fovea/readers.h"

namespace fovea::data {

Tensor read_image(const std::string& path, const JpegOptions& options) {
  std::array<std::uint8_t, 2> start{};
  {
    InputFile file("read_image", path);
    FOVEA_CHECK(file.read(start.data(), start.size()) == start.size(),
                "read_image: '{}' has {} bytes, too few for an image", path, file.size());
  }
  if (start[0] == 0xff && start[1] == 0xd8) return read_jpeg(path, options);
  FOVEA_CHECK(start[0] == 0x89 && start[1] == 'P', "read_image: '{}' is neither a PNG nor a JPEG",
              path);
  return read_png(path);
}

}  // namespace fovea::data
