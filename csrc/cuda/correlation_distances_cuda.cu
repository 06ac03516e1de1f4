// Launcher of correlation_distances_tiles: chooses the kernel and the grid.
#include <algorithm>

#include "cuda/detail/launch.cuh"
#include "cuda/detail/tile_launch.cuh"
#include "cuda/detail/warp_distances.cuh"
#include "cuda/detail/warpgroup_distances.cuh"
#include "sac/correlation_distances.h"

namespace sac {
namespace {

template <int kParts, bool kRbf>
void launch_warp(const TileProblem& problem, dim3 grid, void* stream) {
  launch_kernel("correlation_distances_warp_kernel", warp_tiles::correlation_distances_warp_kernel<kParts, kRbf>, grid,
                warp_tiles::kThreads, warp_tiles::kSharedBytes, stream, problem);
}

template <int kParts>
void launch_warpgroup_pair(const TileProblem& problem, dim3 grid, void* stream) {
  launch_kernel("correlation_distance_warpgroup_kernel", warpgroup_tiles::correlation_distance_warpgroup_kernel<kParts>,
                grid, warpgroup_tiles::kThreads, static_cast<int>(sizeof(warpgroup_tiles::Shared<2>)), stream, problem,
                2);
}

template <int kParts, bool kRbf>
void launch_warpgroup(const TileProblem& problem, dim3 grid, void* stream) {
  launch_kernel("correlation_distances_warpgroup_kernel",
                warpgroup_tiles::correlation_distances_warpgroup_kernel<kParts, kRbf>, grid, warpgroup_tiles::kThreads,
                static_cast<int>(sizeof(warpgroup_tiles::Shared<1>)), stream, problem);
}

template <int kParts>
void launch(const TileProblem& problem, const TilePlan& plan, bool rbf, dim3 grid, void* stream) {
  if (plan.clusters)
    launch_warpgroup_pair<kParts>(problem, grid, stream);
  else if (plan.warpgroup)
    rbf ? launch_warpgroup<kParts, true>(problem, grid, stream)
        : launch_warpgroup<kParts, false>(problem, grid, stream);
  else
    rbf ? launch_warp<kParts, true>(problem, grid, stream) : launch_warp<kParts, false>(problem, grid, stream);
}

}  // namespace

TilePlan correlation_distances_plan(const TileShape& shape, std::int64_t suspects) {
  const std::int64_t processors = device_attribute(cudaDevAttrMultiProcessorCount);
  const bool warpgroup = uses_warpgroup(shape), rbf = shape.inverse_bandwidth > 0;
  if (warpgroup && suspects == 1 && !rbf && processors > 1)  // two blocks form a step of 2 × 2 tiles
    return {2 * std::min(steps_of(schedule_of(shape, 2)), processors / 2), 1, true, true};
  const TileGrid grid = tile_grid(steps_of(schedule_of(shape, 1)), suspects, processors);
  return {grid.blocks, grid.per_group, warpgroup, false};
}

void correlation_distances_tiles(const TileShape& shape, const PackedModels& source, const PackedModels& suspects,
                                 std::int64_t count, double* partial, void* stream) {
  const TilePlan plan = correlation_distances_plan(shape, count);
  TileProblem problem = problem_of(shape, source, plan.clusters ? 2 : 1);
  problem.suspects = operand_of(shape, suspects);
  problem.count = static_cast<std::int32_t>(count);
  problem.per_group = static_cast<std::int32_t>(plan.suspects_per_group);
  problem.partial = partial;
  const dim3 grid(static_cast<unsigned>(plan.blocks), static_cast<unsigned>(ceil_div(count, plan.suspects_per_group)));
  const bool rbf = shape.inverse_bandwidth > 0;
  shape.parts == 2 ? launch<2>(problem, plan, rbf, grid, stream) : launch<1>(problem, plan, rbf, grid, stream);
}

}  // namespace sac
