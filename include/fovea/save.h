// Model files: safetensors, whose metadata, in a .fovea file, also says what the network is.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "fovea/export.h"
#include "fovea/nn.h"
#include "fovea/tensor.h"

namespace fovea {

struct TensorFile {
  std::map<std::string, Tensor> tensors;
  std::map<std::string, std::string> metadata;
};

// Safetensors (Hugging Face's format: 8 bytes of length, a JSON header, raw data), written beside
// and renamed into place, so that `path` is never half a file. Throws Error and leaves no trace on
// a full disk.
FOVEA_API void write_safetensors(const std::string& path, const TensorFile& file);
// Reads F64, F32, F16 and BF16 (the last two as float32), I64 and U8. The file is not trusted.
FOVEA_API TensorFile read_safetensors(const std::string& path);

// A network with its weights and all that `predict` needs: architecture, options, input shape,
// preprocessing, classes.
FOVEA_API void save(const nn::Model& model, const std::string& path);
// The weights alone.
FOVEA_API void save(const nn::Module& module, const std::string& path);

// Any text, written as safely as the rest: beside and renamed. Throws Error.
FOVEA_API void write_text(const std::string& path, std::string_view text);

// Throws Error, as save() would, unless a file can be written at `path`; leaves no trace. For
// asking before hours of training.
FOVEA_API void require_writable(const std::string& path);

// What did not fit when weights were loaded by name.
struct LoadReport {
  std::vector<std::string> missing;     // in the network, not in the file
  std::vector<std::string> unexpected;  // in the file, not in the network
  std::vector<std::string> mis_shaped;  // "conv1.weight: file [6, 1, 5, 5], network [6, 3, 5, 5]"
  std::size_t fitting = 0;              // how many tensors are the same in both
  bool complete() const { return missing.empty() && unexpected.empty() && mis_shaped.empty(); }
  FOVEA_API std::string to_string() const;  // names the first few of each list
};

struct LoadOptions {
  bool strict = true;  // throw Error with the report, and change nothing, unless it is complete
};

// Rebuilds the network of a .fovea file.
FOVEA_API nn::Model load(const std::string& path);
// Fills `module` with the weights of a file, by name. A file need not say how many batches a batch
// normalisation has seen (num_batches_tracked).
FOVEA_API LoadReport load_weights(nn::Module& module, const std::string& path,
                                  const LoadOptions& options = {});

}  // namespace fovea
