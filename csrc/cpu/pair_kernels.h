// The inner loops of correlation_distance, compiled once for each instruction set.
//
// Packed layout: the n rows are cut into panels of `width` rows, padded with zero rows. A panel is a list of
// lines of `width` numbers; line l holds one coordinate of all rows of the panel. The coordinates of a and b
// alternate (a_0, b_0, a_1, b_1, …) up to the shorter of both, then the rest of the longer one follows. So one
// pass over the lines forms C^a − C^b = [Â B̂]·[Â −B̂]ᵀ, and its partial sums stay near the difference
// instead of climbing to 1 and back, which keeps float32's rounding small for similar models.
#pragma once

#include <cstdint>

#include "sac/correlation_distance.h"

namespace sac {

template <typename T>
struct PackedPair {
  const T* lines;       // panels × (2·pairs + rest) × width, 64-byte aligned
  std::int64_t panels;  // ceil(n / width)
  std::int64_t pairs;   // min(k_a, k_b)
  std::int64_t rest;    // |k_a − k_b|
  bool rest_is_a;
  // rbf only: |x̂_i|² of every padded row: 1, 0 for a zero row, +inf for padding (so that its entries vanish)
  const T* norms_a;
  const T* norms_b;
  T inverse_bandwidth;  // 1 / (2σ²)
};

// Σ |C^a_ij − C^b_ij| over the blocks (p, q), p ≤ q, of the given panels; blocks off the diagonal count twice.
template <typename T>
using GroupSum = double (*)(const PackedPair<T>&, std::int64_t p0, std::int64_t p1, std::int64_t q0, std::int64_t q1);

template <typename T>
struct PairKernelsOf {
  int width;
  GroupSum<T> dot;
  GroupSum<T> rbf;
};

struct PairKernels {
  PairKernelsOf<float> f32;
  PairKernelsOf<double> f64;
};

extern const PairKernels pair_kernels_portable;
extern const PairKernels pair_kernels_avx2;
extern const PairKernels pair_kernels_avx512;

}  // namespace sac
