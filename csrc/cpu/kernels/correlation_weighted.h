// The inner loop of correlation_distance_weighted: a run of blocks of D times the weights of a tile of replicates.
#pragma once

#include "cpu/kernels/rank_one.h"

namespace sac {
namespace {

// Lines of one float32 sum: nothing cancels here, so its rounding grows with their number.
constexpr std::int64_t kWeightedLines = 32;

template <typename T>
void weighted_sums(const T* values, std::int64_t lines, const T* u, const T* v, std::int64_t stride, double* sums) {
  constexpr int width = Shape<T>::width, tile = SAC_TILE_ROWS;
  Vector<T> acc[tile][SAC_TILE_VECTORS], total[tile][SAC_TILE_VECTORS];
  clear<T, tile>(total);
  for (std::int64_t i = 0; i < lines;) {
    const std::int64_t stop = lines - i < kWeightedLines ? lines : i + kWeightedLines;
    clear<T, tile>(acc);
    for (; i < stop; ++i, u += tile, values += width) rank_one<T, tile, true>(u, values, acc);
    add_to<T, tile>(total, acc);
  }
#pragma GCC unroll 16
  for (int r = 0; r < tile; ++r) {
    Vector<T> sum{};
#pragma GCC unroll 8
    for (int c = 0; c < SAC_TILE_VECTORS; ++c) sum += total[r][c] * load<T>(v + r * stride + c * Shape<T>::lanes);
    sums[r] += static_cast<double>(reduce_add<T>(sum));
  }
}

}  // namespace
}  // namespace sac
