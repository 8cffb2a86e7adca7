// Looking inside: the arithmetic of a network, layer by layer, and convolutions as matrices.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "fovea/conv.h"
#include "fovea/export.h"
#include "fovea/nn.h"
#include "fovea/shape.h"
#include "fovea/tensor.h"

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
  std::string path;         // "conv1"; empty for an operator outside any layer
  std::string operation;    // the operator: "conv"
  std::string layer;        // the layer's own words: "Conv2d(1, 6, kernel=5, padding=2)"
  std::vector<int> inputs;  // the layers whose results it reads, by their place; -1: the input
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

// The network's graph as a picture in SVG: a box per operator, from the input at the top.
FOVEA_API std::string graph_svg(const NetworkReport& report);

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

// Which number stands where in a matrix made from a tensor: entry (row, column) is the sum of the
// values that its terms name. Flat indices are of row-major tensors [C, spatial...].
struct FOVEA_API MatrixPattern {
  struct Term {
    std::int64_t row = 0;
    std::int64_t column = 0;
    std::int64_t value = 0;  // flat index in the tensor
  };
  std::int64_t rows = 0;
  std::int64_t columns = 0;
  Shape source;             // of the tensor
  std::vector<Term> terms;  // in rising order of rows; all other entries are zero

  // [rows, columns] of the tensor's type.
  Tensor numbers(const Tensor& values) const;
};

// The matrix W of a convolution of one sample, y = W x: one row per output value, one column per
// input value, made from the weights. Toeplitz, or doubly blocked Toeplitz in two dimensions;
// circulant with circular padding [A; B; C; D section 2.2]. Its transpose is backward_data. What
// constant padding adds is no part of it. Throws Error for more than 2^22 terms or 2^24 entries, or
// for padding with means.
FOVEA_API MatrixPattern matrix(const ConvProblem& problem);
// The matrix X of all patches of one sample, y = X w: one row per output position, one column per
// weight of a kernel over all input channels, made from the input [B; D section 2.1]. Limits as
// above, and no padding with a constant either.
FOVEA_API MatrixPattern patches(const ConvProblem& problem);

// The matrix of linear convolution with w over signals of shape `signal`, every place of the result
// included [A]: T[i,j] = w[i - j]. w [K] or, doubly blocked, [H, W] or [D, H, W].
FOVEA_API Tensor toeplitz(const Tensor& w, const Shape& signal);
// The matrix of circular convolution with w: C[i,j] = w[(i - j) mod n] [C]. w [n] or, doubly
// blocked, [H, W] or [D, H, W].
FOVEA_API Tensor circulant(const Tensor& w);
// The circulant matrix that moves a signal by `shift` places: (S x)[i] = x[(i - shift) mod n] [C].
FOVEA_API Tensor shift_matrix(const Shape& signal, const Shape& shift,
                              DType dtype = DType::float64);
// The mean of S^-1 M S over all shifts S of a signal of this shape: the circulant matrix nearest to
// M, and M itself if it commutes with all shifts. Convolution is the most general linear map that
// does [C]. M [n, n], n = signal.numel().
FOVEA_API Tensor average_over_shifts(const Tensor& matrix, const Shape& signal);

}  // namespace fovea::explain
