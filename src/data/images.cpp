// Folders of images: PNG and JPEG, of any size where the options say what size they get.
#include "data/images.h"

#include "core/check.h"
#include "data/folder.h"
#include "data/source_list.h"

namespace fovea::data {
namespace {

// Rec. 601 luma, or grey three times.
Tensor with_channels(const Tensor& image, std::int64_t channels) {
  if (channels == 0 || image.size(0) == channels) return image;
  const Tensor cells = image.permute({1, 2, 0}).contiguous();
  Tensor result = Tensor::empty({image.size(1), image.size(2), channels}, DType::uint8);
  const auto* in = cells.data<std::uint8_t>();
  auto* out = result.mutable_data<std::uint8_t>();
  const std::int64_t pixels = image.size(1) * image.size(2);
  for (std::int64_t i = 0; i < pixels; ++i) {
    if (channels == 3) {
      for (int c = 0; c < 3; ++c) out[3 * i + c] = in[i];
    } else {
      const int light = 299 * in[3 * i] + 587 * in[3 * i + 1] + 114 * in[3 * i + 2];
      out[i] = static_cast<std::uint8_t>((light + 500) / 1000);
    }
  }
  return result.permute({2, 0, 1});
}

class ImageSamples : public FileSamples {
 public:
  ImageSamples(LabelledFiles files, const ImageOptions& options)
      : FileSamples(std::move(files)), options_(options) {}

  Tensor decode(std::int64_t index) const override {
    return read_sized_image(path(index), options_);
  }
  std::string advice() const override { return kImageAdvice; }

 private:
  ImageOptions options_;
};

}  // namespace

std::vector<SourceOption> image_options() {
  return {{"size", "N or HxW", "give all images this size (default: they must have one)"},
          fit_option(),
          {"channels", "1, 3 or any", "make all grey or all colour (default: any, but all alike)"}};
}

ImageOptions image_options_from(const Arguments& arguments) {
  ImageOptions options;
  options.size = arguments.sizes("size", 2);
  options.resize = fit_from(arguments);
  constexpr std::int64_t kChannels[] = {0, 1, 3};
  options.channels = kChannels[arguments.choice("channels", {"any", "1", "3"})];
  return options;
}

Tensor read_sized_image(const std::string& path, const ImageOptions& options) {
  FOVEA_CHECK(options.size.empty() || options.size.rank() == 2,
              "read_sized_image: the size is [height, width], but got {}", options.size);
  FOVEA_CHECK(options.channels == 0 || options.channels == 1 || options.channels == 3,
              "read_sized_image: an image has 1 or 3 channels, but {} are asked for",
              options.channels);
  JpegOptions jpeg;
  // Coarse decoding would change what is cut out of the middle.
  if (!options.size.empty() && options.resize != Fit::none) {
    jpeg.least_height = options.size[0];
    jpeg.least_width = options.size[1];
  }
  const Tensor image = with_channels(read_image(path, jpeg), options.channels);
  return options.size.empty() ? image : fit(image, options.size, options.resize);
}

std::shared_ptr<const Source> open_images(const Arguments& arguments) {
  return split_source(arguments,
                      collection_of<ImageSamples>(
                          find_files(arguments.op(), arguments.path(), {".png", ".jpg", ".jpeg"}),
                          image_options_from(arguments)));
}

}  // namespace fovea::data
