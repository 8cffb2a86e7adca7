// Sounds, and their log-mel spectrograms.
#include <gtest/gtest.h>

#ifdef FOVEA_WITH_AUDIO
#include <sndfile.h>
#endif

#include <cmath>
#include <filesystem>
#include <numbers>

#include "fovea/readers.h"
#include "support/errors.h"
#include "support/files.h"
#include "support/formats.h"

namespace fovea::data {
namespace {

using testing::error_of;
using testing::TempFolder;
using testing::wav_of;
using testing::write_file;

#ifdef FOVEA_WITH_AUDIO

class Sound : public ::testing::Test {
 protected:
  Audio read(const std::string& bytes) {
    write_file(path_, bytes);
    return read_audio(path_);
  }
  std::string error(const std::string& bytes) {
    std::string message = error_of([&] { read(bytes); });
    EXPECT_CONTAINS(message, path_);
    return message;
  }
  TempFolder folder_;
  std::string path_ = folder_ / "a.wav";
};

TEST_F(Sound, WavFilesAreReadAsRowsOfChannels) {
  const Audio mono = read(wav_of({0, 16384, -32768}, 8000));
  EXPECT_EQ(mono.rate, 8000);
  EXPECT_EQ(mono.samples.shape(), Shape({1, 3}));
  EXPECT_EQ(mono.samples.to_vector<float>(), std::vector<float>({0, 0.5F, -1}));
  const Audio stereo = read(wav_of({1024, 2048, 3072, 4096}, 44100, 2));
  EXPECT_EQ(stereo.samples.shape(), Shape({2, 2}));
  EXPECT_EQ(stereo.samples.to_vector<float>(),
            std::vector<float>({1 / 32.0F, 3 / 32.0F, 2 / 32.0F, 4 / 32.0F}));
}

TEST_F(Sound, FlacFilesAreRead) {
  SF_INFO info{};
  info.samplerate = 16000;
  info.channels = 1;
  info.format = SF_FORMAT_FLAC | SF_FORMAT_PCM_16;
  std::vector<short> samples;
  for (int i = 0; i < 70000; ++i) samples.push_back(static_cast<short>(i * 37 % 20000 - 10000));
  SNDFILE* file = sf_open(path_.c_str(), SFM_WRITE, &info);
  ASSERT_NE(file, nullptr);
  sf_write_short(file, samples.data(), static_cast<sf_count_t>(samples.size()));
  sf_close(file);
  const Audio audio = read_audio(path_);
  EXPECT_EQ(audio.rate, 16000);
  ASSERT_EQ(audio.samples.shape(), Shape({1, 70000}));
  EXPECT_EQ(audio.samples.at({0, 69999}), samples.back() / 32768.0);
  const std::string bytes = testing::read_file(path_);
  for (std::size_t length = 0; length < bytes.size(); length += 997) error(bytes.substr(0, length));
}

TEST_F(Sound, AHeaderMayPromiseWhatItLikes) {
  // libsndfile goes by the size of the file: there are two samples, or an error, but never 10^9.
  write_file(path_, wav_of({1, 2}, 8000, 1, 2'000'000'000));
  try {
    EXPECT_LE(read_audio(path_).samples.numel(), 2);
  } catch (const Error& caught) {
    EXPECT_CONTAINS(caught.what(), path_);
  }
}

TEST_F(Sound, WhatIsNoneIsSaid) {
  EXPECT_CONTAINS(error(""), "not a WAV or FLAC");
  EXPECT_CONTAINS(error("\x89PNG\r\n\x1a\n"), "not a WAV or FLAC");
  error("RIFF");
  error("fLaC");
  error(std::string("RIFF\x10\0\0\0WAVEfmt ", 16));
}

#endif

Tensor tone(double frequency, double rate, std::int64_t samples) {
  std::vector<float> values;
  for (std::int64_t i = 0; i < samples; ++i) {
    values.push_back(static_cast<float>(
        std::sin(2 * std::numbers::pi * frequency * static_cast<double>(i) / rate)));
  }
  return Tensor::from(values, {1, samples});
}

// The formula, with a sum for each frequency.
double slow_log_mel(const Tensor& wave, double rate, const MelOptions& options, std::int64_t band,
                    std::int64_t frame) {
  const auto mel = [](double f) { return 2595 * std::log10(1 + f / 700); };
  const auto window = static_cast<std::int64_t>(std::lround(options.window * rate));
  const auto hop = static_cast<std::int64_t>(std::lround(options.hop * rate));
  std::int64_t points = 1;
  while (points < 2 * window) points *= 2;
  const double low = mel(options.low);
  const double step = (mel(rate / 2) - low) / static_cast<double>(options.bands + 1);
  const auto corner = [&](double i) { return 700 * (std::pow(10, (low + step * i) / 2595) - 1); };
  const double left = corner(static_cast<double>(band));
  const double centre = corner(static_cast<double>(band + 1));
  const double right = corner(static_cast<double>(band + 2));
  double energy = 0;
  for (std::int64_t k = 0; k <= points / 2; ++k) {
    const double f = static_cast<double>(k) * rate / static_cast<double>(points);
    const double weight = std::min((f - left) / (centre - left), (right - f) / (right - centre));
    if (weight <= 0) continue;
    double re = 0;
    double im = 0;
    for (std::int64_t j = 0; j < window; ++j) {
      const std::int64_t place = frame * hop - window / 2 + j;
      if (place < 0 || place >= wave.size(1)) continue;
      const double angle =
          2 * std::numbers::pi * static_cast<double>(j) / static_cast<double>(window);
      const double value = (0.5 - 0.5 * std::cos(angle)) * wave.at({0, place});
      const double phase =
          2 * std::numbers::pi * static_cast<double>(j * k % points) / static_cast<double>(points);
      re += value * std::cos(phase);
      im += value * std::sin(phase);
    }
    energy += weight * (re * re + im * im);
  }
  return std::log(energy + 1e-6);
}

TEST(LogMel, IsTheFormula) {
  const MelOptions options{.bands = 24};
  const Tensor wave = tone(440, 8000, 1000);
  const Tensor result = log_mel(wave, 8000, options);
  ASSERT_EQ(result.shape(), Shape({1, 24, 13}));
  for (const std::int64_t frame : {0, 1, 6, 12}) {
    for (const std::int64_t band : {0, 3, 5, 12, 23}) {
      // float32 sums relative to a peak of about window^2 / 16 = 2500.
      const double expected = slow_log_mel(wave, 8000, options, band, frame);
      EXPECT_NEAR(std::exp(result.at({0, band, frame})), std::exp(expected),
                  1e-3 * std::exp(expected) + 1e-4)
          << band << ' ' << frame;
    }
  }
}

TEST(LogMel, AToneLightsTheBandItLiesIn) {
  const Tensor result = log_mel(tone(1000, 16000, 16000), 16000);
  ASSERT_EQ(result.shape(), Shape({1, 64, 101}));
  std::int64_t best = 0;
  for (std::int64_t band = 1; band < 64; ++band) {
    if (result.at({0, band, 50}) > result.at({0, best, 50})) best = band;
  }
  // mel(20) = 31.7, mel(1000) = 1000, mel(8000) = 2840: 1000 Hz lies 22.4 steps of 43.2 above.
  EXPECT_NEAR(static_cast<double>(best), 21.4, 1);
}

TEST(LogMel, SilenceIsTheLeastEnergyAndShortSoundsHaveAFrame) {
  const Tensor result = log_mel(Tensor::zeros({2, 1}), 8000);
  ASSERT_EQ(result.shape(), Shape({2, 64, 1}));
  for (const float value : result.to_vector<float>()) EXPECT_FLOAT_EQ(value, std::log(1e-6F));
}

TEST(LogMel, OptionsThatMakeNoSenseAreRefused) {
  const Tensor wave = Tensor::zeros({1, 100});
  const auto refused = [&](const MelOptions& options, double rate = 8000) {
    return error_of([&] { log_mel(wave, rate, options); });
  };
  EXPECT_CONTAINS(refused({.bands = 0}), "0 bands");
  EXPECT_CONTAINS(refused({.bands = 1000}), "use fewer bands");
  EXPECT_CONTAINS(refused({.high = 5000}), "5000 Hz", "4000");
  EXPECT_CONTAINS(refused({.window = 0}), "0 and 80 samples");
  EXPECT_CONTAINS(refused({.hop = 1e-9}), "at least 1");
  EXPECT_CONTAINS(refused({}, 0), "rate is 0");
  EXPECT_CONTAINS(error_of([] { log_mel(Tensor::zeros({100}), 8000); }), "[100]");
}

}  // namespace
}  // namespace fovea::data
