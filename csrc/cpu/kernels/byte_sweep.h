// L1 distances of bytes: a register tile of rows and columns whose sums never leave the registers within a chunk.
#pragma once

#if defined(__SSE2__)
#include <immintrin.h>
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#endif

#include "cpu/kernels/reduce_lanes.h"

namespace sac {
namespace {

typedef std::uint8_t ByteRow __attribute__((vector_size(SAC_VECTOR_BYTES)));
// 64-bit lanes whose upper halves stay zero: counts below kMaxByteEntries
using ByteSum = WideVector;

constexpr int kByteTileRows = 2;
// 16 sums beside 8 columns fill the 32 registers of AVX-512; 16 registers hold half of them.
constexpr int kByteTileColumns = SAC_VECTOR_BYTES == 64 ? kByteColumns : kByteColumns / 2;
// Bytes of a chunk: kByteColumns of them, and those of the rows that pass by, stay in the L1 cache.
constexpr std::int64_t kByteChunk = 2560;

inline ByteSum byte_distance(ByteRow a, ByteRow b) {
#if defined(__AVX512BW__) && SAC_VECTOR_BYTES == 64
  return (ByteSum)_mm512_sad_epu8((__m512i)a, (__m512i)b);
#elif defined(__AVX2__) && SAC_VECTOR_BYTES == 32
  return (ByteSum)_mm256_sad_epu8((__m256i)a, (__m256i)b);
#elif defined(__SSE2__) && SAC_VECTOR_BYTES == 16
  return (ByteSum)_mm_sad_epu8((__m128i)a, (__m128i)b);
#elif defined(__ARM_NEON) && SAC_VECTOR_BYTES == 16
  const uint8x16_t d = vabdq_u8((uint8x16_t)a, (uint8x16_t)b);
  return (ByteSum)vpaddlq_u32(vpaddlq_u16(vpaddlq_u8(d)));
#else
  const ByteRow d = a > b ? a - b : b - a;
  ByteSum s{};
  for (int i = 0; i < SAC_VECTOR_BYTES; ++i) s[i % kWideLanes] += d[i];
  return s;
#endif
}

// `ahead` are the rows that come next.
template <bool Add>
inline __attribute__((always_inline)) void byte_tile(const std::uint8_t* const (&x)[kByteTileRows],
                                                     const std::uint8_t* const (&ahead)[kByteTileRows],
                                                     const std::uint8_t* const* y, std::int64_t from, std::int64_t to,
                                                     std::int32_t* sums) {
  constexpr int tile = kByteTileRows * kByteTileColumns;
  ByteSum acc[kByteTileRows][kByteTileColumns] = {};
  const std::uint8_t* column[kByteTileColumns];
#pragma GCC unroll 8
  for (int j = 0; j < kByteTileColumns; ++j) column[j] = y[j];
  for (std::int64_t e = from; e < to; e += SAC_VECTOR_BYTES) {
    ByteRow row[kByteTileRows];
#pragma GCC unroll 2
    for (int i = 0; i < kByteTileRows; ++i) {
      row[i] = *reinterpret_cast<const ByteRow*>(x[i] + e);
      __builtin_prefetch(ahead[i] + e, 0, 3);
    }
#pragma GCC unroll 8
    for (int j = 0; j < kByteTileColumns; ++j) {
      ByteRow b = *reinterpret_cast<const ByteRow*>(column[j] + e);
      keep_in_register(b);
#pragma GCC unroll 2
      for (int i = 0; i < kByteTileRows; ++i) acc[i][j] += byte_distance(row[i], b);
    }
  }
  // Two sums share a 64-bit lane, so that a vector of them lies as the sums do.
  ByteSum packed[tile / 2];
#pragma GCC unroll 8
  for (int s = 0; s < tile / 2; ++s) {
    const int i = 2 * s / kByteTileColumns, j = 2 * s % kByteTileColumns;
    packed[s] = acc[i][j] + (acc[i][j + 1] << 32);
  }
  alignas(SAC_VECTOR_BYTES) std::int32_t found[tile];
#pragma GCC unroll 8
  for (int s = 0; s < tile / 2; s += kWideLanes)
    *reinterpret_cast<ByteSum*>(found + 2 * s) = reduce_lanes<kWideLanes>(packed + s);
#pragma GCC unroll 2
  for (int i = 0; i < kByteTileRows; ++i) {
    typedef std::int32_t Sums __attribute__((vector_size(sizeof(std::int32_t) * kByteTileColumns)));
    Sums sum, before;
    __builtin_memcpy(&sum, found + i * kByteTileColumns, sizeof sum);
    if constexpr (Add) {
      __builtin_memcpy(&before, sums + i * kByteColumns, sizeof before);
      sum += before;
    }
    __builtin_memcpy(sums + i * kByteColumns, &sum, sizeof sum);
  }
}

// Brings a share of the columns that come next into the L2 cache, while others are compared.
class NextColumns {
 public:
  NextColumns(const std::uint8_t* const* columns, std::int64_t from, std::int64_t lines, std::int64_t steps)
      : columns_(columns), from_(from), lines_(lines), share_((lines * kByteColumns + steps - 1) / steps) {}

