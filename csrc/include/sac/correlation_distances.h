// correlation_distances: the distance of one source to each of many suspects.
//
//   d_s = d(source, suspect_s),   d as in sac/correlation_distance.h
//
// All models ran on the same n probes, k may differ.
#pragma once

#include <cstdint>
#include <vector>

#include "sac/detail/cancelled.h"
#include "sac/detail/cpu_options.h"
#include "sac/detail/matrix_view.h"
#include "sac/detail/metric.h"
#include "sac/detail/packed_tiles.h"
#include "sac/detail/tile_shape.h"

namespace sac {

// distances: one for each suspect. Sums are float32 within a short chunk (float64 when an input is float64, or rbf
// needs it), float64 across chunks, in a fixed order. Throws std::invalid_argument naming model and row ("suspects[3]
// must be finite, got NaN or Inf in row 17"), Cancelled when asked to stop.
void correlation_distances_cpu(const MatrixView& source, const std::vector<MatrixView>& suspects, Metric metric,
                               double sigma, const CpuOptions& options, double* distances);

// How correlation_distances_tiles is launched on the current device.
struct TilePlan {
  std::int64_t blocks;              // partial sums of each suspect
  std::int64_t suspects_per_group;  // which the blocks of one grid row process in turn
  bool warpgroup;
  bool clusters;  // of two blocks, for a single suspect
};
TilePlan correlation_distances_plan(const TileShape& shape, std::int64_t suspects);

// CUDA on tensor cores. partial: suspects × plan.blocks; the sum of a row is that of |C^source − C^suspect| over the
// square, or twice that over the rectangle (tile_shape.h). A tile is the sum of chunks: tensor cores truncate, so they
// sum at most 64 coordinates from zero, and chunks are added in float32 with rounding. Sums of |·| are float32 over the
// 64 or 128 entries of a thread, then float64, in a fixed order. Launches on `stream` (a cudaStream_t) and does not
// wait. Throws std::runtime_error with the kernel's name if the launch fails.
void correlation_distances_tiles(const TileShape& shape, const PackedModels& source, const PackedModels& suspects,
                                 std::int64_t count, double* partial, void* stream);

}  // namespace sac
