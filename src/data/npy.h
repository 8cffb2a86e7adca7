// NumPy's array format on a stream: what plain files and the members of archives share.
#pragma once

#include <string>

#include "data/byte_stream.h"
#include "fovea/tensor.h"

namespace fovea::data {

// Reads one array, to the end of the stream. `what` names it in messages, which start with `op`;
// the stream cannot have more than `most_bytes`, header included.
Tensor read_npy_stream(const std::string& op, const std::string& what, ByteStream& stream,
                       std::int64_t most_bytes);

}  // namespace fovea::data
