// Symmetric tiles of 64 × 64 correlations, 4 × 4 a thread; the sum of |C^a − C^b| stays in registers.
// The coordinates of a and b are taken in turns of kDepth, so partial sums stay near the difference.
#include <cuda_runtime.h>

#include <algorithm>
#include <stdexcept>
#include <string>

#include "sac/correlation_distance_cuda.h"
#include "sac/triangle.h"

namespace sac {
namespace {

constexpr int kTile = 64;
constexpr int kDepth = 16;
constexpr int kSide = 16;  // threads along one side of a tile
constexpr int kEach = kTile / kSide;
constexpr int kThreads = kSide * kSide;
constexpr std::int64_t kMostBlocks = 16384;

template <typename T>
struct Stage {
  T rows[kDepth][kTile + 1];
  T cols[kDepth][kTile + 1];
};

// kDepth coordinates, from `first` on, of the 64 rows from `base` on; zeros beyond the matrix.
template <typename T>
__device__ void stage_rows(const T* x, std::int64_t n, std::int64_t k, std::int64_t base, std::int64_t first,
                           T (&to)[kDepth][kTile + 1]) {
  for (int e = threadIdx.x; e < kTile * kDepth; e += kThreads) {
    const int r = e / kDepth, c = e % kDepth;
    const std::int64_t row = base + r, col = first + c;
    to[c][r] = row < n && col < k ? x[row * k + col] : T(0);
  }
}

// acc += sign · (rows of tile.row) · (rows of tile.col)ᵀ over kDepth coordinates of x.
template <typename T>
__device__ void add_product(const T* x, std::int64_t n, std::int64_t k, TriangleTile tile, std::int64_t first, T sign,
                            Stage<T>& stage, T (&acc)[kEach][kEach]) {
  if (first >= k) return;
  __syncthreads();
  stage_rows(x, n, k, tile.row * kTile, first, stage.rows);
  stage_rows(x, n, k, tile.col * kTile, first, stage.cols);
  __syncthreads();
  const int ty = threadIdx.x / kSide, tx = threadIdx.x % kSide;
  T part[kEach][kEach] = {};
#pragma unroll
  for (int d = 0; d < kDepth; ++d)
#pragma unroll
    for (int i = 0; i < kEach; ++i)
#pragma unroll
      for (int j = 0; j < kEach; ++j) part[i][j] += stage.rows[d][ty + i * kSide] * stage.cols[d][tx + j * kSide];
#pragma unroll
  for (int i = 0; i < kEach; ++i)
#pragma unroll
    for (int j = 0; j < kEach; ++j) acc[i][j] += sign * part[i][j];
}

// exp(−max(0, |x̂_i|² + |x̂_j|² − 2 x̂_i·x̂_j) / 2σ²)
template <typename T>
__device__ T rbf(T dot, T norm_i, T norm_j, T inverse_bandwidth) {
  return exp(-max(norm_i + norm_j - T(2) * dot, T(0)) * inverse_bandwidth);
}

// |x̂|² of row i: 1, 0 for a row without direction
template <typename T>
__device__ T squared_norm(const T* x, std::int64_t k, std::int64_t i) {
  T sum = 0;
  for (std::int64_t c = 0; c < k; ++c) sum += x[i * k + c] * x[i * k + c];
  return sum > T(0.5) ? T(1) : T(0);
}

template <typename T, bool Rbf>
__device__ double tile_sum(const T* a, std::int64_t k_a, const T* b, std::int64_t k_b, std::int64_t n,
                           T inverse_bandwidth, TriangleTile tile, Stage<T>& stage) {
  T acc[kEach][kEach] = {};
  T other[kEach][kEach] = {};
  for (std::int64_t first = 0; first < max(k_a, k_b); first += kDepth) {
    add_product(a, n, k_a, tile, first, T(1), stage, acc);
    if constexpr (Rbf)
      add_product(b, n, k_b, tile, first, T(1), stage, other);
    else
      add_product(b, n, k_b, tile, first, T(-1), stage, acc);
  }
  double sum = 0;
#pragma unroll
  for (int i = 0; i < kEach; ++i)
#pragma unroll
    for (int j = 0; j < kEach; ++j) {
      if constexpr (Rbf) {
        const std::int64_t row = tile.row * kTile + threadIdx.x / kSide + i * kSide;
        const std::int64_t col = tile.col * kTile + threadIdx.x % kSide + j * kSide;
        if (row >= n || col >= n) continue;
        sum += fabs(rbf(acc[i][j], squared_norm(a, k_a, row), squared_norm(a, k_a, col), inverse_bandwidth) -
                    rbf(other[i][j], squared_norm(b, k_b, row), squared_norm(b, k_b, col), inverse_bandwidth));
      } else {
        sum += fabs(static_cast<double>(acc[i][j]));
      }
    }
  return sum;
}

template <typename T, bool Rbf>
__global__ void __launch_bounds__(kThreads)
    correlation_distance_kernel(const T* a, std::int64_t k_a, const T* b, std::int64_t k_b, std::int64_t n,
                                T inverse_bandwidth, double* partial) {
  __shared__ Stage<T> stage;
  __shared__ double sums[kThreads];
  const std::int64_t tiles = (n + kTile - 1) / kTile;
  double total = 0;
  for (std::int64_t t = blockIdx.x; t < triangle_size(tiles); t += gridDim.x) {
    const TriangleTile tile = triangle_tile(t, tiles);
    const double sum = tile_sum<T, Rbf>(a, k_a, b, k_b, n, inverse_bandwidth, tile, stage);
    total += tile.row == tile.col ? sum : 2.0 * sum;
  }
  sums[threadIdx.x] = total;
  for (int half = kThreads / 2; half > 0; half /= 2) {
    __syncthreads();
    if (threadIdx.x < half) sums[threadIdx.x] += sums[threadIdx.x + half];
  }
  if (threadIdx.x == 0) partial[blockIdx.x] = sums[0];
}

template <typename T, bool Rbf>
void launch(const void* a, std::int64_t k_a, const void* b, std::int64_t k_b, std::int64_t n, double inverse_bandwidth,
            double* partial, void* stream) {
  correlation_distance_kernel<T, Rbf>
      <<<static_cast<unsigned>(correlation_distance_cuda_blocks(n)), kThreads, 0, static_cast<cudaStream_t>(stream)>>>(
          static_cast<const T*>(a), k_a, static_cast<const T*>(b), k_b, n, static_cast<T>(inverse_bandwidth), partial);
  const cudaError_t error = cudaGetLastError();
  if (error != cudaSuccess)
    throw std::runtime_error(std::string("correlation_distance_kernel: ") + cudaGetErrorString(error));
}

}  // namespace

std::int64_t correlation_distance_cuda_blocks(std::int64_t n) {
  return std::min(triangle_size((n + kTile - 1) / kTile), kMostBlocks);
}

void correlation_distance_cuda(const void* a, std::int64_t k_a, const void* b, std::int64_t k_b, std::int64_t n,
                               bool wide, double inverse_bandwidth, double* partial, void* stream) {
  if (inverse_bandwidth > 0)
    launch<double, true>(a, k_a, b, k_b, n, inverse_bandwidth, partial, stream);
  else if (wide)
    launch<double, false>(a, k_a, b, k_b, n, 0, partial, stream);
  else
    launch<float, false>(a, k_a, b, k_b, n, 0, partial, stream);
}

}  // namespace sac
