// Files of images, arrays, volumes, sounds and series, read into tensors. None is trusted: a file
// that is truncated, damaged or lies about its size is an Error that names it.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "fovea/export.h"
#include "fovea/tensor.h"

namespace fovea::data {

// One IDX file of unsigned bytes, plain or gzip: uint8, of the file's shape. (Format: LeCun's MNIST
// page.)
FOVEA_API Tensor read_idx(const std::string& path);

// 8-bit grey or RGB images: uint8 [C, H, W] (channels-last memory); alpha is dropped, palettes are
// expanded.
FOVEA_API Tensor read_png(const std::string& path);
// A mask, whose levels are numbers: grey as it is, and of a palette the places in it. uint8 [1, H,
// W]. Throws Error for colours, and for levels of 16 bits.
FOVEA_API Tensor read_png_mask(const std::string& path);
FOVEA_API void write_png(const std::string& path, const Tensor& image);

struct JpegOptions {
  // Decodes to the smallest of the full size, a half, a quarter and an eighth of it that has at
  // least so many pixels in both directions, which takes less time. 0: the full size.
  std::int64_t least_height = 0;
  std::int64_t least_width = 0;
};
// Grey, RGB or CMYK, baseline or progressive: uint8 [1 or 3, H, W] (channels-last memory). How the
// camera was held (EXIF) is not looked at.
FOVEA_API Tensor read_jpeg(const std::string& path, const JpegOptions& options = {});
// PNG or JPEG, told apart by content.
FOVEA_API Tensor read_image(const std::string& path, const JpegOptions& options = {});

// How a sample gets another size.
enum class Fit : std::uint8_t {
  crop,     // scaled until it covers the size, then the middle of it
  stretch,  // scaled along each axis by itself
  pad,      // scaled until it lies within the size, with zeros around it
  none      // not scaled: the middle of it, with zeros around it where it is smaller
};
struct ImageOptions {
  Shape size = {};  // [height, width]; empty: as it is
  Fit resize = Fit::crop;
  std::int64_t channels = 0;  // 1: grey, Rec. 601 luma; 3: grey three times; 0: as it is
};
// The same, made what a network reads, as the source `images` does it.
FOVEA_API Tensor read_sized_image(const std::string& path, const ImageOptions& options);

// NumPy's arrays, of integers, booleans and floating-point numbers: float32 and float64 as they
// are, halves as float32, bytes and booleans as uint8, other integers as int64.
FOVEA_API Tensor read_npy(const std::string& path);
// The arrays of an archive by name, without ".npy"; those of `names` only, unless it is empty.
// Throws Error that lists what there is if one is missing.
FOVEA_API std::map<std::string, Tensor> read_npz(const std::string& path,
                                                 const std::vector<std::string>& names = {});

// Their names, in order, without reading them.
FOVEA_API std::vector<std::string> npz_names(const std::string& path);

// NIfTI-1 volumes, .nii or .nii.gz, of either byte order: float32 [C, depth, height, width], where
// depth, height and width are the file's third, second and first axes and C counts what lies along
// the others, such as time; with the file's slope and intercept applied.
FOVEA_API Tensor read_nifti(const std::string& path);

struct Audio {
  Tensor samples;         // float32 [channels, samples], -1..1
  std::int64_t rate = 0;  // samples per second
};
// WAV or FLAC.
FOVEA_API Audio read_audio(const std::string& path);

struct MelOptions {
  double window = 0.025;  // seconds that a frame looks at
  double hop = 0.010;     // seconds from frame to frame
  std::int64_t bands = 64;
  double low = 20;  // Hz, the lower end of the first band
  double high = 0;  // Hz, the upper end of the last band; 0: half the rate
};
// The logarithm of the energy in bands of equal width on the mel scale, as HTK defines it:
// mel(f) = 2595 log10(1 + f / 700), triangular bands of height one. [C, samples] at `rate` ->
// float32 [C, bands, 1 + samples / hop]: frame t is centred on sample t hop, zeros lie beyond the
// ends, and what is written is ln(energy + 1e-6).
FOVEA_API Tensor log_mel(const Tensor& samples, double rate, const MelOptions& options = {});

// Multi-channel series and, where they have one, the label of each.
struct Series {
  std::vector<Tensor> values;        // float32 [C, steps] each; NaN where one is missing
  std::vector<std::int64_t> labels;  // empty, or one for each
  std::vector<std::string> classes;
};
// The text format .ts of sktime and the UEA archive, without time stamps.
FOVEA_API Series read_ts(const std::string& path);

struct Csv {
  std::vector<std::string> header;             // empty where the first row is data
  std::vector<std::vector<std::string>> rows;  // all of one length
  std::vector<std::int64_t> lines;             // in which each of these rows starts, from 1
};
// Between the cells a tab, a semicolon or a comma, the first of these that is in the first line;
// quotes as in RFC 4180.
// The first row is a header if none of its cells is a number, while one of the second row is.
FOVEA_API Csv read_csv(const std::string& path);

}  // namespace fovea::data
