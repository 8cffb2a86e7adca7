// NumPy's .npz: a zip archive of .npy arrays, through libzip.
//
// The file is not trusted: no member may claim more than deflate can pack into its bytes, and what
// its own header asks for is compared with that. libzip verifies the check sums.
#include "fovea/readers.h"

#include "core/check.h"

#ifdef FOVEA_WITH_ZIP

#include <unistd.h>
#include <zip.h>

#include <algorithm>
#include <string_view>
#include <utility>

#include "core/input_file.h"
#include "core/printable.h"
#include "data/npy.h"

namespace fovea::data {
namespace {

constexpr std::string_view kSuffix = ".npy";

class Archive {
 public:
  explicit Archive(const std::string& path) : file_("read_npz", path) {
    int code = 0;
    const int fd = ::dup(::fileno(file_.stream()));
    zip_ = fd < 0 ? nullptr : zip_fdopen(fd, ZIP_CHECKCONS, &code);
    if (zip_ != nullptr) return;
    if (fd >= 0) ::close(fd);
    zip_error_t error;
    zip_error_init_with_code(&error, code);
    const std::string why = printable(zip_error_strerror(&error));
    zip_error_fini(&error);
    throw_error(fmt::format("read_npz: '{}' is not a zip archive, or is damaged ({})", path, why));
  }
  ~Archive() { zip_discard(zip_); }
  Archive(const Archive&) = delete;
  Archive& operator=(const Archive&) = delete;

  // The arrays, by name, with their places in the archive.
  std::map<std::string, zip_uint64_t> arrays() const {
    std::map<std::string, zip_uint64_t> found;
    const zip_int64_t count = zip_get_num_entries(zip_, 0);
    for (zip_int64_t i = 0; i < count; ++i) {
      const char* name = zip_get_name(zip_, static_cast<zip_uint64_t>(i), ZIP_FL_ENC_RAW);
      if (name == nullptr || !std::string_view(name).ends_with(kSuffix)) continue;
      const std::string_view stem(name, std::string_view(name).size() - kSuffix.size());
      found.emplace(stem, static_cast<zip_uint64_t>(i));
    }
    return found;
  }

  Tensor read(const std::string& name, zip_uint64_t index);

  zip_t* handle() const { return zip_; }
  const InputFile& file() const { return file_; }

 private:
  InputFile file_;
  zip_t* zip_ = nullptr;
};

class MemberStream : public ByteStream {
 public:
  MemberStream(const Archive& archive, zip_uint64_t index, std::string what)
      : member_(zip_fopen_index(archive.handle(), index, 0)), what_(std::move(what)) {
    FOVEA_CHECK(member_ != nullptr, "read_npz: {} cannot be read ({})", what_,
                printable(zip_strerror(archive.handle())));
  }
  ~MemberStream() override { zip_fclose(member_); }
  MemberStream(const MemberStream&) = delete;
  MemberStream& operator=(const MemberStream&) = delete;

  std::size_t read(void* out, std::size_t count) override {
    std::size_t done = 0;
    while (done < count) {
      const zip_int64_t got = zip_fread(member_, static_cast<char*>(out) + done, count - done);
      FOVEA_CHECK(got >= 0, "read_npz: {} is damaged ({})", what_,
                  printable(zip_file_strerror(member_)));
      if (got == 0) break;
      done += static_cast<std::size_t>(got);
    }
    return done;
  }

 private:
  zip_file_t* member_;
  std::string what_;
};

Tensor Archive::read(const std::string& name, zip_uint64_t index) {
  const std::string what = fmt::format("array '{}' of '{}'", printable(name), file_.path());
  zip_stat_t status;
  zip_stat_init(&status);
  constexpr zip_uint64_t kNeeded = ZIP_STAT_SIZE | ZIP_STAT_COMP_SIZE;
  FOVEA_CHECK(zip_stat_index(zip_, index, 0, &status) == 0 && (status.valid & kNeeded) == kNeeded,
              "read_npz: {} does not say how large it is", what);
  const auto stored = std::min(status.comp_size, static_cast<zip_uint64_t>(file_.size()));
  const auto most = stored * static_cast<zip_uint64_t>(kMostInflation);
  FOVEA_CHECK(
      status.size <= most,
      "read_npz: {} claims to hold {} bytes, more than can be packed into {}: it is damaged", what,
      status.size, stored);
  MemberStream stream(*this, index, what);
  return read_npy_stream("read_npz", what, stream, static_cast<std::int64_t>(status.size));
}

}  // namespace

std::vector<std::string> npz_names(const std::string& path) {
  std::vector<std::string> names;
  for (const auto& [name, index] : Archive(path).arrays()) names.push_back(name);
  return names;
}

std::map<std::string, Tensor> read_npz(const std::string& path,
                                       const std::vector<std::string>& names) {
  Archive archive(path);
  const std::map<std::string, zip_uint64_t> arrays = archive.arrays();
  std::map<std::string, Tensor> result;
  for (const std::string& name : names) {
    if (arrays.contains(name)) continue;
    std::string known;
    for (const auto& [one, index] : arrays)
      known += fmt::format("{}{}", known.empty() ? "" : ", ", printable(one));
    throw_error(fmt::format("read_npz: '{}' has no array '{}'; there are: {}", path,
                            printable(name), known));
  }
  for (const auto& [name, index] : arrays) {
    if (names.empty() || std::find(names.begin(), names.end(), name) != names.end())
      result.emplace(name, archive.read(name, index));
  }
  return result;
}

}  // namespace fovea::data

#else

namespace fovea::data {
namespace {

[[noreturn]] void refuse(const std::string& path) {
  throw_error(fmt::format(
      "read_npz: cannot read '{}': Fovea was built without libzip; install libzip-dev and build it "
      "again",
      path));
}

}  // namespace

std::vector<std::string> npz_names(const std::string& path) {
  refuse(path);
}

std::map<std::string, Tensor> read_npz(const std::string& path, const std::vector<std::string>&) {
  refuse(path);
}

}  // namespace fovea::data

#endif
