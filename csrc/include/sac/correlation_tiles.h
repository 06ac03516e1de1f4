// Ops that form C tile by tile on tensor cores, from rows that pack_rows has packed (packed_tiles.h).
//
//   correlation_distances_tiles   Σ_ij |C^source_ij − C^s_ij| for each suspect s
//   correlation_matrix_tiles      C of each model, as a matrix or as the entries above the diagonal, row by row
//
// C is square, of `rows` = `cols` probes, or the rectangle of two slabs of it, `rows` of the one and `cols` of the
// other, that lies wholly above the diagonal. A tile is the sum of chunks: products of at most 64 coordinates are added
// up by the tensor cores from zero (they truncate), chunks in float32 with rounding. Sums of |·| are float32 over the
// 64 or 128 entries of a thread, then float64, in a fixed order.
#pragma once

#include <cstdint>

namespace sac {

// Packed models, one behind the other, of n rows and k coordinates each.
struct PackedModels {
  const void* rows;  // packed_bytes(rows, k, parts) each
  const void* cols;  // packed_bytes(cols, k, parts) each; the same as `rows` for a square
  const float* row_norms;
  const float* col_norms;
  std::int64_t k;
};

// Which kernel: `automatic` is warpgroup (wgmma) on devices of capability 9.0 if it was compiled for them, else warp.
enum class TileKernel { automatic, warp, warpgroup };

struct TileShape {
  std::int64_t rows, cols;
  bool square;
  int parts;                 // 2: hi and lo, 1: hi alone
  double inverse_bandwidth;  // rbf if positive: C_ij = exp(−max(0, |x̂_i|² + |x̂_j|² − 2 <x̂_i, x̂_j>) · this), else dot
  TileKernel kernel;
};

// How correlation_distances_tiles is launched on the current device.
struct TilePlan {
  std::int64_t blocks;              // partial sums of each suspect
  std::int64_t suspects_per_group;  // which the blocks of one grid row take in turn
  bool warpgroup;
  bool clusters;  // of two blocks, for a pair
};
TilePlan correlation_distances_plan(const TileShape& shape, std::int64_t suspects);

// partial: suspects × plan.blocks; the sum of a row is that of |C^source − C^suspect| over the square, or twice that
// over the rectangle. On `stream`, not waited for. Throws std::runtime_error naming the kernel.
void correlation_distances_tiles(const TileShape& shape, const PackedModels& source, const PackedModels& suspects,
                                 std::int64_t count, double* partial, void* stream);

// out: matrices n × n, or (`vector`) n(n−1)/2 entries, of float32, one for each model, behind one another. Square only.
void correlation_matrix_tiles(const TileShape& shape, const PackedModels& models, std::int64_t count, bool vector,
                              float* out, void* stream);

}  // namespace sac
