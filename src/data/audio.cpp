// Sounds in WAV and FLAC files, through libsndfile.
//
// The file is not trusted: its samples are read in blocks, and memory grows with what is there, not
// with what the header promises; a file may not unpack to more than kMostValuesPerByte values for
// each of its bytes.
#include "fovea/readers.h"

#include "core/check.h"

#ifdef FOVEA_WITH_AUDIO

#include <sndfile.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>
#include <vector>

#include "core/input_file.h"
#include "core/printable.h"

namespace fovea::data {
namespace {

constexpr std::int64_t kMostValues = std::int64_t{1} << 28;
// FLAC packs a block of one value, typically of 4096 samples, into about 15 bytes.
constexpr std::int64_t kMostValuesPerByte = 4096;
constexpr int kMaxChannels = 64;
constexpr std::int64_t kBlock = 65536;  // values

// libsndfile guesses more formats; of these two it is known what they can do.
void check_format(InputFile& file) {
  std::array<char, 4> magic{};
  const std::size_t count = file.read(magic.data(), magic.size());
  const auto starts = [&](const char* word) {
    return count == magic.size() && std::memcmp(magic.data(), word, magic.size()) == 0;
  };
  FOVEA_CHECK(starts("RIFF") || starts("RIFX") || starts("fLaC"),
              "read_audio: '{}' is not a WAV or FLAC file", file.path());
}

class SoundFile {
 public:
  explicit SoundFile(InputFile& file) : path_(file.path()), size_(file.size()) {
    const int fd = ::dup(::fileno(file.stream()));
    FOVEA_CHECK(fd >= 0 && ::lseek(fd, 0, SEEK_SET) == 0, "read_audio: cannot read '{}'", path_);
    handle_ = sf_open_fd(fd, SFM_READ, &info_, SF_TRUE);  // closes fd, whatever happens
    FOVEA_CHECK(handle_ != nullptr, "read_audio: '{}' is truncated or damaged ({})", path_,
                printable(sf_strerror(nullptr)));
  }
  ~SoundFile() { sf_close(handle_); }
  SoundFile(const SoundFile&) = delete;
  SoundFile& operator=(const SoundFile&) = delete;

  Audio read() {
    const std::int64_t channels = info_.channels;
    FOVEA_CHECK(channels >= 1 && channels <= kMaxChannels && info_.samplerate >= 1,
                "read_audio: '{}' has {} channels and {} samples per second, expected 1 to {} "
                "channels and at least 1 sample",
                path_, channels, info_.samplerate, kMaxChannels);
    const std::vector<float> values = read_values(channels);
    const auto frames = static_cast<std::int64_t>(values.size()) / channels;
    return {.samples = Tensor::from(values, {frames, channels}).permute({1, 0}).contiguous(),
            .rate = info_.samplerate};
  }

 private:
  std::vector<float> read_values(std::int64_t channels) {
    const std::int64_t most = std::min(kMostValues, size_ * kMostValuesPerByte);
    const std::int64_t frames = std::max<std::int64_t>(kBlock / channels, 1);
    std::vector<float> block(static_cast<std::size_t>(frames * channels));
    std::vector<float> values;
    while (true) {
      const sf_count_t got = sf_readf_float(handle_, block.data(), frames);
      FOVEA_CHECK(sf_error(handle_) == SF_ERR_NO_ERROR,
                  "read_audio: '{}' is truncated or damaged ({})", path_,
                  printable(sf_strerror(handle_)));
      values.insert(values.end(), block.begin(), block.begin() + got * channels);
      if (got < frames) break;
      FOVEA_CHECK(static_cast<std::int64_t>(values.size()) <= most,
                  "read_audio: '{}' unpacks to more than {} values, more than can be meant", path_,
                  most);
    }
    FOVEA_CHECK(static_cast<std::int64_t>(values.size()) >= info_.frames * channels ||
                    info_.frames == SF_COUNT_MAX,
                "read_audio: '{}' holds {} samples, but its header promises {}: it is truncated",
                path_, static_cast<std::int64_t>(values.size()) / channels, info_.frames);
    return values;
  }

  std::string path_;
  std::int64_t size_;
  SF_INFO info_{};
  SNDFILE* handle_ = nullptr;
};

}  // namespace

Audio read_audio(const std::string& path) {
  InputFile file("read_audio", path);
  check_format(file);
  return SoundFile(file).read();
}

}  // namespace fovea::data

#else

namespace fovea::data {

Audio read_audio(const std::string& path) {
  throw_error(fmt::format(
      "read_audio: cannot read '{}': Fovea was built without libsndfile; install libsndfile1-dev "
      "and build it again",
      path));
}

}  // namespace fovea::data

#endif
