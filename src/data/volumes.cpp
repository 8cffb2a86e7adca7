// Volumes: an archive of arrays, as MedMNIST has it, or folders of NIfTI and .npy files.
#include <algorithm>

#include "core/check.h"
#include "data/fit.h"
#include "data/folder.h"
#include "data/source_list.h"

namespace fovea::data {
namespace {

// uint8 stays; all else becomes float32.
Tensor plain_values(const Tensor& array) {
  return array.dtype() == DType::uint8 ? array : array.to(DType::float32);
}

// train_images and train_labels, and in the same way val and test. images [N, spatial...], or with
// three colours [N, H, W, 3].
class Archive {
 public:
  explicit Archive(std::string path) : path_(std::move(path)) {}

  SampleReader reader(const std::string& part) const {
    return [*this, part] { return std::make_shared<const ArraySamples>(read(part)); };
  }
  Tensor labels(const std::string& part) const { return array(part + "_labels"); }
  const std::string& path() const { return path_; }

 private:
  Tensor array(const std::string& name) const { return read_npz(path_, {name}).begin()->second; }

  ArraySamples read(const std::string& part) const {
    const Tensor images = plain_values(array(part + "_images"));
    const int rank = images.rank();
    FOVEA_CHECK(rank >= 2 && rank <= 4 && images.numel() > 0,
                "volumes: {}_images of '{}' have the shape {}, expected [N, depth, height, width], "
                "[N, height, width], or [N, height, width, 3] with colours",
                part, path_, images.shape());
    const bool colours = rank == 4 && images.size(3) == 3;
    Shape shape = images.shape();
    if (!colours) shape.push_back(1);
    Shape axes = {0, shape.rank() - 1};  // channels come last in the file
    for (int axis = 1; axis + 1 < shape.rank(); ++axis) axes.push_back(axis);
    const std::string place = fmt::format("{}_images of '{}'", part, path_);
    return ArraySamples(images.reshape(shape).permute(axes),
                        labels_from(labels(part), images.size(0), 0,
                                    fmt::format("volumes: {}_labels of '{}'", part, path_)),
                        place);
  }

  std::string path_;
};

std::shared_ptr<const Source> open_archive(const Arguments& arguments) {
  FOVEA_CHECK(!arguments.has("size"),
              "volumes: size is for folders of files; the volumes of an archive have one size");
  const Archive archive(arguments.path());
  const std::vector<std::string> names = npz_names(arguments.path());
  const auto has = [&](const std::string& part) {
    return std::find(names.begin(), names.end(), part + "_images") != names.end();
  };
  Collection collection;
  collection.train = archive.reader("train");
  if (has("val")) collection.validation = archive.reader("val");
  if (has("test")) collection.test = archive.reader("test");
  const Tensor labels = archive.labels("train");
  collection.classes = numbered_classes(labels_from(
      labels, labels.numel(), 0, fmt::format("volumes: train_labels of '{}'", archive.path())));
  return split_source(arguments, std::move(collection));
}

struct VolumeOptions {
  Shape size;  // [depth, height, width]; empty: as it is
  Fit resize = Fit::crop;
};

class VolumeSamples : public FileSamples {
 public:
  VolumeSamples(LabelledFiles files, const VolumeOptions& options)
      : FileSamples(std::move(files)), options_(options) {}

  Tensor decode(std::int64_t index) const override {
    const Tensor volume =
        path(index).ends_with(".npy") ? array(path(index)) : read_nifti(path(index));
    return options_.size.empty() ? volume : fit(volume, options_.size, options_.resize);
  }
  std::string advice() const override { return "; size=32 (or DxHxW) gives all of them one size"; }

 private:
  // [depth, height, width] or [C, depth, height, width]
  static Tensor array(const std::string& path) {
    const Tensor array = plain_values(read_npy(path));
    FOVEA_CHECK(
        (array.rank() == 3 || array.rank() == 4) && array.numel() > 0,
        "'{}' has the shape {}, expected [depth, height, width] or [C, depth, height, width]", path,
        array.shape());
    return array.rank() == 4 ? array
                             : array.reshape({1, array.size(0), array.size(1), array.size(2)});
  }

  VolumeOptions options_;
};

}  // namespace

std::vector<SourceOption> volume_options() {
  return {{"size", "N or DxHxW",
           "give all volumes of a folder this size (default: they must have one)"},
          fit_option()};
}

std::shared_ptr<const Source> open_volumes(const Arguments& arguments) {
  if (arguments.path().ends_with(".npz")) return open_archive(arguments);
  VolumeOptions options;
  options.size = arguments.sizes("size", 3);
  options.resize = fit_from(arguments);
  return split_source(
      arguments,
      collection_of<VolumeSamples>(
          find_files(arguments.op(), arguments.path(), {".nii", ".nii.gz", ".npy"}), options));
}

}  // namespace fovea::data
