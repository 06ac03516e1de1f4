// pack_rows: outputs of models become normalised rows in the tensor cores' layout (packed_tiles.h).
//
//   x̂_i = x_i / |x_i| (centred: x_i − mean x_i first); a row without direction (all zero; centred: constant) is 0
//
// Sums are float64, so no square of a float32 number overflows or vanishes, whatever the scale of a row.
#pragma once

#include <cstdint>

#include "sac/matrix_view.h"

namespace sac {

struct PackRows {
  MatrixView outputs;  // of the first model
  std::int64_t models;
  std::int64_t model_stride;  // in elements
  bool centre;
  int parts;               // 2: hi and lo; 1: hi alone
  void* packed;            // models × packed_bytes(rows, cols, parts), on a boundary of 128 bytes
  float* squared_norms;    // models × padded rows: 1, or 0 for a row without direction and behind the last row
  std::int64_t first_row;  // what the first row is called in `bad_rows`
  std::int64_t* bad_rows;  // for each model; lowered to the smallest row with NaN or Inf. Such a row is packed as NaN.
};

// On `stream` (a cudaStream_t) of the current device, not waited for. Throws std::runtime_error naming the kernel.
// float64 rows must have a largest magnitude within 1e-150 … 1e150, as ranks have.
void pack_rows_cuda(const PackRows& work, void* stream);

}  // namespace sac
