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

// Calls visit(place, c_a, c_b) for each vector of the block (p, q): of C^a and C^b for rbf, else of C^a − C^b and 0.
// `scratch` has room for the block.
template <typename T, bool Rbf, typename Visit>
inline __attribute__((always_inline)) void for_each_difference(const PackedPairView<T>& z, std::int64_t p,
                                                               std::int64_t q, T* scratch, const Visit& visit) {
  constexpr int width = Shape<T>::width, lanes = Shape<T>::lanes;
  constexpr int tile_rows = Rbf ? SAC_TILE_ROWS / 2 : SAC_TILE_ROWS;
  if (!Rbf && z.pairs + z.rest > kChunk) {
    long_difference<T>(z, p, q, scratch);
    for (int i = 0; i < width * width; i += lanes) visit(i, load<T>(scratch + i), Vector<T>{});
    return;
  }
  const std::int64_t panel = (2 * z.pairs + z.rest) * width;
  for (int first = 0; first < width; first += tile_rows) {
    const T *rows = z.lines + p * panel + first, *cols = z.lines + q * panel;
    Vector<T> c_a[tile_rows][SAC_TILE_VECTORS], c_b[Rbf ? tile_rows : 1][SAC_TILE_VECTORS] = {};
    if constexpr (Rbf)
      correlations_rbf<T, tile_rows>(z, rows, cols, p * width + first, q * width, c_a, c_b);
    else
      difference_dot<T, tile_rows>(z, rows, cols, c_a);
#pragma GCC unroll 16
    for (int r = 0; r < tile_rows; ++r)
#pragma GCC unroll 8
      for (int v = 0; v < SAC_TILE_VECTORS; ++v) visit((first + r) * width + v * lanes, c_a[r][v], c_b[Rbf ? r : 0][v]);
  }
}

template <typename T, bool Rbf, bool Weighted>
inline void sign_block_of(const PackedPairView<T>& z, const PackedPairView<T>* weights, std::int64_t p, std::int64_t q,
                          T equal, T* a, T* b) {
  constexpr int size = Shape<T>::width * Shape<T>::width;
  alignas(64) T weight[Weighted ? size : 1];
  if constexpr (Weighted)
    for_each_difference<T, false>(*weights, p, q, weight,
                                  [&weight](int place, Vector<T> w, Vector<T>) __attribute__((always_inline)) {
                                    *reinterpret_cast<Vector<T>*>(weight + place) = w;
                                  });
  const auto signs_of = [=, &weight](int place, Vector<T> c_a, Vector<T> c_b) __attribute__((always_inline)) {
    const Vector<T> w = Weighted ? load<T>(weight + place) : broadcast<T>(1);
    const Vector<T> signs = with_sign<T>(Rbf ? c_a - c_b : c_a, w, equal);
    *reinterpret_cast<Vector<T>*>(a + place) = Rbf ? signs * c_a : signs;
    if constexpr (Rbf) *reinterpret_cast<Vector<T>*>(b + place) = signs * c_b;
  };
  for_each_difference<T, Rbf>(z, p, q, a, signs_of);
}

template <typename T, bool Rbf>
void sign_block(const PackedPairView<T>& z, const PackedPairView<T>* weights, std::int64_t p, std::int64_t q, T equal,
                T* a, T* b) {
  if (weights)
    sign_block_of<T, Rbf, true>(z, weights, p, q, equal, a, b);
  else
    sign_block_of<T, Rbf, false>(z, weights, p, q, equal, a, b);
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
