// correlation_distances_tiles by wgmma: one kernel for a pair of models and dot products, which sums C^a − C^b chunk by
// chunk in one set of registers and so affords tiles twice as high, in clusters of two blocks; one for many
// suspects, or rbf, which keeps the source's tile in registers while those of the suspects follow.
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
  init_barriers(shared.ring);
  if (role == 0) {
    ptx::decrease_registers<kProducerRegisters>();
    if (threadIdx.x == 0) {
      PipelineState<2> state;
      for (TileWalk walk(problem.schedule, blockIdx.x / 2); !walk.ended; walk.next(problem.schedule, clusters)) {
        const int row = 2 * walk.row + rank, col = 2 * walk.col + rank;
        for (int chunk = 0; chunk < chunks; ++chunk) {
          if (chunk < a.chunks) load_chunk(shared, state, problem, a, 0, row, col, chunk);
          if (chunk < b.chunks) load_chunk(shared, state, problem, b, 0, row, col, chunk);
        }
      }
    }
    __syncwarp();
  } else {
    ptx::increase_registers<kConsumerRegisters>();
    Consumer<2, kParts> consumer(shared, role - 1);
    double total = 0;
    for (TileWalk walk(problem.schedule, blockIdx.x / 2); !walk.ended; walk.next(problem.schedule, clusters)) {
      float c[2][kThreadEntries];
      clear(c);
      for (int chunk = 0; chunk < chunks; ++chunk) {
        if (chunk < a.chunks) consumer.template add_chunk<false>(a.chunk_bytes(chunk), c);
        if (chunk < b.chunks) consumer.template add_chunk<true>(b.chunk_bytes(chunk), c);
      }
      const float sum = abs_sum(c[0]) + abs_sum(c[1]);
      total += problem.weight(2 * walk.row + role - 1, 2 * walk.col + rank) * static_cast<double>(sum);
    }
    total = warp_sum(total * kUnscale);
    if (threadIdx.x % 32 == 0) shared.totals[0][threadIdx.x / 32 - kWarpgroup / 32] = total;
  }
  ptx::cluster_sync();  // no block exits while the other one may still arrive at its barriers
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
  init_barriers(shared.ring);
  if (role == 0) {
    ptx::decrease_registers<kProducerRegisters>();
    if (threadIdx.x == 0) {
      PipelineState<1> state;
      for (TileWalk walk(problem.schedule, blockIdx.x); !walk.ended; walk.next(problem.schedule, gridDim.x)) {
        for (int chunk = 0; chunk < source.chunks; ++chunk)
          load_chunk(shared, state, problem, source, 0, walk.row, walk.col, chunk);
        for (int s = first; s < end; ++s)
          for (int chunk = 0; chunk < suspects.chunks; ++chunk)
            load_chunk(shared, state, problem, suspects, s, walk.row, walk.col, chunk);
      }
    }
    __syncwarp();
  } else {
    ptx::increase_registers<kConsumerRegisters>();
    Consumer<1, kParts> consumer(shared, role - 1);
    const int thread = static_cast<int>(threadIdx.x) % kWarpgroup;
    double* const warp_totals = &shared.totals[0][threadIdx.x / 32 - kWarpgroup / 32];
    if (thread % 32 == 0)
      for (int s = 0; s < end - first; ++s) warp_totals[s * kSummingWarps] = 0;
    float reference[kThreadEntries], c[1][kThreadEntries];
    for (TileWalk walk(problem.schedule, blockIdx.x); !walk.ended; walk.next(problem.schedule, gridDim.x)) {
      const int weight = problem.weight(walk.row, walk.col);
      for (int s = first - 1; s < end; ++s) {
        const Operand& operand = s < first ? source : suspects;
        clear(c);
        for (int chunk = 0; chunk < operand.chunks; ++chunk)
          consumer.template add_chunk<false>(operand.chunk_bytes(chunk), c);
        epilogue_half<kRbf>(problem, operand, s < first ? 0 : s, walk, role - 1, thread, c[0]);
        if (s < first) {
#pragma unroll
          for (int e = 0; e < kThreadEntries; ++e) reference[e] = c[0][e];
          continue;
        }
#pragma unroll
        for (int e = 0; e < kThreadEntries; ++e) c[0][e] -= reference[e];
        const double sum = warp_sum(weight * static_cast<double>(abs_sum(c[0])));
        if (thread % 32 == 0) warp_totals[(s - first) * kSummingWarps] += sum;
      }
    }
  }
  write_totals(problem, first, end, shared.totals);
#endif
}

}  // namespace sac::warpgroup_tiles
