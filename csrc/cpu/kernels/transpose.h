// Transposed blocks: of signs for the gradient, of rows for the lines that other kernels read.
#pragma once

#include "cpu/kernels/simd.h"

namespace sac {
namespace {

// a and b interleaved: the lower half of both, or the upper one.
template <typename T>
inline __attribute__((always_inline)) Vector<T> interleave(Vector<T> a, Vector<T> b, bool upper) {
  constexpr int lanes = Shape<T>::lanes;
  if constexpr (lanes == 16)
    return upper ? __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31)
                 : __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
  else if constexpr (lanes == 8)
    return upper ? __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15)
                 : __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11);
  else if constexpr (lanes == 4)
    return upper ? __builtin_shufflevector(a, b, 2, 6, 3, 7) : __builtin_shufflevector(a, b, 0, 4, 1, 5);
  else
    return upper ? __builtin_shufflevector(a, b, 1, 3) : __builtin_shufflevector(a, b, 0, 2);
}

// out[j·out_stride + i] = in[i·in_stride + j] of lanes × lanes numbers; rows of `out` lie on vector boundaries.
template <typename T>
inline void transpose_square(const T* in, std::int64_t in_stride, T* out, std::int64_t out_stride) {
  constexpr int lanes = Shape<T>::lanes;
  Vector<T> rows[lanes];
#pragma GCC unroll 16
  for (int r = 0; r < lanes; ++r) __builtin_memcpy(&rows[r], in + r * in_stride, sizeof rows[r]);
  // Each round halves the distance of what belongs together: row r and row r + lanes / 2 alternate.
#pragma GCC unroll 4
  for (int distance = lanes; distance > 1; distance /= 2) {
    Vector<T> next[lanes];
#pragma GCC unroll 8
    for (int r = 0; r < lanes / 2; ++r) {
      next[2 * r] = interleave<T>(rows[r], rows[r + lanes / 2], false);
      next[2 * r + 1] = interleave<T>(rows[r], rows[r + lanes / 2], true);
    }
#pragma GCC unroll 16
    for (int r = 0; r < lanes; ++r) rows[r] = next[r];
  }
#pragma GCC unroll 16
  for (int r = 0; r < lanes; ++r) *reinterpret_cast<Vector<T>*>(out + r * out_stride) = rows[r];
}

template <typename T>
void transpose_block(const T* block, T* out) {
  constexpr int lanes = Shape<T>::lanes, width = Shape<T>::width;
  for (int i = 0; i < width; i += lanes)
    for (int j = 0; j < width; j += lanes)
      transpose_square<T>(block + i * width + j, width, out + j * width + i, width);
}

template <typename T>
void write_lines(const T* rows, std::int64_t row_count, std::int64_t apart, std::int64_t count, T* out,
                 std::int64_t stride) {
  constexpr std::int64_t lanes = Shape<T>::lanes;
  const std::int64_t whole = count / lanes * lanes;
  std::int64_t r = 0;
  for (; r + lanes <= row_count; r += lanes) {
    for (std::int64_t j = 0; j < whole; j += lanes)
      transpose_square<T>(rows + r * apart + j, apart, out + j * stride + r, stride);
    for (std::int64_t j = whole; j < count; ++j)
      for (std::int64_t i = r; i < r + lanes; ++i) out[j * stride + i] = rows[i * apart + j];
  }
  for (; r < row_count; ++r)
    for (std::int64_t j = 0; j < count; ++j) out[j * stride + r] = rows[r * apart + j];
}

}  // namespace
}  // namespace sac
