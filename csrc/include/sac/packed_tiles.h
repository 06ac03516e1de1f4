// How normalised rows lie in memory for the tensor cores: written by pack_rows, read by the correlation kernels.
//
// Rows come in tiles of 128, coordinates in steps of 16, both padded with zeros. A coordinate x̂ ∈ [−1, 1] is scaled by
// 2^12 and split into two fp16 numbers, hi = fp16(2^12 x̂) and lo = fp16(2^12 x̂ − hi), so that x̂ = (hi + lo) / 2^12 but
// for 2^-23; the scale keeps lo a normal number. <x̂, ŷ> · 2^24 = hi·hi + hi·lo + lo·hi but for lo·lo ≤ 2^-22 (Ootomo &
// Yokota, "Recovering single precision accuracy from Tensor Cores", IJHPCA 2022, arXiv 2203.03341). One part (hi alone)
// is precision "medium".
//
// The tiles of one model, tile after tile, step after step, part after part: blocks of 4 KiB. Inside a block the 8×8
// matrices of ldmatrix and of wgmma's layout without swizzle, 128 contiguous bytes each:
//   [half of the step, 0 … 1][group of 8 rows, 0 … 15][row, 0 … 7][coordinate, 0 … 7]
#pragma once

#include <cstdint>
#include <cstring>

#include "sac/triangle.h"  // SAC_HOST_DEVICE

#ifdef __CUDACC__
#include <cuda_fp16.h>
#endif

namespace sac {

constexpr int kTileRows = 128;
constexpr int kStepCoordinates = 16;
constexpr int kPartBytes = kTileRows * kStepCoordinates * 2;
constexpr int kMatrixBytes = 128;                             // 8 rows of 8 fp16
constexpr int kHalfStepBytes = kTileRows / 8 * kMatrixBytes;  // 8 coordinates of 128 rows
constexpr int kChunkBytes = 4 * kPartBytes;                   // what a pipeline stage holds of one tile
constexpr float kUnscale = 1.0f / (1 << 24);                  // of a product of two scaled numbers

SAC_HOST_DEVICE inline std::int64_t row_tiles(std::int64_t rows) { return (rows + kTileRows - 1) / kTileRows; }
SAC_HOST_DEVICE inline std::int64_t steps_of(std::int64_t k) { return (k + kStepCoordinates - 1) / kStepCoordinates; }

// Bytes of one tile of rows.
SAC_HOST_DEVICE inline std::int64_t tile_bytes(std::int64_t steps, int parts) { return steps * parts * kPartBytes; }
SAC_HOST_DEVICE inline std::int64_t packed_bytes(std::int64_t rows, std::int64_t k, int parts) {
  return row_tiles(rows) * tile_bytes(steps_of(k), parts);
}

// Byte of the fp16 number of row r, 0 ≤ r < 128, and coordinate c, 0 ≤ c < 16, within its block.
SAC_HOST_DEVICE inline int place_in_block(int r, int c) {
  return c / 8 * kHalfStepBytes + r / 8 * kMatrixBytes + r % 8 * 16 + c % 8 * 2;
}

// Byte of (row, coordinate) of part 0 (hi) or 1 (lo) within a model.
SAC_HOST_DEVICE inline std::int64_t place_in_model(std::int64_t row, std::int64_t coordinate, int part,
                                                   std::int64_t steps, int parts) {
  const std::int64_t block = (row / kTileRows * steps + coordinate / kStepCoordinates) * parts + part;
  return block * kPartBytes +
         place_in_block(static_cast<int>(row % kTileRows), static_cast<int>(coordinate % kStepCoordinates));
}

// The bits of the nearest fp16 number, ties to even.
SAC_HOST_DEVICE inline std::uint16_t half_bits(float value) {
#ifdef __CUDA_ARCH__
  return __half_as_ushort(__float2half_rn(value));
#else
  std::uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  const std::uint32_t sign = bits >> 16 & 0x8000u;
  bits &= 0x7fffffffu;
  if (bits > 0x7f800000u) return static_cast<std::uint16_t>(sign | 0x7fffu);
  if (bits >= 0x47800000u) return static_cast<std::uint16_t>(sign | 0x7c00u);
  if (bits < 0x38800000u) {  // subnormal: added to ½, whose last place is 2^-24, the sum is rounded as it must be
    float magnitude;
    std::memcpy(&magnitude, &bits, sizeof magnitude);
    magnitude += 0.5f;
    std::memcpy(&bits, &magnitude, sizeof bits);
    return static_cast<std::uint16_t>(sign | (bits - 0x3f000000u));
  }
  bits += 0xfffu + (bits >> 13 & 1u);
  return static_cast<std::uint16_t>(sign | ((bits - 0x38000000u) >> 13));
#endif
}

SAC_HOST_DEVICE inline float half_value(std::uint16_t half) {
#ifdef __CUDA_ARCH__
  return __half2float(__ushort_as_half(half));
#else
  const std::uint32_t sign = (half & 0x8000u) << 16, rest = half & 0x7fffu;
  std::uint32_t bits;
  float value;
  if (rest < 0x400u) {
    value = static_cast<float>(rest) * 5.9604644775390625e-8f;  // 2^-24
    std::memcpy(&bits, &value, sizeof bits);
  } else {
    bits = rest >= 0x7c00u ? 0x7f800000u | (rest & 0x3ffu) << 13 : (rest << 13) + 0x38000000u;
  }
  bits |= sign;
  std::memcpy(&value, &bits, sizeof value);
  return value;
#endif
}

struct SplitNumber {
  std::uint16_t hi, lo;
};

SAC_HOST_DEVICE inline SplitNumber split_number(double x) {
  const double scaled = x * 4096.0;
  const std::uint16_t hi = half_bits(static_cast<float>(scaled));
  return {hi, half_bits(static_cast<float>(scaled - static_cast<double>(half_value(hi))))};
}

}  // namespace sac
