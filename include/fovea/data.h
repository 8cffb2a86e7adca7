// Data sets, and the loader that turns them into batches.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "fovea/export.h"
#include "fovea/nn.h"
#include "fovea/readers.h"
#include "fovea/shape.h"
#include "fovea/tensor.h"

namespace fovea::data {

enum class Split : std::uint8_t { train, validation, test };
FOVEA_API std::string_view name(Split split);  // "train", "validation", "test"

// A sample that was left out because it cannot be read.
struct Broken {
  std::string name;    // of the file, or of the place in it
  std::string reason;  // the message of the error
};

// Stands in a mask for a cell that is of no class and does not count.
inline constexpr std::int64_t kIgnored = -1;

// Samples of one shape, each with a label or a mask, readable from several threads at once.
class FOVEA_API Dataset {
 public:
  virtual ~Dataset();
  virtual std::int64_t size() const = 0;
  // Shape of one sample: [C, spatial...].
  virtual Shape sample_shape() const = 0;
  // Names of the classes, in the order of the labels.
  virtual const std::vector<std::string>& classes() const = 0;
  // Statistics per channel over the training split; bytes count as 0..1.
  virtual std::vector<double> mean() const = 0;
  virtual std::vector<double> stddev() const = 0;
  // Writes sample `index`, normalised to zero mean and unit deviation, in channels-last order.
  virtual void read(std::int64_t index, std::span<float> sample) const = 0;
  // The class of a sample. Throws Error where they have masks.
  virtual std::int64_t label(std::int64_t index) const = 0;
  // Whether each cell of a sample has a class of its own.
  virtual bool has_masks() const;
  // Writes the classes of the cells [spatial...] of sample `index`, kIgnored for those of none.
  // Throws Error where there are no masks.
  virtual void read_mask(std::int64_t index, std::span<std::int64_t> mask) const;
  // What sample `index` was read from, for messages: a file, or a place in one.
  virtual std::string name(std::int64_t index) const;
  // What was left out.
  virtual std::vector<Broken> broken() const;
  // What lies around a sample, before the normalisation: black, or silence.
  virtual double background() const;
};

// A data set with its splits, which share what they read.
class FOVEA_API Source {
 public:
  virtual ~Source();
  virtual bool has(Split split) const = 0;
  // Reads what the split needs, once; it outlives the source. Throws Error if there is no such
  // split. May be called from several threads at once.
  virtual std::shared_ptr<const Dataset> open(Split split) const = 0;
};

// One batch: images float32 [N, C, spatial...] (channels-last memory), labels int64 [N], or with
// mixup probabilities float32 [N, classes]; of masks int64 [N, spatial...]. cross_entropy() takes
// all of them, masks with .ignored = kIgnored.
struct Batch {
  Tensor images;
  Tensor labels;
};

struct LoaderOptions {
  std::int64_t batch = 64;
  bool shuffle = false;
  std::uint64_t seed = 1;    // of the shuffling
  std::int64_t epoch = 0;    // the first one; each epoch has an order of its own
  bool drop_last = false;    // leave out a last batch that is not full
  int prefetch = 2;          // batches prepared ahead, on background threads; 0: none
  int threads = 2;           // at most so many of them, each with a batch of its own
  std::string augment = {};  // "flip,crop=4": changes of the samples, drawn anew in each epoch
};

// A random change of samples, for training. What is drawn depends on nothing but the loader's seed,
// the epoch and the sample, so it is the same for any number of threads and after a resumption.
struct AugmentationDef {
  std::string_view name;      // "crop"
  std::string_view argument;  // what the number behind = is: "CELLS"
  std::string_view summary;
  double usual;               // the number where none is given
  double least, most;         // its range
  int least_dims, most_dims;  // spatial dimensions of the samples that it is for
};
FOVEA_API std::span<const AugmentationDef> augmentations();
struct Augmentation {
  const AugmentationDef* def;
  double value;
};
// "flip,crop=4,mixup": in the order of their work. Throws Error, with the list, for an unknown
// name, and for numbers out of range.
FOVEA_API std::vector<Augmentation> parse_augmentations(std::string_view text);

// Where a loader stands: the epoch, counted from 0, and how many of its batches were handed out.
struct LoaderPosition {
  std::int64_t epoch = 0;
  std::int64_t batch = 0;
  bool operator==(const LoaderPosition&) const = default;
};

class Augmenter;

// The batches of a data set, epoch after epoch. Range-for runs over one epoch; each begin() starts
// the next one, the first being `epoch`. The order of the samples depends on nothing but the seed
// and the number of the epoch.
class FOVEA_API Loader {
 public:
  Loader(std::shared_ptr<const Dataset> dataset, const LoaderOptions& options = {});
  ~Loader();
  Loader(const Loader&) = delete;
  Loader& operator=(const Loader&) = delete;

