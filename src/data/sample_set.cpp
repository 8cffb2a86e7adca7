// See sample_set.h.
//
// Mean and deviation are merged from those of parts (one sample, or a block of them in memory) in
// the order of the samples, so they are the same bits for any number of threads:
//   n = a + b, mean = mean_a + (mean_b - mean_a) b / n,
//   m2 = m2_a + m2_b + (mean_b - mean_a)^2 a b / n,  deviation^2 = m2 / n
// (Chan, Golub and LeVeque, 1979).
#include "data/sample_set.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "core/check.h"
#include "core/dispatch.h"
#include "fovea/executor.h"

namespace fovea::data {
namespace {

constexpr std::int64_t kBlock = 256;  // samples that lie in memory are measured so many at a time
constexpr const char* kSkipAdvice = "; broken=skip leaves such samples out";
constexpr double kNoDeviation = 1e-7;  // relative to the mean: less is rounding

Shape batch_of(std::int64_t count, const Shape& sample) {
  Shape shape = {count};
  for (const std::int64_t size : sample) shape.push_back(size);
  return shape;
}

// Without the function's name in front: a message inside another one.
std::string reason_of(const Error& error) {
  const std::string message = error.what();
  const std::size_t colon = message.find(": ");
  const bool named = message.starts_with("read_") && colon != std::string::npos;
  return named ? message.substr(colon + 2) : message;
}

char* bytes_of(Tensor& tensor) {
  return dispatch_all(tensor.dtype(), [&](auto tag) {
    return reinterpret_cast<char*>(tensor.mutable_data<typename decltype(tag)::type>());
  });
}

const char* bytes_of(const Tensor& tensor) {
  return dispatch_all(tensor.dtype(), [&](auto tag) {
    return reinterpret_cast<const char*>(tensor.data<typename decltype(tag)::type>());
  });
}

// [C, spatial...] as it lies in a batch: channels last.
Tensor cells_of(const Tensor& sample) {
  Shape axes;
  for (int axis = 1; axis < sample.rank(); ++axis) axes.push_back(axis);
  axes.push_back(0);
  return sample.permute(axes).contiguous();
}

}  // namespace

// Count, mean and sum of squared distances from it, of each channel.
class SampleSet::Moments {
 public:
  // `cells` of `channels` values each.
  static Moments of(const float* values, std::int64_t cells, std::int64_t channels) {
    Moments moments(cells, channels);
    if (cells == 0) return moments;
    const float* value = values;
    for (std::int64_t i = 0; i < cells; ++i) {
      for (double& sum : moments.mean_) sum += static_cast<double>(*value++);
    }
    for (double& mean : moments.mean_) mean /= moments.count_;
    value = values;
    for (std::int64_t i = 0; i < cells; ++i) {
      for (std::size_t c = 0; c < moments.m2_.size(); ++c) {
        const double distance = static_cast<double>(*value++) - moments.mean_[c];
        moments.m2_[c] += distance * distance;
      }
    }
    return moments;
  }

  // The same from how often each byte occurs.
  static Moments of(const std::uint8_t* values, std::int64_t cells, std::int64_t channels) {
    Moments moments(cells, channels);
    if (cells == 0) return moments;
    const auto step = static_cast<std::size_t>(channels);
    std::vector<std::int64_t> histogram(256 * step);
    for (std::int64_t i = 0; i < cells; ++i, values += step) {
      for (std::size_t c = 0; c < step; ++c) ++histogram[values[c] * step + c];
    }
    for (std::size_t c = 0; c < step; ++c) {
      for (std::size_t value = 0; value < 256; ++value)
        moments.mean_[c] +=
            static_cast<double>(histogram[value * step + c] * static_cast<std::int64_t>(value));
      moments.mean_[c] /= moments.count_;
      for (std::size_t value = 0; value < 256; ++value) {
        const double distance = static_cast<double>(value) - moments.mean_[c];
        moments.m2_[c] += static_cast<double>(histogram[value * step + c]) * distance * distance;
      }
    }
    return moments;
  }

  Moments() = default;

