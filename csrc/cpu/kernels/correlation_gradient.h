// The inner loops of the gradient of Σ_ij W_ij |C^a_ij − C^b_ij|: signs of the difference, and their products with
// rows.
#pragma once

#include "cpu/kernels/correlation_pair.h"

namespace sac {
namespace {

// The sign of `difference` times `value`: value's sign turns where the other one is set.
template <typename T>
inline Vector<T> with_sign(Vector<T> difference, Vector<T> value, T equal) {
  using Int = typename BitsOf<T>::Int;
  const Vector<T> zero{}, limit = zero + equal;
  const Vector<Int> sign = (Vector<Int>)difference & ~BitsOf<T>::without_sign;
  return absolute<T>(difference) > limit ? (Vector<T>)((Vector<Int>)value ^ sign) : zero;
}

// C^a − C^b in `a`; for rbf C^a there and C^b in `b`.
template <typename T, bool Rbf>
inline void apart_block(const PackedPairView<T>& z, std::int64_t p, std::int64_t q, T* a, T* b) {
  constexpr int width = Shape<T>::width, lanes = Shape<T>::lanes;
  constexpr int tile_rows = Rbf ? SAC_TILE_ROWS / 2 : SAC_TILE_ROWS;
  if (!Rbf && z.pairs + z.rest > kChunk) return long_difference<T>(z, p, q, a);
  const std::int64_t panel = (2 * z.pairs + z.rest) * width;
  for (int first = 0; first < width; first += tile_rows) {
    const T *rows = z.lines + p * panel + first, *cols = z.lines + q * panel;
    Vector<T> c_a[tile_rows][SAC_TILE_VECTORS], c_b[Rbf ? tile_rows : 1][SAC_TILE_VECTORS];
    if constexpr (Rbf)
      correlations_rbf<T, tile_rows>(z, rows, cols, p * width + first, q * width, c_a, c_b);
    else
      difference_dot<T, tile_rows>(z, rows, cols, c_a);
#pragma GCC unroll 16
    for (int r = 0; r < tile_rows; ++r)
#pragma GCC unroll 8
      for (int v = 0; v < SAC_TILE_VECTORS; ++v) {
        const std::int64_t place = (first + r) * width + v * lanes;
        *reinterpret_cast<Vector<T>*>(a + place) = c_a[r][v];
        if constexpr (Rbf) *reinterpret_cast<Vector<T>*>(b + place) = c_b[r][v];
      }
  }
}

template <typename T, bool Rbf>
void sign_block(const PackedPairView<T>& z, const PackedPairView<T>* weights, std::int64_t p, std::int64_t q, T equal,
                T* a, T* b) {
  constexpr int width = Shape<T>::width, lanes = Shape<T>::lanes, size = width * width;
  apart_block<T, Rbf>(z, p, q, a, b);
  alignas(64) T weight[size];
  if (weights) apart_block<T, false>(*weights, p, q, weight, nullptr);
  const Vector<T> one = Vector<T>{} + static_cast<T>(1);
  for (int i = 0; i < size; i += lanes) {
    const Vector<T> w = weights ? load<T>(weight + i) : one, c_a = load<T>(a + i);
    if constexpr (Rbf) {
      const Vector<T> c_b = load<T>(b + i), signs = with_sign<T>(c_a - c_b, w, equal);
      *reinterpret_cast<Vector<T>*>(a + i) = signs * c_a;
      *reinterpret_cast<Vector<T>*>(b + i) = signs * c_b;
    } else {
      *reinterpret_cast<Vector<T>*>(a + i) = with_sign<T>(c_a, w, equal);
    }
  }
}

template <typename T, int Lines>
inline void add_products_of(const T* x, std::int64_t panel_size, const T* blocks, std::int64_t panels,
                            std::int64_t step, T* sums) {
  constexpr int width = Shape<T>::width, lanes = Shape<T>::lanes;
  Vector<T> acc[Lines][SAC_TILE_VECTORS];
  clear<T, Lines>(acc);
  for (std::int64_t p = 0; p < panels; ++p, x += panel_size)
    for (int r = 0; r < width; ++r, blocks += width) {
      Vector<T> block[SAC_TILE_VECTORS];
#pragma GCC unroll 8
      for (int v = 0; v < SAC_TILE_VECTORS; ++v) {
        block[v] = load<T>(blocks + v * lanes);
        keep_if_room(block[v]);
      }
#pragma GCC unroll 16
      for (int l = 0; l < Lines; ++l) {
        const Vector<T> value = broadcast<T>(x[l * step * width + r]);
#pragma GCC unroll 8
        for (int v = 0; v < SAC_TILE_VECTORS; ++v) acc[l][v] += value * block[v];
      }
    }
#pragma GCC unroll 16
  for (int l = 0; l < Lines; ++l)
#pragma GCC unroll 8
    for (int v = 0; v < SAC_TILE_VECTORS; ++v)
      *reinterpret_cast<Vector<T>*>(sums + l * step * width + v * lanes) += acc[l][v];
}

template <typename T, int Lines = SAC_TILE_ROWS>
inline void add_products_of(std::int64_t lines, const T* x, std::int64_t panel_size, const T* blocks,
                            std::int64_t panels, std::int64_t step, T* sums) {
  if (lines == Lines) return add_products_of<T, Lines>(x, panel_size, blocks, panels, step, sums);
  if constexpr (Lines > 1) add_products_of<T, Lines - 1>(lines, x, panel_size, blocks, panels, step, sums);
}

template <typename T>
void add_products(const T* x, std::int64_t panel_size, const T* blocks, std::int64_t panels, std::int64_t count,
                  std::int64_t step, T* sums) {
  // Tiles of about the same height: each sum of a low one would wait for the sum before it.
  for (std::int64_t tiles = (count + SAC_TILE_ROWS - 1) / SAC_TILE_ROWS; tiles > 0; --tiles) {
    const std::int64_t lines = (count + tiles - 1) / tiles, next = lines * step * Shape<T>::width;
    add_products_of<T>(lines, x, panel_size, blocks, panels, step, sums);
    x += next;
    sums += next;
    count -= lines;
  }
}

}  // namespace
}  // namespace sac
