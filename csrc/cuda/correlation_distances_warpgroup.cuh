// correlation_distances_tiles by wgmma: one kernel for a pair of models and dot products, which forms C^a − C^b chunk
// by chunk in one set of registers and has room for tiles twice as high, in clusters of two blocks; one for many
// suspects, or rbf, which keeps the source's tile in registers while the suspects' pass by.
#pragma once

#include "cuda/detail/warpgroup_tiles.cuh"

namespace sac::warpgroup_tiles {

template <int kParts>
__global__ void __launch_bounds__(kThreads, 1)
    correlation_distance_warpgroup_kernel(const __grid_constant__ TileProblem problem) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  auto& shared = *reinterpret_cast<Shared<2>*>(dynamic_shared());
  const Operand &a = problem.source, &b = problem.suspects;
  const int chunks = max(a.chunks, b.chunks), role = static_cast<int>(threadIdx.x) / kWarpgroup;
  const int clusters = static_cast<int>(gridDim.x) / 2, rank = static_cast<int>(ptx::cluster_rank());
  prepare(shared.ring);
  if (role == 0) {
    ptx::registers_fewer<kFetchRegisters>();
    if (threadIdx.x == 0) {
      Turn<2> turn;
      for (TileWalk walk(problem.schedule, blockIdx.x / 2); !walk.ended; walk.next(problem.schedule, clusters)) {
        const int row = 2 * walk.row + rank, col = 2 * walk.col + rank;
        for (int chunk = 0; chunk < chunks; ++chunk) {
          if (chunk < a.chunks) fetch(shared, turn, problem, a, 0, row, col, chunk);
          if (chunk < b.chunks) fetch(shared, turn, problem, b, 0, row, col, chunk);
        }
      }
    }
    __syncwarp();
  } else {
    ptx::registers_more<kMultiplyRegisters>();
    Multiplier<2, kParts> multiplier(shared, role - 1);
    double total = 0;
    for (TileWalk walk(problem.schedule, blockIdx.x / 2); !walk.ended; walk.next(problem.schedule, clusters)) {
      float c[2][kEach];
      clear(c);
      for (int chunk = 0; chunk < chunks; ++chunk) {
        if (chunk < a.chunks) multiplier.template add_chunk<false>(a.chunk_bytes(chunk), c);
        if (chunk < b.chunks) multiplier.template add_chunk<true>(b.chunk_bytes(chunk), c);
      }
      const float sum = sum_of_magnitudes(c[0]) + sum_of_magnitudes(c[1]);
      total += problem.weight(2 * walk.row + role - 1, 2 * walk.col + rank) * static_cast<double>(sum);
    }
    total = warp_sum(total * kUnscale);
    if (threadIdx.x % 32 == 0) shared.totals[0][threadIdx.x / 32 - kWarpgroup / 32] = total;
  }
  ptx::cluster_sync();  // nobody leaves while the other block may still arrive at its barriers
  write_totals(problem, 0, 1, shared.totals);
#endif
}

template <int kParts, bool kRbf>
__global__ void __launch_bounds__(kThreads, 1)
    correlation_distances_warpgroup_kernel(const __grid_constant__ TileProblem problem) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  auto& shared = *reinterpret_cast<Shared<1>*>(dynamic_shared());
  const Operand &source = problem.source, &suspects = problem.suspects;
  const int first = static_cast<int>(blockIdx.y) * problem.per_group;
  const int end = min(problem.count, first + problem.per_group), role = static_cast<int>(threadIdx.x) / kWarpgroup;
  prepare(shared.ring);
  if (role == 0) {
    ptx::registers_fewer<kFetchRegisters>();
    if (threadIdx.x == 0) {
      Turn<1> turn;
      for (TileWalk walk(problem.schedule, blockIdx.x); !walk.ended; walk.next(problem.schedule, gridDim.x)) {
        for (int chunk = 0; chunk < source.chunks; ++chunk)
          fetch(shared, turn, problem, source, 0, walk.row, walk.col, chunk);
        for (int s = first; s < end; ++s)
          for (int chunk = 0; chunk < suspects.chunks; ++chunk)
            fetch(shared, turn, problem, suspects, s, walk.row, walk.col, chunk);
      }
    }
    __syncwarp();
  } else {
    ptx::registers_more<kMultiplyRegisters>();
    Multiplier<1, kParts> multiplier(shared, role - 1);
    const int thread = static_cast<int>(threadIdx.x) % kWarpgroup;
    double* const mine = &shared.totals[0][threadIdx.x / 32 - kWarpgroup / 32];
    if (thread % 32 == 0)
      for (int s = 0; s < end - first; ++s) mine[s * kSummingWarps] = 0;
    float reference[kEach], c[1][kEach];
    for (TileWalk walk(problem.schedule, blockIdx.x); !walk.ended; walk.next(problem.schedule, gridDim.x)) {
      const int weight = problem.weight(walk.row, walk.col);
      for (int s = first - 1; s < end; ++s) {
        const Operand& operand = s < first ? source : suspects;
        clear(c);
        for (int chunk = 0; chunk < operand.chunks; ++chunk)
          multiplier.template add_chunk<false>(operand.chunk_bytes(chunk), c);
        finish_half<kRbf>(problem, operand, s < first ? 0 : s, walk, role - 1, thread, c[0]);
        if (s < first) {
#pragma unroll
          for (int e = 0; e < kEach; ++e) reference[e] = c[0][e];
          continue;
        }
#pragma unroll
        for (int e = 0; e < kEach; ++e) c[0][e] -= reference[e];
        const double sum = warp_sum(weight * static_cast<double>(sum_of_magnitudes(c[0])));
        if (thread % 32 == 0) mine[(s - first) * kSummingWarps] += sum;
      }
    }
  }
  write_totals(problem, first, end, shared.totals);
#endif
}

}  // namespace sac::warpgroup_tiles
