// Launcher of correlation_distances_tiles: which kernel, how many blocks.
#include "cuda/correlation_distances_warp.cuh"
#include "cuda/launch.cuh"
#include "cuda/tile_launch.cuh"

namespace sac {
namespace {

template <int kParts, bool kRbf>
void launch_warp(const TileProblem& problem, dim3 grid, void* stream) {
  launch_kernel("correlation_distances_warp_kernel", warp_tiles::correlation_distances_warp_kernel<kParts, kRbf>, grid,
                warp_tiles::kThreads, warp_tiles::kSharedBytes, stream, problem);
}

}  // namespace

TilePlan correlation_distances_plan(const TileShape& shape, std::int64_t suspects) {
  const std::int64_t processors = device_attribute(cudaDevAttrMultiProcessorCount);
  const std::int64_t tiles = steps_of(schedule_of(shape, 1));
  const std::int64_t each = at_most(divided(suspects * at_most(tiles, processors), processors), kMostPerGroup);
  return {at_most(tiles, processors), each, false};
}

void correlation_distances_tiles(const TileShape& shape, const PackedModels& source, const PackedModels& suspects,
                                 std::int64_t count, double* partial, void* stream) {
  const TilePlan plan = correlation_distances_plan(shape, count);
  TileProblem problem = problem_of(shape, source, 1);
  problem.suspects = operand_of(shape, suspects);
  problem.count = static_cast<std::int32_t>(count);
  problem.per_group = static_cast<std::int32_t>(plan.suspects_per_group);
  problem.partial = partial;
  const dim3 grid(static_cast<unsigned>(plan.blocks), static_cast<unsigned>(divided(count, plan.suspects_per_group)));
  const bool rbf = shape.inverse_bandwidth > 0;
  if (shape.parts == 2)
    rbf ? launch_warp<2, true>(problem, grid, stream) : launch_warp<2, false>(problem, grid, stream);
  else
    rbf ? launch_warp<1, true>(problem, grid, stream) : launch_warp<1, false>(problem, grid, stream);
}

}  // namespace sac
