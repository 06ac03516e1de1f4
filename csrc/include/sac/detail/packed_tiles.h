// Layout of normalised rows for the tensor cores: written by pack_rows, read by the correlation kernels.
//
// Rows come in tiles of 128, coordinates in steps of 16, both padded with zeros. A coordinate x̂ ∈ [−1, 1] is scaled by
// 2^12 and split into two fp16 numbers, hi = fp16(2^12 x̂) and lo = fp16(2^12 x̂ − hi), so that x̂ = (hi + lo) / 2^12 up
// to 2^-23; the scale keeps lo a normal number. <x̂, ŷ> · 2^24 = hi·hi + hi·lo + lo·hi up to lo·lo ≤ 2^-22 (Ootomo &
// Yokota, "Recovering single precision accuracy from Tensor Cores", IJHPCA 2022, arXiv 2203.03341). One part (hi alone)
// is precision "medium".
//
// The tiles of one model, tile after tile, step after step, part after part: blocks of 4 KiB. Inside a block the 8×8
// matrices of ldmatrix and of wgmma's layout without swizzle, 128 contiguous bytes each:
//   [half of the step, 0 … 1][group of 8 rows, 0 … 15][row, 0 … 7][coordinate, 0 … 7]
#pragma once

#include <cstdint>

#include "sac/detail/ceil_div.h"
#include "sac/detail/half.h"
#include "sac/detail/host_device.h"
#include "sac/detail/matrix_view.h"

namespace sac {

constexpr int kTileRows = 128;
constexpr int kStepCoordinates = 16;
constexpr int kPartBytes = kTileRows * kStepCoordinates * 2;
constexpr int kMatrixBytes = 128;                             // 8 rows of 8 fp16
constexpr int kHalfStepBytes = kTileRows / 8 * kMatrixBytes;  // 8 coordinates of 128 rows
constexpr int kChunkBytes = 4 * kPartBytes;                   // of one tile in a pipeline stage
constexpr float kUnscale = 1.0f / (1 << 24);                  // of a product of two scaled numbers

SAC_HOST_DEVICE inline std::int64_t row_tiles(std::int64_t rows) { return ceil_div(rows, kTileRows); }
SAC_HOST_DEVICE inline std::int64_t steps_of(std::int64_t k) { return ceil_div(k, kStepCoordinates); }

// Bytes of one tile of rows.
SAC_HOST_DEVICE inline std::int64_t tile_bytes(std::int64_t steps, int parts) { return steps * parts * kPartBytes; }
SAC_HOST_DEVICE inline std::int64_t packed_bytes(std::int64_t rows, std::int64_t k, int parts) {
  return row_tiles(rows) * tile_bytes(steps_of(k), parts);
}

// Byte of the fp16 number of row r, 0 ≤ r < 128, and coordinate c, 0 ≤ c < 16, within its block.
SAC_HOST_DEVICE inline int block_offset(int r, int c) {
  return c / 8 * kHalfStepBytes + r / 8 * kMatrixBytes + r % 8 * 16 + c % 8 * 2;
}

// Byte of (row, coordinate) of part 0 (hi) or 1 (lo) within a model.
SAC_HOST_DEVICE inline std::int64_t model_offset(std::int64_t row, std::int64_t coordinate, int part,
                                                 std::int64_t steps, int parts) {
  const std::int64_t block = (row / kTileRows * steps + coordinate / kStepCoordinates) * parts + part;
  return block * kPartBytes +
         block_offset(static_cast<int>(row % kTileRows), static_cast<int>(coordinate % kStepCoordinates));
}

struct SplitNumber {
  std::uint16_t hi, lo;
};

SAC_HOST_DEVICE inline SplitNumber split_number(double x) {
  const double scaled = x * 4096.0;
  const std::uint16_t hi = half_bits(static_cast<float>(scaled));
  return {hi, half_bits(static_cast<float>(scaled - static_cast<double>(half_value(hi))))};
}

// pack_rows: outputs of models become packed rows.
//
//   x̂_i = x_i / |x_i| (centred: x_i − mean x_i first); a row without direction (all zero; centred: constant) is 0
//
// Sums are float64, so no square of a float32 number overflows or vanishes, at any scale of a row.
struct PackRows {
  MatrixView outputs;  // of the first model
  std::int64_t models;
  std::int64_t model_stride;  // in elements
  bool centre;
  int parts;               // 2: hi and lo; 1: hi alone
  void* packed;            // models × packed_bytes(rows, cols, parts), on a boundary of 128 bytes
  float* squared_norms;    // models × padded rows: 1; 0 for a row without direction and for padding
  std::int64_t first_row;  // index of the first row in `bad_rows`
  std::int64_t* bad_rows;  // for each model; lowered to the smallest row with NaN or Inf. Such a row is packed as NaN.
};

// Launches on `stream` (a cudaStream_t) of the current device and does not wait. Throws std::runtime_error with the
// kernel's name if the launch fails. float64 rows must have a largest magnitude within 1e-150 … 1e150.
void pack_rows_cuda(const PackRows& work, void* stream);

// Packed models one after another, of n rows and k coordinates each, as the kernels read them.
struct PackedModels {
  const void* rows;  // packed_bytes(rows, k, parts) each
  const void* cols;  // packed_bytes(cols, k, parts) each; the same as `rows` for a square
  const float* row_norms;
  const float* col_norms;
  std::int64_t k;
};

}  // namespace sac
