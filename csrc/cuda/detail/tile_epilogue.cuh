// What both kinds of kernels do with a tile of products, and with sums of suspects.
#pragma once

#include <cuda_runtime.h>

#include "cuda/detail/tile_problem.cuh"
#include "sac/detail/tile_fragment.h"

namespace sac {

// Products become C: unscaled, or rbf, which is 0 where there is no probe. `row` and `col`: first of the tile;
// place_of(e): where in it entry e of this thread is.
template <bool kRbf, class PlaceOf>
__device__ inline void finish_tile(const TileProblem& problem, const Operand& operand, int model, std::int64_t row,
                                   std::int64_t col, const PlaceOf& place_of, float (&c)[kEach]) {
  if constexpr (kRbf) {
    const float* row_norms = operand.row_norms + model * operand.row_padded + row;
    const float* col_norms = operand.col_norms + model * operand.col_padded + col;
    // so many rows and columns of this tile are probes
    const int rows = static_cast<int>(min(problem.rows - row, static_cast<std::int64_t>(kTileRows)));
    const int cols = static_cast<int>(min(problem.cols - col, static_cast<std::int64_t>(kTileRows)));
#pragma unroll
    for (int e = 0; e < kEach; ++e) {
      const Place place = place_of(e);
      const float norms = row_norms[place.row] + col_norms[place.col];
      const bool there = place.row < rows && place.col < cols;
      c[e] = there ? rbf_of(c[e] * kUnscale, norms, problem.inverse_bandwidth) : 0.0f;
    }
  } else {
#pragma unroll
    for (int e = 0; e < kEach; ++e) c[e] *= kUnscale;
  }
}

// Of each suspect of a group: what the 8 warps that multiply have added up so far.
constexpr int kSummingWarps = 8;
using Totals = double[kMostPerGroup][kSummingWarps];

__device__ inline double warp_sum(double x) {
#pragma unroll
  for (int lanes = 16; lanes > 0; lanes /= 2) x += __shfl_xor_sync(0xffffffffu, x, lanes);
  return x;
}

// partial[suspect][block] of the suspects first … end − 1; all threads of the block call it.
__device__ inline void write_totals(const TileProblem& problem, int first, int end, const Totals& totals) {
  __syncthreads();
  if (first + static_cast<int>(threadIdx.x) >= end) return;
  const int s = static_cast<int>(threadIdx.x);
  double sum = 0;
  for (int warp = 0; warp < kSummingWarps; ++warp) sum += totals[s][warp];
  problem.partial[static_cast<std::int64_t>(first + s) * gridDim.x + blockIdx.x] = sum;
}

}  // namespace sac
