// correlation_matrix_tiles: C of many models, a grid row each.
#include "cuda/correlation_matrix_store.cuh"
#include "cuda/launch.cuh"
#include "cuda/tile_launch.cuh"
#include "cuda/warp_tiles.cuh"

namespace sac {
namespace {

constexpr std::int64_t kMostGridRows = 65535;

template <int kParts, bool kRbf>
__global__ void __launch_bounds__(warp_tiles::kThreads, 1)
    correlation_matrix_warp_kernel(const __grid_constant__ TileProblem problem) {
  const Operand& operand = problem.source;
  const int model = static_cast<int>(blockIdx.y), last_bytes = operand.chunk_bytes(operand.chunks - 1);
  float* const out = model_out(problem, model);
  warp_tiles::Tiles<kParts> tiles(problem, model, 0, 0);
  for (TileWalk walk(problem.schedule, blockIdx.x); !walk.ended; walk.next(problem.schedule, gridDim.x)) {
    float c[kEach];
    tiles.form(operand.chunks, last_bytes, c);
    warp_tiles::finish<kRbf>(problem, operand, model, walk, c);
    const std::int64_t row = static_cast<std::int64_t>(walk.row) * kTileRows;
    const std::int64_t col = static_cast<std::int64_t>(walk.col) * kTileRows;
#pragma unroll
    for (int e = 0; e < kEach; ++e) {
      const Place place = warp_place(threadIdx.x, e);
      store_entry(problem, out, row + place.row, col + place.col, c[e]);
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
  const std::int64_t blocks = at_most(steps_of(problem.schedule), processors);
  for (std::int64_t first = 0; first < count; first += kMostGridRows) {
    problem.out = out + first * size;
    const dim3 grid(static_cast<unsigned>(blocks), static_cast<unsigned>(at_most(count - first, kMostGridRows)));
    if (shape.inverse_bandwidth > 0)
      launch_warp<2, true>(problem, grid, stream);
    else
      launch_warp<2, false>(problem, grid, stream);
    problem.source.rows += kMostGridRows * problem.source.row_model;
    problem.source.cols += kMostGridRows * problem.source.col_model;
    problem.source.row_norms += kMostGridRows * problem.source.row_padded;
    problem.source.col_norms += kMostGridRows * problem.source.col_padded;
  }
}

}  // namespace sac
