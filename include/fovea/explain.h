// Looking inside: the arithmetic of a network, layer by layer.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "fovea/conv.h"
#include "fovea/export.h"
#include "fovea/nn.h"
#include "fovea/shape.h"

namespace fovea::explain {

// What one output cell sees of the network's input, per spatial dimension [E].
struct ReceptiveField {
  Shape size;                  // cells of the input
  Shape stride;                // input cells between the fields of neighbouring outputs
  std::vector<double> centre;  // of the field of output cell 0, in input cells from 0
  bool global = false;         // the whole input, as after flatten
};

// One operator that a network ran.
struct LayerReport {
  std::string path;       // "conv1"; empty for an operator outside any layer
  std::string operation;  // the operator: "conv"
  std::string layer;      // the layer's own words: "Conv2d(1, 6, kernel=5, padding=2)"
  Shape output;
  std::int64_t parameters = 0;
  std::int64_t multiply_adds = 0;
  std::int64_t output_bytes = 0;
  ReceptiveField field;
};

struct NetworkReport {
  Shape input;
  std::vector<LayerReport> layers;
  std::int64_t parameters = 0;
  std::int64_t multiply_adds = 0;
  std::int64_t parameter_bytes = 0;
  std::int64_t activation_bytes = 0;  // all outputs together, as training keeps them
};

// Runs the network on shapes alone, in evaluation mode. input [N, C, spatial...].
FOVEA_API NetworkReport inspect(nn::Module& network, const Shape& input);

// The arithmetic of one convolution, beside that of layers between the same input and output which
// share no weights [B, C, E]. Doubles, because the last of them grow beyond any integer.
struct ConvArithmetic {
  std::int64_t weights = 0;      // out * in / groups * taps; a bias adds out
  double multiply_adds = 0;      // of the forward pass, the whole batch
  double locally_connected = 0;  // weights, if every output position had a kernel of its own
  double fully_connected = 0;    // weights, if every output cell read every input cell
  double fully_connected_multiply_adds =
      0;  // of the whole batch; a locally connected layer's are the convolution's
  std::int64_t positions = 0;  // input cells of one channel
  std::int64_t unread = 0;     // those that no window reads, as a stride may leave [E]
};

// Throws Error unless the problem validates.
FOVEA_API ConvArithmetic arithmetic(const ConvProblem& problem);

}  // namespace fovea::explain
