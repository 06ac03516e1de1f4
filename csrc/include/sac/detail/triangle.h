// The schedule of a symmetric sum: the tiles (i, j), i ≤ j, of a square of tiles, numbered row by row.
// Shared by the CPU and the CUDA kernels; 64-bit throughout.
#pragma once

#include <cmath>
#include <cstdint>

#include "sac/detail/host_device.h"

namespace sac {

struct TriangleTile {
  std::int64_t row;
  std::int64_t col;
};

SAC_HOST_DEVICE inline std::int64_t triangle_size(std::int64_t tiles) { return tiles * (tiles + 1) / 2; }

// Number of the first tile of a row: rows before it hold tiles, tiles − 1, … tiles each.
SAC_HOST_DEVICE inline std::int64_t triangle_row_start(std::int64_t row, std::int64_t tiles) {
  return row * tiles - row * (row - 1) / 2;
}

// Tile number t, 0 ≤ t < triangle_size(tiles), tiles < 2³¹.
SAC_HOST_DEVICE inline TriangleTile triangle_tile(std::int64_t t, std::int64_t tiles) {
  // The row solves row·tiles − row(row−1)/2 = t; the square root may be wrong by rounding, so the loops correct it.
  const double b = static_cast<double>(tiles) + 0.5;
  const double root = sqrt(fmax(b * b - 2.0 * static_cast<double>(t), 0.0));
  std::int64_t row = static_cast<std::int64_t>(b - root);
  if (row < 0) row = 0;
  if (row > tiles - 1) row = tiles - 1;
  while (row > 0 && triangle_row_start(row, tiles) > t) --row;
  while (row + 1 < tiles && triangle_row_start(row + 1, tiles) <= t) ++row;
  return {row, row + (t - triangle_row_start(row, tiles))};
}

}  // namespace sac
