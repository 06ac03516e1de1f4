// Epilogues shared by the warp and warpgroup kernels: from a tile of products to C, and the totals of suspects.
#pragma once

#include <cuda_runtime.h>

#include "cuda/detail/tile_problem.cuh"
#include "sac/detail/tile_fragment.h"

namespace sac {

// From products to C: unscaled, or rbf, which is 0 in the padding. `row`, `col`: origin of the tile; entry_of(e):
// position in the tile of entry e of this thread.
template <bool kRbf, class EntryOf>
__device__ inline void tile_epilogue(const TileProblem& problem, const Operand& operand, int model, std::int64_t row,
                                     std::int64_t col, const EntryOf& entry_of, float (&c)[kThreadEntries]) {
  if constexpr (kRbf) {
    const float* row_norms = operand.row_norms + model * operand.row_padded + row;
    const float* col_norms = operand.col_norms + model * operand.col_padded + col;
    // rows and columns of this tile that are no padding
    const int rows = static_cast<int>(min(problem.rows - row, static_cast<std::int64_t>(kTileRows)));
    const int cols = static_cast<int>(min(problem.cols - col, static_cast<std::int64_t>(kTileRows)));
#pragma unroll
    for (int e = 0; e < kThreadEntries; ++e) {
      const TileEntry entry = entry_of(e);
      const float norms = row_norms[entry.row] + col_norms[entry.col];
      const bool inside = entry.row < rows && entry.col < cols;
      c[e] = inside ? rbf_of(c[e] * kUnscale, norms, problem.inverse_bandwidth) : 0.0f;
    }
  } else {
#pragma unroll
    for (int e = 0; e < kThreadEntries; ++e) c[e] *= kUnscale;
  }
}

// Partial sums of each suspect of a group, one for each of the 8 warps that multiply.
constexpr int kSummingWarps = 8;
using Totals = double[kMaxGroupSuspects][kSummingWarps];

__device__ inline double warp_sum(double x) {
#pragma unroll
  for (int lanes = 16; lanes > 0; lanes /= 2) x += __shfl_xor_sync(0xffffffffu, x, lanes);
  return x;
}

// Writes partial[suspect][block] of the suspects first … end − 1. Called by all threads of the block.
__device__ inline void write_totals(const TileProblem& problem, int first, int end, const Totals& totals) {
  __syncthreads();
  if (first + static_cast<int>(threadIdx.x) >= end) return;
  const int s = static_cast<int>(threadIdx.x);
  double sum = 0;
  for (int warp = 0; warp < kSummingWarps; ++warp) sum += totals[s][warp];
  problem.partial[static_cast<std::int64_t>(first + s) * gridDim.x + blockIdx.x] = sum;
}

}  // namespace sac
