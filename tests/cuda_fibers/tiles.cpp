// Functions that ctypes can call, for tests/test_tiles_emulated.py; linked with the sources of the tile kernels.
#include "cuda/detail/launch.cuh"
#include "sac/correlation_distance.h"
#include "sac/correlation_distances.h"
#include "sac/correlation_matrix.h"
#include "sac/detail/packed_tiles.h"
#include "sac/detail/tile_grid.h"
#include "sac/detail/tile_walk.h"

extern "C" {

void emulate(int capability, int processors) {
  sac::emulated_capability = capability;
  sac::emulated_processors = processors;
}
void schedule(int turns, bool early) {
  fibers::turns = static_cast<unsigned>(turns);
  fibers::early = early;
}

const char* launched() { return sac::launched.c_str(); }

std::int64_t packed_bytes(std::int64_t rows, std::int64_t k, int parts) { return sac::packed_bytes(rows, k, parts); }

std::int64_t model_offset(std::int64_t row, std::int64_t coordinate, int part, std::int64_t k, int parts) {
  return sac::model_offset(row, coordinate, part, sac::steps_of(k), parts);
}

void split_numbers(const double* x, std::int64_t count, std::uint16_t* hi, std::uint16_t* lo) {
  for (std::int64_t i = 0; i < count; ++i) {
    const sac::SplitNumber number = sac::split_number(x[i]);
    hi[i] = number.hi;
    lo[i] = number.lo;
  }
}

void half_bits(const float* x, std::int64_t count, std::uint16_t* out) {
  for (std::int64_t i = 0; i < count; ++i) out[i] = sac::half_bits(x[i]);
}
void half_values(const std::uint16_t* x, std::int64_t count, float* out) {
  for (std::int64_t i = 0; i < count; ++i) out[i] = sac::half_value(x[i]);
}

// Steps first, first + stride, … of a schedule: row, column, weight as of tiles; returns how many.
std::int64_t walk(int rows, int cols, bool triangle, std::int64_t first, std::int64_t stride, std::int64_t most,
                  std::int64_t* out) {
  const sac::TileSchedule schedule{rows, cols, triangle};
  std::int64_t found = 0;
  for (sac::TileWalk walk(schedule, first); !walk.ended && found < most; walk.next(schedule, stride), ++found) {
    out[3 * found] = walk.row;
    out[3 * found + 1] = walk.col;
    out[3 * found + 2] = sac::tile_weight(rows, cols, triangle, walk.row, walk.col);
  }
  return found;
}
std::int64_t walk_steps(int rows, int cols, bool triangle) {
  return sac::steps_of(sac::TileSchedule{rows, cols, triangle});
}
void tile_grid(std::int64_t tiles, std::int64_t suspects, std::int64_t processors, std::int64_t* out) {
  const sac::TileGrid grid = sac::tile_grid(tiles, suspects, processors);
  out[0] = grid.blocks;
  out[1] = grid.per_group;
}

int tile_weight(int rows, int cols, bool triangle, int row, int col) {
  return sac::tile_weight(rows, cols, triangle, row, col);
}

void pack_rows(const void* x, int dtype, std::int64_t models, std::int64_t model_stride, std::int64_t rows,
               std::int64_t k, std::int64_t row_stride, std::int64_t col_stride, bool centre, int parts, void* packed,
               float* norms, std::int64_t first_row, std::int64_t* bad) {
  sac::pack_rows_cuda({{x, static_cast<sac::DType>(dtype), rows, k, row_stride, col_stride},
                       models,
                       model_stride,
                       centre,
                       parts,
                       packed,
                       norms,
                       first_row,
                       bad},
                      nullptr);
}

std::int64_t plan_blocks(std::int64_t rows, std::int64_t cols, bool square, int parts, double bandwidth, int kernel,
                         std::int64_t count) {
  return sac::correlation_distances_plan({rows, cols, square, parts, bandwidth, static_cast<sac::TileKernel>(kernel)},
                                         count)
      .blocks;
}

sac::PackedModels packed_models(const void* const* p, std::int64_t k) {
  return {p[0], p[1], static_cast<const float*>(p[2]), static_cast<const float*>(p[3]), k};
}

void correlation_distances(std::int64_t rows, std::int64_t cols, bool square, int parts, double bandwidth, int kernel,
                           const void* const* source, std::int64_t source_k, const void* const* suspects,
                           std::int64_t suspect_k, std::int64_t count, double* partial) {
  sac::correlation_distances_tiles({rows, cols, square, parts, bandwidth, static_cast<sac::TileKernel>(kernel)},
                                   packed_models(source, source_k), packed_models(suspects, suspect_k), count, partial,
                                   nullptr);
}

void correlation_matrix(std::int64_t n, double bandwidth, const void* const* models, std::int64_t k, std::int64_t count,
                        bool vector, float* out) {
  sac::correlation_matrix_tiles({n, n, true, 2, bandwidth, sac::TileKernel::automatic}, packed_models(models, k), count,
                                vector, out, nullptr);
}

std::int64_t wide_blocks(std::int64_t n) { return sac::correlation_distance_cuda_blocks(n); }

void correlation_distance_wide(const double* a, std::int64_t k_a, const double* b, std::int64_t k_b, std::int64_t n,
                               double bandwidth, double* partial) {
  sac::correlation_distance_cuda(a, k_a, b, k_b, n, bandwidth, partial, nullptr);
}

}  // extern "C"
