// One thread block computes a tile of pairs of models (detail/sweep_tile.cuh).
#include <algorithm>

#include "cuda/detail/launch.cuh"
#include "cuda/detail/sweep_tile.cuh"
#include "sac/detail/triangle.h"
#include "sac/pairwise_correlation_distances.h"

namespace sac {
namespace {

constexpr std::int64_t kMaxBlocks = 1 << 30;

__device__ inline void write_distance(const SweepOutput& out, std::int64_t at, double distance) {
  if (out.wide)
    static_cast<double*>(out.distances)[at] = distance;
  else
    static_cast<float*>(out.distances)[at] = static_cast<float>(distance);
}

__device__ inline void write_pair(const SweepOutput& out, std::int64_t i, std::int64_t j, std::int64_t columns,
                                  bool triangle, double sum) {
  const std::int64_t at = i * columns + j;
  if (out.add) sum += out.sums[at];
  if (!out.distances) {
    out.sums[at] = sum;
    return;
  }
  write_distance(out, at, out.scale * sum);
  if (triangle && i != j) write_distance(out, j * columns + i, out.scale * sum);
}

struct PairwiseTask {
  SweepRows x, y;
  bool triangle;
  std::int64_t chunks;
  SweepOutput out;
};

__host__ __device__ inline std::int64_t tiles_of(const PairwiseTask& task) {
  const std::int64_t down = sweep_tiles(task.x.rows);
  return task.triangle ? triangle_size(down) : down * sweep_tiles(task.y.rows);
}

template <class Form>
__global__ void __launch_bounds__(kSweepThreads, 1) pairwise_correlation_distances_kernel(PairwiseTask task) {
  const std::int64_t down = sweep_tiles(task.x.rows), across = sweep_tiles(task.y.rows), tiles = tiles_of(task);
  for (std::int64_t t = blockIdx.x; t < tiles; t += gridDim.x) {
    const TriangleTile tile = task.triangle ? triangle_tile(t, down) : TriangleTile{t / across, t % across};
    SweepSums<Form> sums;
    sweep_tile<Form>(task.x, tile.row * kSweepTile, task.y, tile.col * kSweepTile, task.chunks, dynamic_shared(), sums);
#pragma unroll
    for (int r = 0; r < kSweepThreadSide; ++r)
#pragma unroll
      for (int c = 0; c < kSweepThreadSide; ++c) {
        const std::int64_t i = tile.row * kSweepTile + sweep_thread_row(threadIdx.x) + r * kSweepStep;
        const std::int64_t j = tile.col * kSweepTile + sweep_thread_col(threadIdx.x) + c * kSweepStep;
        if (i < task.x.rows && j < task.y.rows && !(task.triangle && i > j))
          write_pair(task.out, i, j, task.y.rows, task.triangle, static_cast<double>(sums.value(r, c)));
      }
  }
}

template <class Form>
void launch(const PairwiseTask& task, void* stream) {
  const unsigned blocks = static_cast<unsigned>(std::min(tiles_of(task), kMaxBlocks));
  launch_kernel("pairwise_correlation_distances_kernel", pairwise_correlation_distances_kernel<Form>, blocks,
                kSweepThreads, 2 * kSweepSlabBytes, stream, task);
}

}  // namespace

void pairwise_correlation_distances_cuda(const SweepRows& x, const SweepRows& y, bool triangle, VectorForm form,
                                         std::int64_t bytes, const SweepOutput& out, void* stream) {
  if (x.rows == 0 || y.rows == 0) return;
  const PairwiseTask task{x, y, triangle, sweep_chunks(bytes), out};
  switch (form) {
    case VectorForm::uint8: return launch<Uint8Chunks>(task, stream);
    case VectorForm::float16: return launch<Float16Chunks>(task, stream);
    case VectorForm::float32: return launch<Float32Chunks>(task, stream);
    case VectorForm::float64: return launch<Float64Chunks>(task, stream);
  }
}

}  // namespace sac
