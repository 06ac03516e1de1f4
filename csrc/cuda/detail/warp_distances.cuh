// correlation_distances_tiles by mma.sync. The source's tile stays in registers while those of the suspects follow.
#pragma once

#include "cuda/detail/warp_tiles.cuh"

namespace sac::warp_tiles {

constexpr int kSharedBytes = kRingBytes + static_cast<int>(sizeof(Totals));

template <int kParts, bool kRbf>
__global__ void __launch_bounds__(kThreads, 1)
    correlation_distances_warp_kernel(const __grid_constant__ TileProblem problem) {
  Totals& totals = *reinterpret_cast<Totals*>(dynamic_shared() + kRingBytes);
  const int first = blockIdx.y * problem.per_group, end = min(problem.count, first + problem.per_group);
  double* const warp_totals = &totals[0][threadIdx.x / 32];
  if (threadIdx.x % 32 == 0)
    for (int s = 0; s < end - first; ++s) warp_totals[s * kSummingWarps] = 0;
  const Operand &source = problem.source, &suspects = problem.suspects;
  const int source_last = source.chunk_bytes(source.chunks - 1);
  const int suspect_last = suspects.chunk_bytes(suspects.chunks - 1);
  Tiles<kParts> tiles(problem, 0, first, end);
  float reference[kThreadEntries], c[kThreadEntries];
  for (TileWalk walk(problem.schedule, blockIdx.x); !walk.ended; walk.next(problem.schedule, gridDim.x)) {
    const int weight = problem.weight(walk.row, walk.col);
    for (int s = first - 1; s < end; ++s) {
      const bool is_source = s < first;
      tiles.compute(is_source ? source.chunks : suspects.chunks, is_source ? source_last : suspect_last, c);
      if (is_source) {
        epilogue<kRbf>(problem, source, 0, walk, c);
#pragma unroll
        for (int e = 0; e < kThreadEntries; ++e) reference[e] = c[e];
        continue;
      }
      epilogue<kRbf>(problem, suspects, s, walk, c);
#pragma unroll
      for (int e = 0; e < kThreadEntries; ++e) c[e] -= reference[e];
      const double sum = warp_sum(weight * static_cast<double>(abs_sum(c)));
      if (threadIdx.x % 32 == 0) warp_totals[(s - first) * kSummingWarps] += sum;
    }
  }
  write_totals(problem, first, end, totals);
}

}  // namespace sac::warp_tiles
