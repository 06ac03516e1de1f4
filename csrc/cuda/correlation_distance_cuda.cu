// float64: symmetric tiles of 64 × 64 correlations, 4 × 4 per thread; the sum of |C^a − C^b| stays in registers. The
// coordinates of a and b alternate in blocks of kDepth, so partial sums stay near the difference.
#include <cuda_runtime.h>

#include <algorithm>

#include "cuda/detail/launch.cuh"
#include "sac/correlation_distance.h"
#include "sac/detail/ceil_div.h"
#include "sac/detail/triangle.h"

namespace sac {
namespace {

constexpr int kTile = 64;
constexpr int kDepth = 16;
constexpr int kSide = 16;                   // threads along one side of a tile
constexpr int kThreadSide = kTile / kSide;  // entries of a thread along one side
constexpr int kThreads = kSide * kSide;
constexpr std::int64_t kMaxBlocks = 16384;

struct Stage {
  double rows[kDepth][kTile + 1];
  double cols[kDepth][kTile + 1];
};

// kDepth coordinates, from `first` on, of the 64 rows from `base` on; zeros beyond the matrix.
__device__ void stage_rows(const double* x, std::int64_t n, std::int64_t k, std::int64_t base, std::int64_t first,
                           double (&to)[kDepth][kTile + 1]) {
  for (int e = threadIdx.x; e < kTile * kDepth; e += kThreads) {
    const int r = e / kDepth, c = e % kDepth;
    const std::int64_t row = base + r, col = first + c;
    to[c][r] = row < n && col < k ? x[row * k + col] : 0.0;
  }
}

// acc += sign · (rows of tile.row) · (rows of tile.col)ᵀ over kDepth coordinates of x.
__device__ void add_product(const double* x, std::int64_t n, std::int64_t k, TriangleTile tile, std::int64_t first,
                            double sign, Stage& stage, double (&acc)[kThreadSide][kThreadSide]) {
  if (first >= k) return;
  __syncthreads();
  stage_rows(x, n, k, tile.row * kTile, first, stage.rows);
  stage_rows(x, n, k, tile.col * kTile, first, stage.cols);
  __syncthreads();
  const int ty = threadIdx.x / kSide, tx = threadIdx.x % kSide;
  double part[kThreadSide][kThreadSide] = {};
#pragma unroll
  for (int d = 0; d < kDepth; ++d)
#pragma unroll
    for (int i = 0; i < kThreadSide; ++i)
#pragma unroll
      for (int j = 0; j < kThreadSide; ++j) part[i][j] += stage.rows[d][ty + i * kSide] * stage.cols[d][tx + j * kSide];
#pragma unroll
  for (int i = 0; i < kThreadSide; ++i)
#pragma unroll
    for (int j = 0; j < kThreadSide; ++j) acc[i][j] += sign * part[i][j];
}

// exp(−max(0, |x̂_i|² + |x̂_j|² − 2 x̂_i·x̂_j) / 2σ²)
__device__ double rbf(double dot, double norm_i, double norm_j, double inverse_bandwidth) {
  return exp(-max(norm_i + norm_j - 2.0 * dot, 0.0) * inverse_bandwidth);
}

// |x̂|² of row i: 1, 0 for a row without direction
__device__ double squared_norm(const double* x, std::int64_t k, std::int64_t i) {
  double sum = 0;
  for (std::int64_t c = 0; c < k; ++c) sum += x[i * k + c] * x[i * k + c];
  return sum > 0.5 ? 1.0 : 0.0;
}

template <bool Rbf>
__device__ double tile_sum(const double* a, std::int64_t k_a, const double* b, std::int64_t k_b, std::int64_t n,
                           double inverse_bandwidth, TriangleTile tile, Stage& stage) {
  double acc[kThreadSide][kThreadSide] = {};
  double other[kThreadSide][kThreadSide] = {};
  for (std::int64_t first = 0; first < max(k_a, k_b); first += kDepth) {
    add_product(a, n, k_a, tile, first, 1.0, stage, acc);
    if constexpr (Rbf)
      add_product(b, n, k_b, tile, first, 1.0, stage, other);
    else
      add_product(b, n, k_b, tile, first, -1.0, stage, acc);
  }
  double sum = 0;
#pragma unroll
  for (int i = 0; i < kThreadSide; ++i)
#pragma unroll
    for (int j = 0; j < kThreadSide; ++j) {
      if constexpr (Rbf) {
        const std::int64_t row = tile.row * kTile + threadIdx.x / kSide + i * kSide;
        const std::int64_t col = tile.col * kTile + threadIdx.x % kSide + j * kSide;
        if (row >= n || col >= n) continue;
        sum += fabs(rbf(acc[i][j], squared_norm(a, k_a, row), squared_norm(a, k_a, col), inverse_bandwidth) -
                    rbf(other[i][j], squared_norm(b, k_b, row), squared_norm(b, k_b, col), inverse_bandwidth));
      } else {
        sum += fabs(acc[i][j]);
      }
    }
  return sum;
}

struct Pair {
  const double* a;
  std::int64_t k_a;
  const double* b;
  std::int64_t k_b, n;
  double inverse_bandwidth;
  double* partial;
};

template <bool Rbf>
__global__ void __launch_bounds__(kThreads) correlation_distance_kernel(Pair pair) {
  __shared__ Stage stage;
  __shared__ double sums[kThreads];
  const std::int64_t tiles = ceil_div(pair.n, kTile);
  double total = 0;
  for (std::int64_t t = blockIdx.x; t < triangle_size(tiles); t += gridDim.x) {
    const TriangleTile tile = triangle_tile(t, tiles);
    const double sum = tile_sum<Rbf>(pair.a, pair.k_a, pair.b, pair.k_b, pair.n, pair.inverse_bandwidth, tile, stage);
    total += tile.row == tile.col ? sum : 2.0 * sum;
  }
  sums[threadIdx.x] = total;
  for (int half = kThreads / 2; half > 0; half /= 2) {
    __syncthreads();
    if (threadIdx.x < half) sums[threadIdx.x] += sums[threadIdx.x + half];
  }
  if (threadIdx.x == 0) pair.partial[blockIdx.x] = sums[0];
}

}  // namespace

std::int64_t correlation_distance_cuda_blocks(std::int64_t n) {
  return std::min(triangle_size(ceil_div(n, kTile)), kMaxBlocks);
}

void correlation_distance_cuda(const double* a, std::int64_t k_a, const double* b, std::int64_t k_b, std::int64_t n,
                               double inverse_bandwidth, double* partial, void* stream) {
  const dim3 grid(static_cast<unsigned>(correlation_distance_cuda_blocks(n)));
  const auto kernel = inverse_bandwidth > 0 ? correlation_distance_kernel<true> : correlation_distance_kernel<false>;
  launch_kernel("correlation_distance_kernel", kernel, grid, kThreads, 0, stream,
                Pair{a, k_a, b, k_b, n, inverse_bandwidth, partial});
}

}  // namespace sac