  std::int64_t batches() const;  // of one epoch
  std::int64_t samples() const;  // of the data set
  const LoaderOptions& options() const { return options_; }

  // In the body of a loop over the batches, the batch in hand counts as handed out. Behind the last
  // one this is {epoch, batches()}, and once the loop has ended {epoch + 1, 0}.
  LoaderPosition position() const;
  // The next begin() starts there: in the middle of an epoch, which is then short, or at its end.
  // Throws Error if an epoch has no such batch.
  void seek(const LoaderPosition& position);

  class Stream;
  class FOVEA_API Iterator {
   public:
    using value_type = Batch;
    explicit Iterator(std::shared_ptr<Stream> stream);
    const Batch& operator*() const { return batch_; }
    Iterator& operator++();
    bool operator!=(std::nullptr_t) const { return stream_ != nullptr; }

   private:
    std::shared_ptr<Stream> stream_;
    Batch batch_;
  };
  Iterator begin();
  std::nullptr_t end() const { return nullptr; }

 private:
  std::shared_ptr<const Dataset> dataset_;
  LoaderOptions options_;
  std::shared_ptr<const Augmenter> augmenter_;
  LoaderPosition next_;                      // where begin() starts
  std::shared_ptr<LoaderPosition> current_;  // of the epoch that was begun last; may be null
};

// Writes into `model.info` what a network is to remember of the data that it is trained on: the
// shape of a sample, the normalisation and the names of the classes. A saved network without them
// cannot be used on images. Throws Error if the data set has other samples or another number of
// classes.
FOVEA_API void describe(nn::Model& model, const Dataset& dataset);

// The four files of MNIST's format (IDX, plain or gzip) in a folder: train-images-idx3-ubyte[.gz]
// and so on. Throws Error for what is missing, truncated or contradictory.
FOVEA_API std::shared_ptr<const Dataset> mnist(const std::string& folder, Split split);
// Fashion-MNIST (Xiao et al., 2017) from Debian's package dataset-fashion-mnist, or,
// where FOVEA_DATA is set, from $FOVEA_DATA/fashion-mnist and nowhere else.
FOVEA_API std::shared_ptr<const Dataset> fashion_mnist(Split split);

class Arguments;
struct SourceOption {
  std::string_view name;     // "size"
  std::string_view values;   // "N or HxW"
  std::string_view meaning;  // with the default
};
struct SourceDef {
  std::string_view name;  // what --data takes: "fashion-mnist", or "mnist" in "mnist:DIR"
  std::string_view path;  // what stands behind the colon: "DIR"; empty: nothing
  std::string_view summary;
  std::vector<SourceOption> options;
  std::shared_ptr<const Source> (*open)(const Arguments& arguments);
};
FOVEA_API std::span<const SourceDef> sources();
// Opens "NAME", "NAME:PATH" or "NAME:PATH?key=value&key=value". Throws Error that lists the names,
// or the options, if there is none such.
FOVEA_API std::shared_ptr<const Source> open(const std::string& source);
FOVEA_API std::shared_ptr<const Dataset> open(const std::string& source, Split split);

}  // namespace fovea::data
