// See byte_stream.h. Inflation is zlib's.
#include "data/byte_stream.h"

#include <zlib.h>

#include <algorithm>
#include <array>
#include <bit>
#include <utility>
#include <vector>

#include "core/check.h"

namespace fovea::data {
namespace {

static_assert(std::endian::native == std::endian::little, "number_at() puts the little end first");

constexpr std::size_t kChunk = std::size_t{1} << 20;

class PlainStream : public ByteStream {
 public:
  explicit PlainStream(InputFile& file) : file_(file) {}
  std::size_t read(void* out, std::size_t count) override { return file_.read(out, count); }

 private:
  InputFile& file_;
};

class GzipStream : public ByteStream {
 public:
  GzipStream(std::string op, InputFile& file)
      : op_(std::move(op)),
        file_(file),
        input_(std::clamp<std::size_t>(static_cast<std::size_t>(file.size()), 1, kChunk)) {
    constexpr int kGzipOnly = 16 + MAX_WBITS;
    const int status = inflateInit2(&zlib_, kGzipOnly);
    FOVEA_CHECK(status == Z_OK, "{}: zlib cannot start (status {})", op_, status);
  }
  ~GzipStream() override { inflateEnd(&zlib_); }
  GzipStream(const GzipStream&) = delete;
  GzipStream& operator=(const GzipStream&) = delete;

  std::size_t read(void* out, std::size_t count) override {
    std::size_t done = 0;
    while (done < count) {
      const std::size_t wanted = std::min(kChunk, count - done);
      const std::size_t got = read_chunk(static_cast<std::uint8_t*>(out) + done, wanted);
      done += got;
      if (got < wanted) break;
    }
    return done;
  }

 private:
  std::size_t read_chunk(std::uint8_t* out, std::size_t count) {
    zlib_.next_out = out;
    zlib_.avail_out = static_cast<uInt>(count);  // at most kChunk
    while (zlib_.avail_out > 0) {
      if (zlib_.avail_in == 0 && !refill()) break;
      // A gzip file may consist of several members; anything else behind one is an error here.
      if (std::exchange(between_members_, false)) inflateReset(&zlib_);
      const int status = inflate(&zlib_, Z_NO_FLUSH);
      FOVEA_CHECK(status == Z_OK || status == Z_STREAM_END,
                  "{}: '{}' is not a valid gzip file ({}): download it again", op_, file_.path(),
                  zlib_.msg != nullptr ? zlib_.msg : zError(status));
      between_members_ = status == Z_STREAM_END;
    }
    return count - zlib_.avail_out;
  }

  bool refill() {
    zlib_.next_in = input_.data();
    zlib_.avail_in = static_cast<uInt>(file_.read(input_.data(), input_.size()));
    FOVEA_CHECK(zlib_.avail_in > 0 || between_members_,
                "{}: '{}' ends in the middle of its gzip data: it is truncated, download it again",
                op_, file_.path());
    return zlib_.avail_in > 0;
  }

  std::string op_;
  InputFile& file_;
  std::vector<std::uint8_t> input_;
  z_stream zlib_{};
  bool between_members_ = false;
};

}  // namespace

std::unique_ptr<ByteStream> open_plain(InputFile& file) {
  return std::make_unique<PlainStream>(file);
}

std::unique_ptr<ByteStream> open_gzip(std::string op, InputFile& file) {
  return std::make_unique<GzipStream>(std::move(op), file);
}

bool is_gzip(InputFile& file) {
  std::array<std::uint8_t, 2> magic{};
  const std::size_t count = file.read(magic.data(), magic.size());
  std::rewind(file.stream());
  return count == magic.size() && magic[0] == 0x1f && magic[1] == 0x8b;
}

}  // namespace fovea::data
