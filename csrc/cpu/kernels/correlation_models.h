// Inner loops of the ops on many models: blocks of C, and L1 distances between all pairs of rows.
#pragma once

#if defined(__SSE2__)
#include <immintrin.h>
#endif

#include "cpu/kernels/rank_one.h"

namespace sac {
namespace {

// Lines of a run. Nothing cancels in C itself, so float32's rounding is that of a sum near 1 (see kChunk).
constexpr std::int64_t kBlockRun = kChunk * kChunksInRun;

// Adds to acc the products of `count` lines.
template <typename T, int Rows>
inline __attribute__((always_inline)) void add_lines(const T* rows, const T* cols, std::int64_t count,
                                                     Vector<T> (&acc)[Rows][SAC_TILE_VECTORS]) {
  constexpr int width = Shape<T>::width;
  for (std::int64_t l = 0; l < count; ++l, rows += width, cols += width) rank_one<T, Rows, true>(rows, cols, acc);
}

// Adds to acc the products of a run of `count` lines, chunk by chunk.
template <typename T, int Rows>
inline __attribute__((always_inline)) void add_run(const T* rows, const T* cols, std::int64_t count,
                                                   Vector<T> (&acc)[Rows][SAC_TILE_VECTORS]) {
  constexpr std::int64_t chunk = kChunk * Shape<T>::width;
  if (count <= kChunk) {
    add_lines<T, Rows>(rows, cols, count, acc);
    return;
  }
  Vector<T> total[Rows][SAC_TILE_VECTORS];
  clear<T, Rows>(total);
  for (; count > kChunk; count -= kChunk, rows += chunk, cols += chunk) {
    add_lines<T, Rows>(rows, cols, kChunk, acc);
    add_to<T, Rows>(total, acc);
    clear<T, Rows>(acc);
  }
  add_lines<T, Rows>(rows, cols, count, acc);
  add_to<T, Rows>(acc, total);
}

// x_i · y_j of the block of the panels `rows` and `cols`, of more than one run, in `total`. The tiles of the block go
// through the lines run by run, so that the lines of a run are read from the L1 cache by all tiles but the first.
template <typename T>
inline void long_products(const T* rows, const T* cols, std::int64_t k, T* total) {
  constexpr int width = Shape<T>::width, lanes = Shape<T>::lanes, tile_rows = SAC_TILE_ROWS;
  alignas(64) T left[width * width] = {};
  for (int i = 0; i < width * width; i += lanes) *reinterpret_cast<Vector<T>*>(total + i) = Vector<T>{};
  for (; k > 0; k -= kBlockRun, rows += kBlockRun * width, cols += kBlockRun * width)
    for (int first = 0; first < width; first += tile_rows) {
      auto& tile_left = tile_at<T, tile_rows>(left + first * width);
      Vector<T> acc[tile_rows][SAC_TILE_VECTORS];
      copy<T, tile_rows>(tile_left, acc);
      add_run<T, tile_rows>(rows + first, cols, k < kBlockRun ? k : kBlockRun, acc);
      add_compensated<T, tile_rows>(tile_at<T, tile_rows>(total + first * width), acc);
      copy<T, tile_rows>(acc, tile_left);
    }
  for (int i = 0; i < width * width; i += lanes)
    *reinterpret_cast<Vector<T>*>(total + i) = load<T>(total + i) + load<T>(left + i);
}

// C of dot products, of a tile: of rbf in place of the products.
template <typename T, bool Rbf, int Rows>
inline __attribute__((always_inline)) void to_values(const PackedModelView<T>& z, std::int64_t row, std::int64_t col,
                                                     Vector<T> (&acc)[Rows][SAC_TILE_VECTORS]) {
  if constexpr (Rbf)
    for (int r = 0; r < Rows; ++r)
      for (int v = 0; v < SAC_TILE_VECTORS; ++v)
        acc[r][v] =
            rbf_of<T>(acc[r][v], z.norms[row + r], load<T>(z.norms + col + v * Shape<T>::lanes), z.inverse_bandwidth);
}

// Calls visit(first, acc) for each tile of the block (p, q) of C; `first` is its first row.
template <typename T, bool Rbf, typename Visit>
inline __attribute__((always_inline)) void for_each_tile(const PackedModelView<T>& z, std::int64_t p, std::int64_t q,
                                                         const Visit& visit) {
  constexpr int width = Shape<T>::width, tile_rows = SAC_TILE_ROWS;
  constexpr bool wide = sizeof(T) == sizeof(double);
  const T *rows = z.lines + p * z.k * width, *cols = z.lines + q * z.k * width;
  if (wide || z.k <= kBlockRun) {
    for (int first = 0; first < width; first += tile_rows) {
      Vector<T> acc[tile_rows][SAC_TILE_VECTORS];
      clear<T, tile_rows>(acc);
      if (wide || z.k <= kMaxAtOnce)
        add_lines<T, tile_rows>(rows + first, cols, z.k, acc);
      else
        add_run<T, tile_rows>(rows + first, cols, z.k, acc);
      to_values<T, Rbf, tile_rows>(z, p * width + first, q * width, acc);
      visit(first, acc);
    }
    return;
  }
  alignas(64) T products[width * width];
  long_products<T>(rows, cols, z.k, products);
  for (int first = 0; first < width; first += tile_rows) {
    Vector<T> acc[tile_rows][SAC_TILE_VECTORS];
    copy<T, tile_rows>(tile_at<T, tile_rows>(products + first * width), acc);
    to_values<T, Rbf, tile_rows>(z, p * width + first, q * width, acc);
    visit(first, acc);
  }
}

template <typename T, bool Rbf>
void block_values(const PackedModelView<T>& z, std::int64_t p, std::int64_t q, T* out) {
  using Tile = Vector<T>[SAC_TILE_ROWS][SAC_TILE_VECTORS];
  for_each_tile<T, Rbf>(z, p, q, [out](int first, const Tile& acc) __attribute__((always_inline)) {
    copy<T, SAC_TILE_ROWS>(acc, tile_at<T, SAC_TILE_ROWS>(out + first * Shape<T>::width));
  });
}

template <typename T, bool Rbf>
double block_distance(const PackedModelView<T>& z, std::int64_t p, std::int64_t q, const T* known,
                      const ReadSoon& next) {
  constexpr int width = Shape<T>::width, lanes = Shape<T>::lanes, tile_rows = SAC_TILE_ROWS;
  constexpr std::int64_t tiles = width / tile_rows, cache_line = 64;
  using Tile = Vector<T>[tile_rows][SAC_TILE_VECTORS];
  Vector<T> sums[SAC_TILE_VECTORS] = {};
  for_each_tile<T, Rbf>(z, p, q, [known, &sums, &next](int first, const Tile& acc) __attribute__((always_inline)) {
    const std::int64_t tile = first / tile_rows;
    for (std::int64_t l = tile * next.lines / tiles; l < (tile + 1) * next.lines / tiles; ++l) {
      __builtin_prefetch(static_cast<const char*>(next.rows) + l * cache_line, 0, 2);
      __builtin_prefetch(static_cast<const char*>(next.cols) + l * cache_line, 0, 2);
    }
#pragma GCC unroll 16
    for (int r = 0; r < tile_rows; ++r)
#pragma GCC unroll 8
      for (int v = 0; v < SAC_TILE_VECTORS; ++v)
        sums[v] += absolute<T>(acc[r][v] - load<T>(known + (first + r) * width + v * lanes));
  });
#pragma GCC unroll 8
  for (int v = 1; v < SAC_TILE_VECTORS; ++v) sums[0] += sums[v];
  return static_cast<double>(reduce_add<T>(sums[0]));
}

template <typename T>
double abs_difference(const T* x, const T* y, std::int64_t count) {
  constexpr int lanes = Shape<T>::lanes;
  Vector<T> even{}, odd{};
  for (std::int64_t e = 0; e < count; e += 2 * lanes) {
    even += absolute<T>(load<T>(x + e) - load<T>(y + e));
    odd += absolute<T>(load<T>(x + e + lanes) - load<T>(y + e + lanes));
  }
  return static_cast<double>(reduce_add<T>(even + odd));
}

// Columns of a tile: as many accumulators as the registers hold beside kModelTile rows.
constexpr int kPairColumns = SAC_VECTOR_BYTES == 64 ? 4 : 2;
static_assert(kModelTile % kPairColumns == 0, "a tile of models must hold whole register tiles");

template <typename T>
struct AbsDifference {
  using Sum = Vector<T>;
  using Row = Vector<T>;
  static constexpr int lanes = Shape<T>::lanes;
  static Sum distance(Row a, Row b) { return absolute<T>(a - b); }
  static double total(Sum s) { return reduce_add<T>(s); }
};

template <>
struct AbsDifference<std::uint8_t> {
  typedef std::uint8_t Row __attribute__((vector_size(SAC_VECTOR_BYTES)));
  using Sum = Vector<std::int64_t>;
  static constexpr int lanes = SAC_VECTOR_BYTES;
  static Sum distance(Row a, Row b) {
#if defined(__AVX512BW__) && SAC_VECTOR_BYTES == 64
    return (Sum)_mm512_sad_epu8((__m512i)a, (__m512i)b);
#elif defined(__AVX2__) && SAC_VECTOR_BYTES == 32
    return (Sum)_mm256_sad_epu8((__m256i)a, (__m256i)b);
#elif defined(__SSE2__) && SAC_VECTOR_BYTES == 16
    return (Sum)_mm_sad_epu8((__m128i)a, (__m128i)b);
#else
    const Row d = a > b ? a - b : b - a;
    Sum s{};
    for (int i = 0; i < SAC_VECTOR_BYTES; ++i) s[i % (SAC_VECTOR_BYTES / 8)] += d[i];
    return s;
#endif
  }
  static double total(Sum s) { return static_cast<double>(reduce_add<std::int64_t>(s)); }
};

// Numbers summed in a lane before they are added to a total: bounds float32's rounding.
constexpr std::int64_t kLaneSum = 32;

// One register tile over `count` numbers.
template <typename T>
inline void pair_tile(const T* x, const T* y, std::int64_t stride, std::int64_t count, double* sums,
                      std::int64_t sums_stride) {
  using M = AbsDifference<T>;
  typename M::Sum total[kModelTile][kPairColumns] = {};
  for (std::int64_t e = 0; e < count;) {
    const std::int64_t stop = count - e < kLaneSum * M::lanes ? count : e + kLaneSum * M::lanes;
    typename M::Sum acc[kModelTile][kPairColumns] = {};
    for (; e < stop; e += M::lanes) {
      typename M::Row a[kModelTile];
#pragma GCC unroll 4
      for (int i = 0; i < kModelTile; ++i) a[i] = *reinterpret_cast<const typename M::Row*>(x + i * stride + e);
#pragma GCC unroll 4
      for (int j = 0; j < kPairColumns; ++j) {
        const auto b = *reinterpret_cast<const typename M::Row*>(y + j * stride + e);
#pragma GCC unroll 4
        for (int i = 0; i < kModelTile; ++i) acc[i][j] += M::distance(a[i], b);
      }
    }
#pragma GCC unroll 4
    for (int i = 0; i < kModelTile; ++i)
#pragma GCC unroll 4
      for (int j = 0; j < kPairColumns; ++j) total[i][j] += acc[i][j];
  }
#pragma GCC unroll 4
  for (int i = 0; i < kModelTile; ++i)
#pragma GCC unroll 4
    for (int j = 0; j < kPairColumns; ++j) sums[i * sums_stride + j] += M::total(total[i][j]);
}

template <typename T>
void all_pairs(const T* x, std::int64_t nx, const T* y, std::int64_t ny, std::int64_t stride, std::int64_t count,
               bool triangle, double* sums, std::int64_t sums_stride) {
  // A chunk of kModelTile rows of x stays in the L1 cache.
  constexpr std::int64_t chunk = 4096 / sizeof(T);
  for (std::int64_t e = 0; e < count; e += chunk) {
    const std::int64_t part = count - e < chunk ? count - e : chunk;
    for (std::int64_t i = 0; i < nx; i += kModelTile)
      for (std::int64_t j = triangle ? i : 0; j < ny; j += kPairColumns)
        pair_tile<T>(x + i * stride + e, y + j * stride + e, stride, part, sums + i * sums_stride + j, sums_stride);
  }
}

}  // namespace
}  // namespace sac
