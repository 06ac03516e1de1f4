// Shared by the launchers of the tensor-core kernels.
#pragma once

#include "cuda/detail/launch.cuh"
#include "cuda/detail/tile_problem.cuh"

namespace sac {

// Steps of side × side tiles.
inline TileSchedule schedule_of(const TileShape& shape, int side) {
  return {static_cast<std::int32_t>(ceil_div(row_tiles(shape.rows), side)),
          static_cast<std::int32_t>(ceil_div(row_tiles(shape.cols), side)), shape.square};
}

inline TileProblem problem_of(const TileShape& shape, const PackedModels& source, int side) {
  TileProblem problem{};
  problem.source = operand_of(shape, source);
  problem.schedule = schedule_of(shape, side);
  problem.rows = shape.rows;
  problem.cols = shape.cols;
  problem.row_tiles = static_cast<std::int32_t>(row_tiles(shape.rows));
  problem.col_tiles = static_cast<std::int32_t>(row_tiles(shape.cols));
  problem.inverse_bandwidth = static_cast<float>(shape.inverse_bandwidth);
  return problem;
}

// True if the wgmma kernels are to run. They are compiled for sm_90a only; CMake then defines SAC_CUDA_SM90A.
inline bool uses_warpgroup(const TileShape& shape) {
#ifdef SAC_CUDA_SM90A
  const bool available = device_attribute(cudaDevAttrComputeCapabilityMajor) == 9 &&
                         device_attribute(cudaDevAttrComputeCapabilityMinor) == 0;
#else
  const bool available = false;
#endif
  if (shape.kernel == TileKernel::warpgroup && !available)
    throw std::runtime_error("warpgroup kernels need a device of capability 9.0 and a build for sm_90a");
  return available && shape.kernel != TileKernel::warp;
}

}  // namespace sac
