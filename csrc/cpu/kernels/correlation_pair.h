// The inner loops for one pair of models: Σ |C^a − C^b| from the accumulators, or the block of |C^a − C^b|.
#pragma once

#include "cpu/kernels/simd.h"

namespace sac {
namespace {

// Long rows are summed in chunks, so that rounding grows with the chunk and not with k. Where products are equal
// (constant rows, hard labels), every addition may round the same way: 24 of them are wrong by 12·2⁻²⁴ = 7e-7 at most.
constexpr std::int64_t kChunk = 24;

// C^a − C^b of a tile of Rows × width.
template <typename T, int Rows, bool Chunked>
inline __attribute__((always_inline)) void difference_dot(const PackedPairView<T>& z, const T* rows, const T* cols,
                                                          Vector<T> (&acc)[Rows][SAC_TILE_VECTORS]) {
  constexpr int width = Shape<T>::width;
  clear<T, Rows>(acc);
  Vector<T> total[Chunked ? Rows : 1][SAC_TILE_VECTORS];
  if constexpr (Chunked) clear<T, Rows>(total);
  for (std::int64_t done = 0; done < z.pairs;) {
    const std::int64_t stop = z.pairs - done < kChunk ? z.pairs : done + kChunk;
    for (; done < stop; ++done, rows += 2 * width, cols += 2 * width) {
      rank_one<T, Rows, true>(rows, cols, acc);
      rank_one<T, Rows, false>(rows + width, cols + width, acc);
    }
    if constexpr (Chunked) add_compensated<T, Rows>(total, acc);
  }
  for (std::int64_t done = 0; done < z.rest;) {
    const std::int64_t stop = z.rest - done < kChunk ? z.rest : done + kChunk;
    if (z.rest_is_a)
      for (; done < stop; ++done, rows += width, cols += width) rank_one<T, Rows, true>(rows, cols, acc);
    else
      for (; done < stop; ++done, rows += width, cols += width) rank_one<T, Rows, false>(rows, cols, acc);
    if constexpr (Chunked) add_compensated<T, Rows>(total, acc);
  }
  if constexpr (Chunked) add_to<T, Rows>(acc, total);
}

// Σ_lanes |C^a − C^b| of a tile of Rows × width.
template <typename T, int Rows, bool Chunked>
inline Vector<T> tile_dot(const PackedPairView<T>& z, const T* rows, const T* cols) {
  Vector<T> acc[Rows][SAC_TILE_VECTORS];
  difference_dot<T, Rows, Chunked>(z, rows, cols, acc);
  Vector<T> sum[SAC_TILE_VECTORS];
#pragma GCC unroll 8
  for (int v = 0; v < SAC_TILE_VECTORS; ++v) {
    sum[v] = absolute<T>(acc[0][v]);
#pragma GCC unroll 16
    for (int r = 1; r < Rows; ++r) sum[v] += absolute<T>(acc[r][v]);
  }
#pragma GCC unroll 8
  for (int v = 1; v < SAC_TILE_VECTORS; ++v) sum[0] += sum[v];
  return sum[0];
}

// |C^a − C^b| of a tile of Rows × width, in `a`.
template <typename T, int Rows>
inline __attribute__((always_inline)) void difference_rbf(const PackedPairView<T>& z, const T* rows, const T* cols,
                                                          std::int64_t row0, std::int64_t col0,
                                                          Vector<T> (&a)[Rows][SAC_TILE_VECTORS]) {
  constexpr int width = Shape<T>::width;
  Vector<T> b[Rows][SAC_TILE_VECTORS];
  clear<T, Rows>(a);
  clear<T, Rows>(b);
  for (std::int64_t i = 0; i < z.pairs; ++i, rows += 2 * width, cols += 2 * width) {
    rank_one<T, Rows, true>(rows, cols, a);
    rank_one<T, Rows, true>(rows + width, cols + width, b);
  }
  if (z.rest_is_a)
    for (std::int64_t i = 0; i < z.rest; ++i, rows += width, cols += width) rank_one<T, Rows, true>(rows, cols, a);
  else
    for (std::int64_t i = 0; i < z.rest; ++i, rows += width, cols += width) rank_one<T, Rows, true>(rows, cols, b);
  for (int r = 0; r < Rows; ++r)
    for (int v = 0; v < SAC_TILE_VECTORS; ++v) {
      const std::int64_t col = col0 + v * Shape<T>::lanes;
      a[r][v] = absolute<T>(rbf_of<T>(a[r][v], z.norms_a[row0 + r], load<T>(z.norms_a + col), z.inverse_bandwidth) -
                            rbf_of<T>(b[r][v], z.norms_b[row0 + r], load<T>(z.norms_b + col), z.inverse_bandwidth));
    }
}

template <typename T, int Rows>
inline Vector<T> tile_rbf(const PackedPairView<T>& z, const T* rows, const T* cols, std::int64_t row0,
                          std::int64_t col0) {
  Vector<T> apart[Rows][SAC_TILE_VECTORS];
  difference_rbf<T, Rows>(z, rows, cols, row0, col0, apart);
  Vector<T> sum{};
  for (int r = 0; r < Rows; ++r)
    for (int v = 0; v < SAC_TILE_VECTORS; ++v) sum += apart[r][v];
  return sum;
}

enum class Tile { dot, long_dot, rbf };

template <typename T, Tile Kind>
double group_sum_of(const PackedPairView<T>& z, std::int64_t p0, std::int64_t p1, std::int64_t q0, std::int64_t q1) {
  constexpr int width = Shape<T>::width;
  // rbf keeps two sets of accumulators, so its tile is half as tall
  constexpr int tile_rows = Kind == Tile::rbf ? SAC_TILE_ROWS / 2 : SAC_TILE_ROWS;
  static_assert(width % tile_rows == 0, "a panel must hold whole tiles");
  const std::int64_t panel = (2 * z.pairs + z.rest) * width;
  double total = 0;
  for (std::int64_t q = q0; q < q1; ++q) {
    const T* cols = z.lines + q * panel;
    for (std::int64_t p = p0; p < p1 && p <= q; ++p) {
      Vector<T> sum{};
      for (int r = 0; r < width; r += tile_rows) {
        const T* rows = z.lines + p * panel + r;
        if constexpr (Kind == Tile::rbf)
          sum += tile_rbf<T, tile_rows>(z, rows, cols, p * width + r, q * width);
        else
          sum += tile_dot<T, tile_rows, Kind == Tile::long_dot>(z, rows, cols);
      }
      total += (p == q ? 1.0 : 2.0) * static_cast<double>(reduce_add<T>(sum));
    }
  }
  return total;
}

template <typename T>
double group_sum_dot(const PackedPairView<T>& z, std::int64_t p0, std::int64_t p1, std::int64_t q0, std::int64_t q1) {
  return z.pairs + z.rest > kChunk ? group_sum_of<T, Tile::long_dot>(z, p0, p1, q0, q1)
                                   : group_sum_of<T, Tile::dot>(z, p0, p1, q0, q1);
}

template <typename T, Tile Kind>
void pair_block_of(const PackedPairView<T>& z, std::int64_t p, std::int64_t q, T scale, T* out) {
  constexpr int width = Shape<T>::width;
  constexpr int tile_rows = Kind == Tile::rbf ? SAC_TILE_ROWS / 2 : SAC_TILE_ROWS;
  const std::int64_t panel = (2 * z.pairs + z.rest) * width;
  for (int first = 0; first < width; first += tile_rows) {
    const T *rows = z.lines + p * panel + first, *cols = z.lines + q * panel;
    Vector<T> apart[tile_rows][SAC_TILE_VECTORS];
    if constexpr (Kind == Tile::rbf)
      difference_rbf<T, tile_rows>(z, rows, cols, p * width + first, q * width, apart);
    else
      difference_dot<T, tile_rows, Kind == Tile::long_dot>(z, rows, cols, apart);
#pragma GCC unroll 16
    for (int r = 0; r < tile_rows; ++r)
#pragma GCC unroll 8
      for (int v = 0; v < SAC_TILE_VECTORS; ++v)
        *reinterpret_cast<Vector<T>*>(out + (first + r) * width + v * Shape<T>::lanes) =
            absolute<T>(apart[r][v]) * scale;
  }
}

template <typename T>
void pair_block_dot(const PackedPairView<T>& z, std::int64_t p, std::int64_t q, T scale, T* out) {
  if (z.pairs + z.rest > kChunk)
    pair_block_of<T, Tile::long_dot>(z, p, q, scale, out);
  else
    pair_block_of<T, Tile::dot>(z, p, q, scale, out);
}

}  // namespace
}  // namespace sac