  void merge(const Moments& other) {
    if (other.count_ == 0) return;
    if (count_ == 0) {
      *this = other;
      return;
    }
    const double count = count_ + other.count_;
    for (std::size_t c = 0; c < mean_.size(); ++c) {
      const double distance = other.mean_[c] - mean_[c];
      mean_[c] += distance * other.count_ / count;
      m2_[c] += other.m2_[c] + distance * distance * count_ * other.count_ / count;
    }
    count_ = count;
  }

  // `scale` is what the values are divided by.
  Statistics statistics(double scale) const {
    Statistics result;
    for (std::size_t c = 0; c < mean_.size(); ++c) {
      const double deviation = std::sqrt(m2_[c] / count_);
      const bool some = deviation > kNoDeviation * std::abs(mean_[c]);
      result.mean.push_back(mean_[c] / scale);
      result.stddev.push_back(some ? deviation / scale : 1.0);
    }
    return result;
  }

  bool finite() const {
    return std::all_of(m2_.begin(), m2_.end(), [](double m2) { return std::isfinite(m2); });
  }

 private:
  Moments(std::int64_t cells, std::int64_t channels)
      : count_(static_cast<double>(cells)),
        mean_(static_cast<std::size_t>(channels)),
        m2_(static_cast<std::size_t>(channels)) {}

