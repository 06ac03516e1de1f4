// correlation_matrix_tiles: C of many models, one grid row each.
#include <algorithm>

#include "cuda/detail/launch.cuh"
#include "cuda/detail/tile_launch.cuh"
#include "cuda/detail/warp_tiles.cuh"
#include "sac/correlation_matrix.h"

namespace sac {
namespace {

constexpr std::int64_t kMaxGridRows = 65535;

// Writes entry (i, j) and its mirror image. Entries below the diagonal are ignored, so that the matrix is exactly
// symmetric.
__device__ inline void store_entry(const TileProblem& problem, float* out, std::int64_t i, std::int64_t j, float c) {
  const std::int64_t n = problem.rows;
  if (i > j || j >= n) return;
  if (problem.vector) {
    if (i < j) out[vector_index(n, i, j)] = c;
    return;
  }
  out[i * n + j] = c;
  out[j * n + i] = c;
}

// First entry of the matrix or vector of a model.
__device__ inline float* model_out(const TileProblem& problem, std::int64_t model) {
  const std::int64_t n = problem.rows;
  return problem.out + model * (problem.vector ? n * (n - 1) / 2 : n * n);
}

template <int kParts, bool kRbf>
__global__ void __launch_bounds__(warp_tiles::kThreads, 1)
    correlation_matrix_warp_kernel(const __grid_constant__ TileProblem problem) {
  const Operand& operand = problem.source;
  const int model = static_cast<int>(blockIdx.y), last_bytes = operand.chunk_bytes(operand.chunks - 1);
  float* const out = model_out(problem, model);
  warp_tiles::Tiles<kParts> tiles(problem, model, 0, 0);
  for (TileWalk walk(problem.schedule, blockIdx.x); !walk.ended; walk.next(problem.schedule, gridDim.x)) {
    float c[kThreadEntries];
    tiles.compute(operand.chunks, last_bytes, c);
    warp_tiles::epilogue<kRbf>(problem, operand, model, walk, c);
    const std::int64_t row = static_cast<std::int64_t>(walk.row) * kTileRows;
    const std::int64_t col = static_cast<std::int64_t>(walk.col) * kTileRows;
#pragma unroll
    for (int e = 0; e < kThreadEntries; ++e) {
      const TileEntry entry = warp_entry(threadIdx.x, e);
      store_entry(problem, out, row + entry.row, col + entry.col, c[e]);
    }
  }
}

template <int kParts, bool kRbf>
void launch_warp(const TileProblem& problem, dim3 grid, void* stream) {
  launch_kernel("correlation_matrix_warp_kernel", correlation_matrix_warp_kernel<kParts, kRbf>, grid,
                warp_tiles::kThreads, warp_tiles::kRingBytes, stream, problem);
}

}  // namespace

void correlation_matrix_tiles(const TileShape& shape, const PackedModels& models, std::int64_t count, bool vector,
                              float* out, void* stream) {
  TileProblem problem = problem_of(shape, models, 1);
  problem.vector = vector;
  const std::int64_t size = vector ? shape.rows * (shape.rows - 1) / 2 : shape.rows * shape.rows;
  const std::int64_t processors = device_attribute(cudaDevAttrMultiProcessorCount);
  const std::int64_t blocks = std::min(steps_of(problem.schedule), processors);
  for (std::int64_t first = 0; first < count; first += kMaxGridRows) {
    problem.out = out + first * size;
    const dim3 grid(static_cast<unsigned>(blocks), static_cast<unsigned>(std::min(count - first, kMaxGridRows)));
    if (shape.inverse_bandwidth > 0)
      launch_warp<2, true>(problem, grid, stream);
    else
      launch_warp<2, false>(problem, grid, stream);
    problem.source.rows += kMaxGridRows * problem.source.row_model;
    problem.source.cols += kMaxGridRows * problem.source.col_model;
    problem.source.row_norms += kMaxGridRows * problem.source.row_padded;
    problem.source.col_norms += kMaxGridRows * problem.source.col_padded;
  }
}

}  // namespace sac