  void fetch_share() {
    if (!columns_) return;
    for (std::int64_t s = 0; s < share_ && column_ < kByteColumns; ++s) {
      __builtin_prefetch(columns_[column_] + from_ + 64 * line_, 0, 2);
      if (++line_ == lines_) line_ = 0, ++column_;
    }
  }

 private:
  const std::uint8_t* const* columns_;
  const std::int64_t from_, lines_, share_;
  std::int64_t line_ = 0;
  int column_ = 0;
};

void byte_columns(const std::uint8_t* const* x, std::int64_t rows, const std::uint8_t* const* y,
                  const std::uint8_t* const* next, std::int64_t from, std::int64_t to, bool add, std::int32_t* sums) {
  const std::int64_t lines = (to - from) / 64, chunks = (to - from + kByteChunk - 1) / kByteChunk;
  NextColumns ahead(next, from, lines, chunks * ((rows + kByteTileRows - 1) / kByteTileRows));
  for (std::int64_t c = 0; c < chunks; ++c) {
    const std::int64_t first = from + lines * c / chunks * 64, last = from + lines * (c + 1) / chunks * 64;
    for (std::int64_t i = 0; i < rows; i += kByteTileRows) {
      const std::int64_t end = rows - 1;
      const auto row = [=](std::int64_t at) { return x[at < end ? at : end]; };
      const std::uint8_t* const tile_rows[kByteTileRows] = {x[i], row(i + 1)};
      const std::uint8_t* const rows_ahead[kByteTileRows] = {row(i + 2), row(i + 3)};
      ahead.fetch_share();
      for (int j = 0; j < kByteColumns; j += kByteTileColumns) {
        if (add || c > 0)
          byte_tile<true>(tile_rows, rows_ahead, y + j, first, last, sums + i * kByteColumns + j);
        else
          byte_tile<false>(tile_rows, rows_ahead, y + j, first, last, sums + i * kByteColumns + j);
      }
    }
  }
}

// Rows with a sum that is not above the limit of its row, or of its column; returns their number.
std::int64_t rows_within(const std::int32_t* sums, std::int64_t rows, const std::int32_t* row_limits,
                         const std::int32_t* column_limits, std::int32_t* found) {
  typedef std::int32_t Sums __attribute__((vector_size(sizeof(std::int32_t) * kByteColumns)));
  Sums columns;
  __builtin_memcpy(&columns, column_limits, sizeof columns);
  std::int64_t count = 0;
  for (std::int64_t i = 0; i < rows; ++i) {
    Sums s;
    __builtin_memcpy(&s, sums + i * kByteColumns, sizeof s);
    const Sums within = (s <= columns) | (s <= row_limits[i]);
#if defined(__AVX__)
    const bool any = !_mm256_testz_si256((__m256i)within, (__m256i)within);
#else
    std::int64_t h[sizeof within / sizeof(std::int64_t)];
    __builtin_memcpy(h, &within, sizeof h);
    const bool any = (h[0] | h[1] | h[2] | h[3]) != 0;
#endif
    found[count] = static_cast<std::int32_t>(i);
    count += any;
  }
  return count;
}

}  // namespace
}  // namespace sac
