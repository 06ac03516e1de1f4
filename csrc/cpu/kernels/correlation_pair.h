// The inner loops for one pair of models: Σ |C^a − C^b| from the accumulators, or the block of |C^a − C^b|.
#pragma once

#include "cpu/kernels/rank_one.h"

namespace sac {
namespace {

// Adds to acc the products of `count` pairs of lines: a minus b.
template <typename T, int Rows>
inline __attribute__((always_inline)) void add_pairs(const T* rows, const T* cols, std::int64_t count,
                                                     Vector<T> (&acc)[Rows][SAC_TILE_VECTORS]) {
  constexpr int width = Shape<T>::width;
  for (std::int64_t i = 0; i < count; ++i, rows += 2 * width, cols += 2 * width) {
    rank_one<T, Rows, true>(rows, cols, acc);
    rank_one<T, Rows, false>(rows + width, cols + width, acc);
  }
}

// The same, while the lines of the next chunk come from the L2 cache: as many of them as are a tile's share.
template <typename T, int Rows>
inline __attribute__((always_inline)) void add_pairs_and_fetch(const T* rows, const T* cols, std::int64_t count,
                                                               const T* next_rows, const T* next_cols,
                                                               Vector<T> (&acc)[Rows][SAC_TILE_VECTORS]) {
  constexpr int width = Shape<T>::width, share = 2 * Rows, cache_line = 64 / sizeof(T);
  for (std::int64_t i = 0; i < count; ++i, rows += 2 * width, cols += 2 * width) {
#pragma GCC unroll 4
    for (int at = 0; at < share; at += cache_line) {
      __builtin_prefetch(next_rows + i * share + at);
      __builtin_prefetch(next_cols + i * share + at);
    }
    rank_one<T, Rows, true>(rows, cols, acc);
    rank_one<T, Rows, false>(rows + width, cols + width, acc);
  }
}

// The products of `count` lines of the longer one, a or minus b.
template <typename T, int Rows>
inline __attribute__((always_inline)) void add_rest(const T* rows, const T* cols, std::int64_t count, bool is_a,
                                                    Vector<T> (&acc)[Rows][SAC_TILE_VECTORS]) {
  constexpr int width = Shape<T>::width;
  if (is_a)
    for (std::int64_t i = 0; i < count; ++i, rows += width, cols += width) rank_one<T, Rows, true>(rows, cols, acc);
  else
    for (std::int64_t i = 0; i < count; ++i, rows += width, cols += width) rank_one<T, Rows, false>(rows, cols, acc);
}

// C^a − C^b of a tile of Rows × width, of rows short enough for one sum.
template <typename T, int Rows>
inline __attribute__((always_inline)) void difference_dot(const PackedPairView<T>& z, const T* rows, const T* cols,
                                                          Vector<T> (&acc)[Rows][SAC_TILE_VECTORS]) {
  constexpr int width = Shape<T>::width;
  clear<T, Rows>(acc);
  add_pairs<T, Rows>(rows, cols, z.pairs, acc);
  add_rest<T, Rows>(rows + 2 * z.pairs * width, cols + 2 * z.pairs * width, z.rest, z.rest_is_a, acc);
}

// The sums of a block of width × width, tile by tile: of the run of chunks that is being added, and what rounding lost
// of the runs before it.
template <typename T>
struct BlockSums {
  static constexpr int size = Shape<T>::width * Shape<T>::width;
  alignas(64) T run[size], left[size];
  std::int64_t chunks = 0;
};

// One chunk of all tiles of a block: add(first, acc) adds its products to those of the tile whose first row is `first`.
// Sums of runs are added up in `total`.
template <typename T, typename AddChunk>
inline __attribute__((always_inline)) void add_chunk(BlockSums<T>& sums, bool is_last, T* total, const AddChunk& add) {
  constexpr int width = Shape<T>::width, rows = SAC_TILE_ROWS;
  const bool begins = sums.chunks % kChunksInRun == 0, is_first_run = sums.chunks < kChunksInRun;
  const bool ends = ++sums.chunks % kChunksInRun == 0 || is_last;
  for (int first = 0; first < width; first += rows) {
    Vector<T> acc[rows][SAC_TILE_VECTORS];
    clear<T, rows>(acc);
    add(first, acc);
    auto& run = tile_at<T, rows>(sums.run + first * width);
    auto& left = tile_at<T, rows>(sums.left + first * width);
    auto& all = tile_at<T, rows>(total + first * width);
    if (!begins) add_to<T, rows>(acc, run);
    if (!ends) {
      copy<T, rows>(acc, run);
    } else if (is_first_run) {
      copy<T, rows>(acc, all);
      clear<T, rows>(left);
    } else {
      add_to<T, rows>(acc, left);
      add_compensated<T, rows>(all, acc);
      copy<T, rows>(acc, left);
    }
  }
}

// C^a − C^b of the block (p, q) of long rows, width × width, in `out`. The tiles of the block go through the lines
// chunk by chunk, so that the lines of a chunk are read from the L1 cache by all tiles but the first.
template <typename T>
inline void long_difference(const PackedPairView<T>& z, std::int64_t p, std::int64_t q, T* out) {
  constexpr int width = Shape<T>::width;
  using Acc = Vector<T>[SAC_TILE_ROWS][SAC_TILE_VECTORS];
  BlockSums<T> sums;
  const std::int64_t panel = (2 * z.pairs + z.rest) * width;
  const T *rows = z.lines + p * panel, *cols = z.lines + q * panel;
  for (std::int64_t left = z.pairs; left > 0;) {
    const std::int64_t count = left < kChunk ? left : kChunk;
    left -= count;
    add_chunk<T>(sums, left + z.rest == 0, out, [=](int first, Acc& acc) __attribute__((always_inline)) {
      const T* next = rows + 2 * count * width + 2 * count * first;
      add_pairs_and_fetch<T, SAC_TILE_ROWS>(rows + first, cols, count, next, next + (cols - rows), acc);
    });
    rows += 2 * count * width;
    cols += 2 * count * width;
  }
  for (std::int64_t left = z.rest; left > 0;) {
    const std::int64_t count = left < kChunk ? left : kChunk;
    left -= count;
    add_chunk<T>(sums, left == 0, out, [=, is_a = z.rest_is_a](int first, Acc& acc) __attribute__((always_inline)) {
      add_rest<T, SAC_TILE_ROWS>(rows + first, cols, count, is_a, acc);
    });
    rows += count * width;
    cols += count * width;
  }
  for (int i = 0; i < width * width; i += Shape<T>::lanes)
    *reinterpret_cast<Vector<T>*>(out + i) += load<T>(sums.left + i);
}

// Σ_lanes |C^a − C^b| of a tile of Rows × width.
template <typename T, int Rows>
inline Vector<T> tile_dot(const PackedPairView<T>& z, const T* rows, const T* cols) {
  Vector<T> acc[Rows][SAC_TILE_VECTORS];
  difference_dot<T, Rows>(z, rows, cols, acc);
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

// Σ_lanes |C^a − C^b| of a block of long rows.
template <typename T>
inline Vector<T> block_long_dot(const PackedPairView<T>& z, std::int64_t p, std::int64_t q) {
  constexpr int width = Shape<T>::width, lanes = Shape<T>::lanes;
  alignas(64) T apart[width * width];
  long_difference<T>(z, p, q, apart);
  Vector<T> sums[SAC_TILE_ROWS] = {};
  for (int i = 0; i < width * width; i += SAC_TILE_ROWS * lanes)
#pragma GCC unroll 16
    for (int s = 0; s < SAC_TILE_ROWS; ++s) sums[s] += absolute<T>(load<T>(apart + i + s * lanes));
  for (int s = 1; s < SAC_TILE_ROWS; ++s) sums[0] += sums[s];
  return sums[0];
}

// C^a and C^b of a tile of Rows × width.
template <typename T, int Rows>
inline __attribute__((always_inline)) void correlations_rbf(const PackedPairView<T>& z, const T* rows, const T* cols,
                                                            std::int64_t row0, std::int64_t col0,
                                                            Vector<T> (&a)[Rows][SAC_TILE_VECTORS],
                                                            Vector<T> (&b)[Rows][SAC_TILE_VECTORS]) {
  constexpr int width = Shape<T>::width;
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
      a[r][v] = rbf_of<T>(a[r][v], z.norms_a[row0 + r], load<T>(z.norms_a + col), z.inverse_bandwidth);
      b[r][v] = rbf_of<T>(b[r][v], z.norms_b[row0 + r], load<T>(z.norms_b + col), z.inverse_bandwidth);
    }
}

// |C^a − C^b| of a tile of Rows × width, in `a`.
template <typename T, int Rows>
inline __attribute__((always_inline)) void difference_rbf(const PackedPairView<T>& z, const T* rows, const T* cols,
                                                          std::int64_t row0, std::int64_t col0,
                                                          Vector<T> (&a)[Rows][SAC_TILE_VECTORS]) {
  Vector<T> b[Rows][SAC_TILE_VECTORS];
  correlations_rbf<T, Rows>(z, rows, cols, row0, col0, a, b);
  for (int r = 0; r < Rows; ++r)
    for (int v = 0; v < SAC_TILE_VECTORS; ++v) a[r][v] = absolute<T>(a[r][v] - b[r][v]);
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
      if constexpr (Kind == Tile::long_dot)
        sum = block_long_dot<T>(z, p, q);
      else
        for (int r = 0; r < width; r += tile_rows) {
          const T* rows = z.lines + p * panel + r;
          if constexpr (Kind == Tile::rbf)
            sum += tile_rbf<T, tile_rows>(z, rows, cols, p * width + r, q * width);
          else
            sum += tile_dot<T, tile_rows>(z, rows, cols);
        }
      total += (p == q ? 1.0 : 2.0) * static_cast<double>(reduce_add<T>(sum));
    }
  }
  return total;
}

