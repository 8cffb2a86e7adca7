// Folders of sounds: waveforms of one length, or their log-mel spectrograms.
#include <cmath>

#include "core/check.h"
#include "data/fit.h"
#include "data/folder.h"
#include "data/mel.h"
#include "data/source_list.h"

namespace fovea::data {
namespace {

struct SoundOptions {
  double seconds = 1;
  std::int64_t rate = 0;  // that all files must have
  bool spectrogram = false;
  MelOptions mel;
};

// Mono. [C, samples] -> [1, samples]
Tensor mixed(const Tensor& samples) {
  const std::int64_t channels = samples.size(0);
  if (channels == 1) return samples;
  const std::int64_t count = samples.size(1);
  Tensor mono = Tensor::zeros({1, count});
  const auto* in = samples.data<float>();
  auto* out = mono.mutable_data<float>();
  for (std::int64_t i = 0; i < count; ++i) {
    double sum = 0;
    for (std::int64_t c = 0; c < channels; ++c) sum += static_cast<double>(in[c * count + i]);
    out[i] = static_cast<float>(sum / static_cast<double>(channels));
  }
  return mono;
}

class SoundSamples : public FileSamples {
 public:
  SoundSamples(LabelledFiles files, const SoundOptions& options)
      : FileSamples(std::move(files)), options_(options) {}

  Tensor decode(std::int64_t index) const override {
    const Audio audio = read_audio(path(index));
    FOVEA_CHECK(audio.samples.size(1) > 0, "'{}' has no samples", path(index));
    FOVEA_CHECK(audio.rate == options_.rate,
                "'{}' has {} samples per second, expected {}; convert it first", path(index),
                audio.rate, options_.rate);
    const double length = std::round(options_.seconds * static_cast<double>(audio.rate));
    FOVEA_CHECK(length >= 1 && length <= kMostSamples,
                "'{}' has {} samples per second: {} s of it are {} samples, expected 1 to {}",
                path(index), audio.rate, options_.seconds, length, kMostSamples);
    const Tensor wave =
        fit(mixed(audio.samples), {static_cast<std::int64_t>(length)}, Fit::none).contiguous();
    return options_.spectrogram ? log_mel(wave, static_cast<double>(audio.rate), options_.mel)
                                : wave;
  }
  double background() const override { return options_.spectrogram ? silent_band() : 0; }

 private:
  static constexpr double kMostSamples = 1 << 26;

  SoundOptions options_;
};

// Of the first file that can be read; 0: none can.
std::int64_t first_rate(const LabelledFiles& files) {
  for (const std::string& path : files.paths) {
    try {
      return read_audio(path).rate;
    } catch (const Error&) {  // will be named when the samples are read
    }
  }
  return 0;
}

}  // namespace

std::vector<SourceOption> sound_options() {
  return {{"seconds", "S",
           "length that each sound gets: its middle, or silence around it (default: 1)"},
          {"rate", "N",
           "samples per second that each file must have (default: as many as the first one)"},
          {"features", "wave or mel",
           "the waveform, [1, samples], or the log-mel spectrogram, [1, bands, frames] (default: "
           "wave)"},
          {"bands", "N", "of the spectrogram (default: 64)"},
          {"window", "MS", "milliseconds that one of its frames looks at (default: 25)"},
          {"hop", "MS", "milliseconds from frame to frame (default: 10)"}};
}

std::shared_ptr<const Source> open_sounds(const Arguments& arguments) {
  SoundOptions options;
  options.seconds = arguments.number("seconds", 1e-3, 1e4, 1);
  options.rate = arguments.whole("rate", 1, 1'000'000, 0);
  options.spectrogram = arguments.choice("features", {"wave", "mel"}) == 1;
  for (const char* of_mel : {"bands", "window", "hop"}) {
    FOVEA_CHECK(options.spectrogram || !arguments.has(of_mel),
                "{0}: {1} is given without features=mel, as in features=mel&{1}={2}",
                arguments.op(), of_mel, arguments.find(of_mel).value_or(""));
  }
  options.mel.bands = arguments.whole("bands", 1, 1024, 64);
  options.mel.window = arguments.number("window", 0.1, 1e4, 25) / 1000;
  options.mel.hop = arguments.number("hop", 0.1, 1e4, 10) / 1000;
  FolderTree tree = find_files(arguments.op(), arguments.path(), {".wav", ".flac"});
  if (options.rate == 0) options.rate = first_rate(tree.train);
  return split_source(arguments, collection_of<SoundSamples>(std::move(tree), options));
}

}  // namespace fovea::data
