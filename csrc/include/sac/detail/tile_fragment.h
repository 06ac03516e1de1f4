// The entries of a 128×128 or 64×128 tile that a thread holds, and reductions over them.
#pragma once

#include <cmath>
#include <cstdint>

#include "sac/detail/packed_tiles.h"

namespace sac {

constexpr int kThreadEntries = 64;  // entries of C that a thread holds

struct TileEntry {
  int row, col;
};

// mma.sync m16n8k16: warps 2 × 4, a warp 64×32 entries, 4 × 4 of 16×8; entry e = (m·4 + n)·4 + i.
SAC_HOST_DEVICE inline TileEntry warp_entry(int thread, int e) {
  const int warp = thread / 32, lane = thread % 32;
  return {warp / 4 * 64 + e / 16 * 16 + lane / 4 + e / 2 % 2 * 8, warp % 4 * 32 + e / 4 % 4 * 8 + lane % 4 * 2 + e % 2};
}

// wgmma m64n128k16: thread of the warpgroup, rows from the first of its 64 on.
SAC_HOST_DEVICE inline TileEntry warpgroup_entry(int thread, int e) {
  const int warp = thread / 32 % 4, lane = thread % 32;
  return {warp * 16 + lane / 4 + e / 2 % 2 * 8, e / 4 * 8 + lane % 4 * 2 + e % 2};
}

// exp(−max(0, |x̂_i|² + |x̂_j|² − 2 x̂_i·x̂_j) / 2σ²); NaN stays NaN
SAC_HOST_DEVICE inline float rbf_of(float dot, float norms, float inverse_bandwidth) {
  const float squared = norms - 2.0f * dot;
  return expf(-(squared < 0.0f ? 0.0f : squared) * inverse_bandwidth);
}

// x_0 += x_1 + … + x_{kCount−1}, kCount = 2^m, as a tree: the error is that of m roundings. Overwrites x.
template <int kCount>
SAC_HOST_DEVICE inline void tree_reduce(float* x) {
  if constexpr (kCount > 1) {
#ifdef __CUDA_ARCH__
#pragma unroll
#endif
    for (int e = 0; e < kCount / 2; ++e) x[e] += x[e + kCount / 2];
    tree_reduce<kCount / 2>(x);
  }
}

// Σ |x_e|. Overwrites x.
template <int kCount>
SAC_HOST_DEVICE inline float abs_sum(float (&x)[kCount]) {
#ifdef __CUDA_ARCH__
#pragma unroll
#endif
  for (int e = 0; e < kCount; ++e) x[e] = fabsf(x[e]);
  tree_reduce<kCount>(x);
  return x[0];
}

// Index of entry (i, j), i < j, among those above the diagonal of an n × n matrix, row by row.
SAC_HOST_DEVICE inline std::int64_t vector_index(std::int64_t n, std::int64_t i, std::int64_t j) {
  return i * (2 * n - i - 1) / 2 + (j - i - 1);
}

}  // namespace sac