template <typename T>
double group_sum_dot(const PackedPairView<T>& z, std::int64_t p0, std::int64_t p1, std::int64_t q0, std::int64_t q1) {
  return z.pairs + z.rest > kMaxAtOnce ? group_sum_of<T, Tile::long_dot>(z, p0, p1, q0, q1)
                                       : group_sum_of<T, Tile::dot>(z, p0, p1, q0, q1);
}

template <typename T, Tile Kind>
void pair_block_of(const PackedPairView<T>& z, std::int64_t p, std::int64_t q, T scale, T* out) {
  constexpr int width = Shape<T>::width, lanes = Shape<T>::lanes;
  if constexpr (Kind == Tile::long_dot) {
    long_difference<T>(z, p, q, out);
    for (int i = 0; i < width * width; i += lanes)
      *reinterpret_cast<Vector<T>*>(out + i) = absolute<T>(load<T>(out + i)) * scale;
    return;
  }
  constexpr int tile_rows = Kind == Tile::rbf ? SAC_TILE_ROWS / 2 : SAC_TILE_ROWS;
  const std::int64_t panel = (2 * z.pairs + z.rest) * width;
  for (int first = 0; first < width; first += tile_rows) {
    const T *rows = z.lines + p * panel + first, *cols = z.lines + q * panel;
    Vector<T> apart[tile_rows][SAC_TILE_VECTORS];
    if constexpr (Kind == Tile::rbf)
      difference_rbf<T, tile_rows>(z, rows, cols, p * width + first, q * width, apart);
    else
      difference_dot<T, tile_rows>(z, rows, cols, apart);
#pragma GCC unroll 16
    for (int r = 0; r < tile_rows; ++r)
#pragma GCC unroll 8
      for (int v = 0; v < SAC_TILE_VECTORS; ++v)
        *reinterpret_cast<Vector<T>*>(out + (first + r) * width + v * lanes) = absolute<T>(apart[r][v]) * scale;
  }
}

template <typename T>
void pair_block_dot(const PackedPairView<T>& z, std::int64_t p, std::int64_t q, T scale, T* out) {
  if (z.pairs + z.rest > kMaxAtOnce)
    pair_block_of<T, Tile::long_dot>(z, p, q, scale, out);
  else
    pair_block_of<T, Tile::dot>(z, p, q, scale, out);
}

}  // namespace
}  // namespace sac