  double count_ = 0;
  std::vector<double> mean_;
  std::vector<double> m2_;
};

// What became of one sample.
struct SampleSet::Decoded {
  Moments moments;
  std::string broken;  // why
  std::string misfit;  // its shape, where that is not the others'
};

SampleSet::SampleSet(std::shared_ptr<const Samples> samples, std::vector<std::int64_t> indices,
                     std::vector<std::string> classes, const SampleSetOptions& options,
                     std::optional<Statistics> statistics)
    : samples_(std::move(samples)), indices_(std::move(indices)), classes_(std::move(classes)) {
  kept_ = samples_->all();
  Moments moments;
  if (kept_.defined()) {
    for (int axis = 1; axis < kept_.rank(); ++axis) shape_.push_back(kept_.size(axis));
    dtype_ = kept_.dtype();
    rows_ = indices_;
    if (!statistics) moments = measure_rows();
  } else {
    find_shape(options);
    moments = read_all(options);
  }
  FOVEA_CHECK(indices_.empty() || shape_.numel() > 0, "{}: the samples have no values (shape {})",
              options.op, shape_);
  FOVEA_CHECK(moments.finite(), "{}: some values are no finite numbers", options.op);
  statistics_ =
      statistics ? *std::move(statistics) : moments.statistics(dtype_ == DType::uint8 ? 255 : 1);
  prepare_normalisation();
}

SampleSet::Moments SampleSet::measure(const Tensor& values, std::int64_t row,
                                      std::int64_t rows) const {
  const std::int64_t channels = shape_[0];
  const std::int64_t cells = channels == 0 ? 0 : rows * (shape_.numel() / channels);
  const std::int64_t start = row * shape_.numel();
  return dtype_ == DType::uint8 ? Moments::of(values.data<std::uint8_t>() + start, cells, channels)
                                : Moments::of(values.data<float>() + start, cells, channels);
}

SampleSet::Moments SampleSet::measure_rows() const {
  std::vector<Moments> parts(static_cast<std::size_t>((size() + kBlock - 1) / kBlock));
  parallel_ranges(size(), kBlock, [&](std::int64_t first, std::int64_t last) {
    Moments& part = parts[static_cast<std::size_t>(first / kBlock)];
    const std::int64_t* row = rows_.data() + first;
    const std::int64_t* const end = rows_.data() + last;
    while (row < end) {  // neighbours in memory are measured at once
      std::int64_t run = 1;
      while (row + run < end && row[run] == row[0] + run) ++run;
      part.merge(measure(kept_, *row, run));
      row += run;
    }
  });
  Moments total;
  for (const Moments& part : parts) total.merge(part);
  return total;
}

// The shape of the first sample that is not broken.
void SampleSet::find_shape(const SampleSetOptions& options) {
  for (const std::int64_t index : indices_) {
    try {
      const Tensor sample = samples_->decode(index);
      shape_ = sample.shape();
      dtype_ = sample.dtype();
      first_ = index;
      return;
    } catch (const Error& error) {
      if (!options.skip_broken)
        throw_error(fmt::format("{}: {}{}", options.op, reason_of(error), kSkipAdvice));
    }
  }
}

// Decodes every sample once: keeps it if all fit, measures it, and notes if it is broken.
SampleSet::Moments SampleSet::read_all(const SampleSetOptions& options) {
  const std::int64_t count = size();
  const auto sample_bytes = static_cast<std::int64_t>(size_of(dtype_)) * shape_.numel();
  const std::int64_t mask_bytes = has_masks() && sample_bytes > 0 ? cells() : 0;
  if (count > 0 && (sample_bytes == 0 || count <= options.keep / (sample_bytes + mask_bytes))) {
    kept_ = Tensor::empty(batch_of(count, shape_), dtype_, Layout::channels_last);
    if (mask_bytes > 0) kept_masks_ = Tensor::empty({count, mask_bytes}, DType::uint8);
  }
  std::vector<Decoded> all(static_cast<std::size_t>(count));
  char* const memory = kept_.defined() ? bytes_of(kept_) : nullptr;
  auto* const masks = kept_masks_.defined() ? kept_masks_.mutable_data<std::uint8_t>() : nullptr;
  parallel_for(count, [&](std::int64_t i) {
    char* const place = memory == nullptr ? nullptr : memory + i * sample_bytes;
    std::uint8_t* const mask_place = masks == nullptr ? nullptr : masks + i * mask_bytes;
    all[static_cast<std::size_t>(i)] =
        decode(indices_[static_cast<std::size_t>(i)], place, mask_place);
  });
  return sort_out(all, options);
}

// Copies it to `place` and its mask to `mask_place`, unless they are null.
SampleSet::Decoded SampleSet::decode(std::int64_t index, char* place,
                                     std::uint8_t* mask_place) const {
  try {
    const Tensor sample = samples_->decode(index);
    if (sample.shape() != shape_ || sample.dtype() != dtype_)
      return {.moments = {}, .broken = "", .misfit = sample.describe()};
    const Tensor cells = cells_of(sample);
    if (place != nullptr)
      std::memcpy(place, bytes_of(cells),
                  static_cast<std::size_t>(cells.numel()) * size_of(dtype_));
    if (has_masks()) {
      const Tensor read = samples_->mask(index);
      Shape spatial;
      for (int axis = 1; axis < shape_.rank(); ++axis) spatial.push_back(shape_[axis]);
      FOVEA_CHECK(read.shape() == spatial, "'{}' is {}, but its mask {}{}", samples_->name(index),
                  spatial, read.shape(), samples_->advice());
      const std::vector<std::uint8_t> mask = read.to_vector<std::uint8_t>();
      if (mask_place != nullptr) std::copy(mask.begin(), mask.end(), mask_place);
    }
    Decoded decoded{.moments = measure(cells, 0, 1), .broken = "", .misfit = ""};
    if (!decoded.moments.finite()) {
      decoded.broken = fmt::format("'{}' has values that are missing or no finite numbers",
                                   samples_->name(index));
    }
    return decoded;
  } catch (const Error& error) {
    return {.moments = {}, .broken = reason_of(error), .misfit = ""};
  }
}

// Leaves the broken ones out, or throws; adds up what the others have.
SampleSet::Moments SampleSet::sort_out(const std::vector<Decoded>& all,
                                       const SampleSetOptions& options) {
  Moments total;
  std::vector<std::int64_t> good;
  for (std::size_t i = 0; i < all.size(); ++i) {
    const std::int64_t index = indices_[i];
    FOVEA_CHECK(all[i].misfit.empty(), "{}: '{}' is {}, but '{}' is {}{}", options.op,
                samples_->name(index), all[i].misfit, samples_->name(first_), raw_shape(),
                samples_->advice());
    FOVEA_CHECK(all[i].broken.empty() || options.skip_broken, "{}: {}{}", options.op, all[i].broken,
                kSkipAdvice);
    if (!all[i].broken.empty()) {
      broken_.push_back({.name = samples_->name(index), .reason = all[i].broken});
      continue;
    }
    total.merge(all[i].moments);
    good.push_back(index);
    if (kept_.defined()) rows_.push_back(static_cast<std::int64_t>(i));
  }
  indices_ = std::move(good);
  return total;
}

void SampleSet::prepare_normalisation() {
  if (dtype_ != DType::uint8) return;
  for (int value = 0; value < 256; ++value) {
    for (std::size_t c = 0; c < statistics_.mean.size(); ++c) {
      const double scaled = static_cast<double>(value) / 255;
      byte_values_.push_back(
          static_cast<float>((scaled - statistics_.mean[c]) / statistics_.stddev[c]));
    }
  }
}

// values: [cells, channels]
void SampleSet::normalise(const std::uint8_t* values, std::span<float> sample) const {
  const std::size_t channels = statistics_.mean.size();
  if (channels == 1) {
    for (std::size_t i = 0; i < sample.size(); ++i) sample[i] = byte_values_[values[i]];
    return;
  }
  for (std::size_t i = 0; i < sample.size(); i += channels) {
    for (std::size_t c = 0; c < channels; ++c)
      sample[i + c] = byte_values_[values[i + c] * channels + c];
  }
}

void SampleSet::normalise(const float* values, std::span<float> sample) const {
  const std::size_t channels = statistics_.mean.size();
  for (std::size_t i = 0; i < sample.size(); i += channels) {
    for (std::size_t c = 0; c < channels; ++c) {
      sample[i + c] = static_cast<float>(
          (static_cast<double>(values[i + c]) - statistics_.mean[c]) / statistics_.stddev[c]);
    }
  }
}

void SampleSet::read(std::int64_t index, std::span<float> sample) const {
  check_index(index);
  FOVEA_CHECK(static_cast<std::int64_t>(sample.size()) == shape_.numel(),
              "read: a sample has {} values, but room for {} is given", shape_.numel(),
              sample.size());
  const auto at = static_cast<std::size_t>(index);
  Tensor decoded;  // where it is not kept
  if (!kept_.defined()) {
    decoded = cells_of(samples_->decode(indices_[at]));
    FOVEA_CHECK(decoded.numel() == shape_.numel() && decoded.dtype() == dtype_,
                "read: '{}' is not what it was when the data set was opened", name(index));
  }
  const Tensor& tensor = kept_.defined() ? kept_ : decoded;
  const std::int64_t start = kept_.defined() ? rows_[at] * shape_.numel() : 0;
  if (dtype_ == DType::uint8)
    normalise(tensor.data<std::uint8_t>() + start, sample);
  else
    normalise(tensor.data<float>() + start, sample);
}

void SampleSet::read_mask(std::int64_t index, std::span<std::int64_t> mask) const {
  if (!has_masks()) return Dataset::read_mask(index, mask);
  check_index(index);
  FOVEA_CHECK(static_cast<std::int64_t>(mask.size()) == cells(),
              "read_mask: a mask has {} cells, but room for {} is given", cells(), mask.size());
  const auto at = static_cast<std::size_t>(index);
  Tensor decoded;  // where it is not kept
  if (!kept_masks_.defined()) {
    decoded = samples_->mask(indices_[at]).contiguous();
    FOVEA_CHECK(decoded.numel() == cells(),
                "read_mask: '{}' is not what it was when the data set was opened", name(index));
  }
  const std::uint8_t* classes = kept_masks_.defined()
                                    ? kept_masks_.data<std::uint8_t>() + rows_[at] * cells()
                                    : decoded.data<std::uint8_t>();
  std::transform(classes, classes + cells(), mask.begin(),
                 [](std::uint8_t c) { return c == kNoClass ? kIgnored : std::int64_t{c}; });
}

std::int64_t SampleSet::label(std::int64_t index) const {
  check_index(index);
  FOVEA_CHECK(!has_masks(), "data set: its samples have masks, no labels; read_mask() reads them");
  return samples_->label(indices_[static_cast<std::size_t>(index)]);
}

std::string SampleSet::name(std::int64_t index) const {
  check_index(index);
  return samples_->name(indices_[static_cast<std::size_t>(index)]);
}

std::string SampleSet::raw_shape() const {
  return fmt::format("{} {}", fovea::name(dtype_), shape_);
}

void SampleSet::check_index(std::int64_t index) const {
  FOVEA_CHECK(index >= 0 && index < size(),
              "data set: there is no sample {}; it has {}, counted from 0", index, size());
}

}  // namespace fovea::data
