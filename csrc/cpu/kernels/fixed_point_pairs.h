// L1 distances between all pairs of rows of fixed-point numbers: Σ |a − b| = Σ a + Σ b − 2 Σ min(a, b). That takes two
// instructions for each vector where |a − b| takes three, and sums of integers are exact: nothing cancels.
#pragma once

#include "cpu/kernels/reduce_lanes.h"

namespace sac {
namespace {

using FixedPoint = Vector<std::int32_t>;
constexpr std::int64_t kFixedLanes = SAC_VECTOR_BYTES / sizeof(std::int32_t);

// Vectors whose lanes are summed in 32 bits: 60 · 2²⁵ < 2³¹. As many of kModelTile rows stay in the L1 cache.
constexpr std::int64_t kFixedRun = 60;
// Columns of a tile: as many sums as the registers hold beside kModelTile rows.
constexpr int kFixedColumns = SAC_VECTOR_BYTES == 64 ? 4 : 2;
static_assert(kModelTile % kFixedColumns == 0, "a tile of models must hold whole register tiles");

inline FixedPoint load_fixed(const std::int32_t* p) { return *reinterpret_cast<const FixedPoint*>(p); }

std::int64_t to_fixed_point(const float* values, std::int64_t count, std::int32_t* out) {
  std::int64_t sum = 0;
  for (std::int64_t e = 0; e < count;) {
    const std::int64_t stop = count - e < kFixedRun * kFixedLanes ? count : e + kFixedRun * kFixedLanes;
    FixedPoint run{};
    for (; e < stop; e += kFixedLanes) {
      const Vector<float> scaled = load<float>(values + e) * kFixedPointOne;
      FixedPoint steps = __builtin_convertvector(scaled, FixedPoint);
      const Vector<float> rest = scaled - __builtin_convertvector(steps, Vector<float>);
      steps += (rest <= broadcast(-0.5f)) - (rest >= broadcast(0.5f));  // a comparison that holds is −1
      *reinterpret_cast<FixedPoint*>(out + e) = steps;
      run += steps;
    }
    for (int l = 0; l < kFixedLanes; ++l) sum += run[l];
  }
  return sum;
}

// One register tile over at most kFixedRun vectors. `ahead` comes into the L2 cache meanwhile.
inline __attribute__((always_inline)) void minima_tile(const std::int32_t* x, const std::int32_t* y,
                                                       std::int64_t stride, std::int64_t count,
                                                       const std::int32_t* ahead, std::int64_t* sums,
                                                       std::int64_t sums_stride) {
  typedef std::uint32_t Unsigned __attribute__((vector_size(SAC_VECTOR_BYTES)));
  typedef std::uint64_t Halves __attribute__((vector_size(SAC_VECTOR_BYTES)));
  constexpr int tile = kModelTile * kFixedColumns;
  // 2³¹ and the sum of the minima, modulo 2³²: never below 0
  Unsigned minima[kModelTile][kFixedColumns];
#pragma GCC unroll 4
  for (int i = 0; i < kModelTile; ++i)
#pragma GCC unroll 4
    for (int j = 0; j < kFixedColumns; ++j) minima[i][j] = Unsigned{} + (1u << 31);
  for (std::int64_t e = 0; e < count; e += kFixedLanes) {
    FixedPoint a[kModelTile];
    __builtin_prefetch(ahead + e, 0, 2);
#pragma GCC unroll 4
    for (int i = 0; i < kModelTile; ++i) {
      FixedPoint row = load_fixed(x + i * stride + e);
      keep_in_register(row);
      a[i] = row;
    }
#pragma GCC unroll 4
    for (int j = 0; j < kFixedColumns; ++j) {
      FixedPoint b = load_fixed(y + j * stride + e);
      keep_in_register(b);
#pragma GCC unroll 4
      for (int i = 0; i < kModelTile; ++i) minima[i][j] += (Unsigned)(a[i] < b ? a[i] : b);
    }
  }
  WideVector wide[tile];
#pragma GCC unroll 16
  for (int s = 0; s < tile; ++s) {
    const Halves both = (Halves)minima[s / kFixedColumns][s % kFixedColumns];
    wide[s] = (WideVector)((both & 0xffffffffu) + (both >> 32));
  }
  alignas(SAC_VECTOR_BYTES) std::int64_t found[tile];
#pragma GCC unroll 8
  for (int s = 0; s < tile; s += kWideLanes)
    *reinterpret_cast<WideVector*>(found + s) = reduce_lanes<kWideLanes>(wide + s) - (kFixedLanes << 31);
#pragma GCC unroll 4
  for (int i = 0; i < kModelTile; ++i)
#pragma GCC unroll 4
    for (int j = 0; j < kFixedColumns; ++j) sums[i * sums_stride + j] += found[i * kFixedColumns + j];
}

void sum_minima(const std::int32_t* x, std::int64_t nx, const std::int32_t* y, std::int64_t ny, std::int64_t stride,
                std::int64_t count, bool triangle, std::int64_t* sums, std::int64_t sums_stride) {
  const std::int64_t vectors = count / kFixedLanes, runs = (vectors + kFixedRun - 1) / kFixedRun;
  for (std::int64_t r = 0; r < runs; ++r) {
    const std::int64_t first = vectors * r / runs * kFixedLanes, last = vectors * (r + 1) / runs * kFixedLanes;
    const std::int64_t next = r + 1 < runs ? last : first;
    std::int64_t row_ahead = 0;
    for (std::int64_t i = 0; i < nx; i += kModelTile)
      for (std::int64_t j = triangle ? i : 0; j < ny; j += kFixedColumns) {
        const std::int32_t* ahead = row_ahead < nx ? x + row_ahead * stride : y + (row_ahead - nx) * stride;
        minima_tile(x + i * stride + first, y + j * stride + first, stride, last - first, ahead + next,
                    sums + i * sums_stride + j, sums_stride);
        if (row_ahead < nx + ny - 1) ++row_ahead;
      }
  }
}

}  // namespace
}  // namespace sac
