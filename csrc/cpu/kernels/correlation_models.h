// Inner loops of the ops on many models: blocks of C, and L1 distances between all pairs of rows.
#pragma once

#if defined(__SSE2__)
#include <immintrin.h>
#endif

#include "cpu/kernels/rank_one.h"

namespace sac {
namespace {

// Products are summed in short chunks: nothing cancels here, so float32's rounding is that of a sum near 1 (see kChunk
// in correlation_pair.h).
constexpr std::int64_t kBlockChunk = 24;

template <typename T, bool Rbf>
void block_values(const PackedModelView<T>& z, std::int64_t p, std::int64_t q, T* out) {
  constexpr int width = Shape<T>::width;
  constexpr int tile_rows = SAC_TILE_ROWS;
  const T* cols_panel = z.lines + q * z.k * width;
  for (int r = 0; r < width; r += tile_rows) {
    const T* rows = z.lines + p * z.k * width + r;
    const T* cols = cols_panel;
    Vector<T> acc[tile_rows][SAC_TILE_VECTORS];
    clear<T, tile_rows>(acc);
    if (z.k <= kBlockChunk || sizeof(T) == sizeof(double)) {
      for (std::int64_t l = 0; l < z.k; ++l, rows += width, cols += width)
        rank_one<T, tile_rows, true>(rows, cols, acc);
    } else {
      Vector<T> total[tile_rows][SAC_TILE_VECTORS];
      clear<T, tile_rows>(total);
      for (std::int64_t l = 0; l < z.k;) {
        const std::int64_t stop = z.k - l < kBlockChunk ? z.k : l + kBlockChunk;
        for (; l < stop; ++l, rows += width, cols += width) rank_one<T, tile_rows, true>(rows, cols, acc);
        add_compensated<T, tile_rows>(total, acc);
      }
      add_to<T, tile_rows>(acc, total);
    }
#pragma GCC unroll 16
    for (int i = 0; i < tile_rows; ++i)
#pragma GCC unroll 8
      for (int v = 0; v < SAC_TILE_VECTORS; ++v) {
        Vector<T> value = acc[i][v];
        if constexpr (Rbf)
          value = rbf_of<T>(value, z.norms[p * width + r + i], load<T>(z.norms + q * width + v * Shape<T>::lanes),
                            z.inverse_bandwidth);
        *reinterpret_cast<Vector<T>*>(out + (r + i) * width + v * Shape<T>::lanes) = value;
      }
  }
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
