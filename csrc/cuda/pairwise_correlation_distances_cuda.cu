// One thread block to a tile of pairs of models; see sweep_tile.cuh.
#include <cuda_runtime.h>

#include <algorithm>
#include <stdexcept>
#include <string>

#include "cuda/sweep_tile.cuh"
#include "sac/triangle.h"
#include "sac/zoo_cuda.h"

namespace sac {
namespace {

constexpr std::int64_t kMostBlocks = 1 << 30;

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

template <class Form>
__global__ void __launch_bounds__(kSweepThreads, 1)
    pairwise_correlation_distances_kernel(SweepRows x, SweepRows y, bool triangle, std::int64_t chunks,
                                          SweepOutput out) {
  extern __shared__ __align__(128) std::uint8_t slabs[];
  const std::int64_t down = sweep_tiles(x.rows), across = sweep_tiles(y.rows);
  const std::int64_t tiles = triangle ? triangle_size(down) : down * across;
  for (std::int64_t t = blockIdx.x; t < tiles; t += gridDim.x) {
    const TriangleTile tile = triangle ? triangle_tile(t, down) : TriangleTile{t / across, t % across};
    SweepSums<Form> sums;
    sweep_tile<Form>(x, tile.row * kSweepTile, y, tile.col * kSweepTile, chunks, slabs, sums);
#pragma unroll
    for (int r = 0; r < kSweepEach; ++r)
#pragma unroll
      for (int c = 0; c < kSweepEach; ++c) {
        const std::int64_t i = tile.row * kSweepTile + sweep_thread_row(threadIdx.x) + r * kSweepStep;
        const std::int64_t j = tile.col * kSweepTile + sweep_thread_col(threadIdx.x) + c * kSweepStep;
        if (i < x.rows && j < y.rows && !(triangle && i > j))
          write_pair(out, i, j, y.rows, triangle, static_cast<double>(sums.value(r, c)));
      }
  }
}

void check(cudaError_t error) {
  if (error != cudaSuccess)
    throw std::runtime_error(std::string("pairwise_correlation_distances_kernel: ") + cudaGetErrorString(error));
}

template <class Form>
void launch(const SweepRows& x, const SweepRows& y, bool triangle, std::int64_t bytes, const SweepOutput& out,
            void* stream) {
  const auto kernel = pairwise_correlation_distances_kernel<Form>;
  const int shared = 2 * kSweepSlabBytes;
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, shared));
  const std::int64_t down = sweep_tiles(x.rows);
  const std::int64_t tiles = triangle ? triangle_size(down) : down * sweep_tiles(y.rows);
  const unsigned blocks = static_cast<unsigned>(std::min(tiles, kMostBlocks));
  kernel<<<blocks, kSweepThreads, shared, static_cast<cudaStream_t>(stream)>>>(x, y, triangle, sweep_chunks(bytes),
                                                                               out);
  check(cudaGetLastError());
}

}  // namespace

void pairwise_correlation_distances_cuda(const SweepRows& x, const SweepRows& y, bool triangle, SweepForm form,
                                         std::int64_t bytes, const SweepOutput& out, void* stream) {
  if (x.rows == 0 || y.rows == 0) return;
  switch (form) {
    case SweepForm::uint8: return launch<Uint8Chunks>(x, y, triangle, bytes, out, stream);
    case SweepForm::float16: return launch<Float16Chunks>(x, y, triangle, bytes, out, stream);
    case SweepForm::float32: return launch<Float32Chunks>(x, y, triangle, bytes, out, stream);
    case SweepForm::float64: return launch<Float64Chunks>(x, y, triangle, bytes, out, stream);
  }
}

}  // namespace sac
