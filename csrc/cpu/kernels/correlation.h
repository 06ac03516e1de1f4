// The inner loops of the correlation ops, compiled once for each instruction set, and the packed layouts they read.
//
// The n rows of a matrix are split into panels of `width` rows, padded with zero rows. A panel is a list of lines of
// `width` numbers; line l holds one coordinate of all rows of the panel.
#pragma once

#include <cstdint>

#include "sac/detail/instruction_set.h"

namespace sac {

// One model: line l is coordinate l.
template <typename T>
struct PackedModelView {
  const T* lines;       // panels × k × width, 64-byte aligned
  std::int64_t panels;  // ceil(n / width)
  std::int64_t k;
  const T* norms;       // rbf only: see PackedPairView
  T inverse_bandwidth;  // rbf only: 1 / (2σ²)
};

// Two models: the coordinates of a and b alternate (a_0, b_0, a_1, b_1, …) up to the shorter of both, then the rest of
// the longer one follows. So one pass over the lines forms C^a − C^b = [Â B̂]·[Â −B̂]ᵀ, and its partial sums stay near
// the difference instead of climbing to 1 and back, which keeps float32's rounding small for similar models.
template <typename T>
struct PackedPairView {
  const T* lines;       // panels × (2·pairs + rest) × width, 64-byte aligned
  std::int64_t panels;  // ceil(n / width)
  std::int64_t pairs;   // min(k_a, k_b)
  std::int64_t rest;    // |k_a − k_b|
  bool rest_is_a;
  // rbf only: |x̂_i|² of every padded row: 1, 0 for a zero row, +inf for padding (so that its entries vanish)
  const T* norms_a;
  const T* norms_b;
  T inverse_bandwidth;  // rbf only: 1 / (2σ²)
};

// `zero`: a row without direction (all zero; centred: constant).
enum class RowKind { ordinary, zero, not_finite };

// Row of k numbers, centred if asked for, of L2 norm 1, in `out`, which may be the row; and its norm (centred: of the
// centred one) in `norm` if it is given. `out` and `norm` are written for an ordinary row only, the row always.
template <typename T>
using NormaliseRow = RowKind (*)(double* row, std::int64_t k, bool centre, T* out, double* norm);

// The same of a row of float32, not centred; false if it is not an ordinary one, or its numbers are too far from 1, and
// `out` is not written then.
template <typename T>
using NormaliseFloats = bool (*)(const float* row, std::int64_t k, T* out);

// out[j·stride + r] = rows[r·apart + j] for `count` numbers j of row_count rows. `out` is 64-byte aligned, stride a
// multiple of the panel's width.
template <typename T>
using WriteLines = void (*)(const T* rows, std::int64_t row_count, std::int64_t apart, std::int64_t count, T* out,
                            std::int64_t stride);

// Σ |C^a_ij − C^b_ij| over the blocks (p, q), p ≤ q, of the given panels; blocks off the diagonal count twice.
template <typename T>
using GroupSum = double (*)(const PackedPairView<T>&, std::int64_t p0, std::int64_t p1, std::int64_t q0,
                            std::int64_t q1);

// scale · |C^a_ij − C^b_ij| for the block (p, q), width × width, row by row, into `out` (64-byte aligned).
template <typename T>
using PairBlock = void (*)(const PackedPairView<T>&, std::int64_t p, std::int64_t q, T scale, T* out);

// sums[r] += Σ_ij u[i·tile + r] · values[i·width + j] · v[r·stride + j] for `lines` rows i of `width` values, and r
// below tile = replicate_tile. values and v are 64-byte aligned or whole panels away from it; stride is a multiple of
// width.
template <typename T>
using WeightedSums = void (*)(const T* values, std::int64_t lines, const T* u, const T* v, std::int64_t stride,
                              double* sums);

// The block (p, q) of W ∘ S and, of rbf, of W ∘ S ∘ C^a in `a` and W ∘ S ∘ C^b in `b`, width × width, row by row. S is
// the sign of C^a − C^b, 0 where they differ by no more than `equal`; W_ij = <u_i, u_j> − <v_i, v_j> of the pair (u, v)
// in `weights`, 1 without it.
template <typename T>
using SignBlock = void (*)(const PackedPairView<T>&, const PackedPairView<T>* weights, std::int64_t p, std::int64_t q,
                           T equal, T* a, T* b);

// Transposes a block of width × width.
template <typename T>
using TransposeBlock = void (*)(const T* block, T* out);

// sums[l] += Σ_p Σ_r x_p[l][r] · block_p[r] for `count` lines l of a panel, `step` lines apart in x and sums alike: the
// products of `panels` panels x_p, panel_size apart, with as many blocks that follow each other.
template <typename T>
using AddProducts = void (*)(const T* x, std::int64_t panel_size, const T* blocks, std::int64_t panels,
                             std::int64_t count, std::int64_t step, T* sums);

// The block (p, q) of C, width × width, row by row, into `out` (64-byte aligned).
template <typename T>
using BlockValues = void (*)(const PackedModelView<T>&, std::int64_t p, std::int64_t q, T* out);

// Memory that is read soon and comes into the L2 cache meanwhile: `lines` cache lines from each of both pointers on.
struct ReadSoon {
  const void *rows, *cols;
  std::int64_t lines;
};

// Σ_ij |C_ij − known_ij| over the block (p, q) of C; `known` is laid out as BlockValues writes it.
template <typename T>
using BlockDistance = double (*)(const PackedModelView<T>&, std::int64_t p, std::int64_t q, const T* known,
                                 const ReadSoon& next);

// sums[i·sums_stride + j] += Σ_e |x_i[e] − y_j[e]| for rows of `count` numbers, `stride` apart. nx and ny are multiples
// of kModelTile, stride and count whole cache lines. With `triangle` (x and y are the same rows) only tiles on or above
// the diagonal are computed.
template <typename T>
using AllPairs = void (*)(const T* x, std::int64_t nx, const T* y, std::int64_t ny, std::int64_t stride,
                          std::int64_t count, bool triangle, double* sums, std::int64_t sums_stride);

constexpr std::int64_t kModelTile = 4;

// 1 as a fixed-point number. Correlations, |c| ≤ 1, are rounded to its steps by at most 2⁻²⁶.
constexpr float kFixedPointOne = 33554432.0f;  // 2²⁵

// `count` fixed-point numbers, whole cache lines, and their sum.
using ToFixedPoint = std::int64_t (*)(const float* values, std::int64_t count, std::int32_t* out);

// sums[i·sums_stride + j] += Σ_e min(x_i[e], y_j[e]) of fixed-point numbers; the rest as of AllPairs.
using SumMinima = void (*)(const std::int32_t* x, std::int64_t nx, const std::int32_t* y, std::int64_t ny,
                           std::int64_t stride, std::int64_t count, bool triangle, std::int64_t* sums,
                           std::int64_t sums_stride);

// Bytes of a row at most, so that a sum is below 2³¹.
constexpr std::int64_t kMaxByteEntries = 1 << 23;
constexpr int kByteColumns = 8;

// sums[i·kByteColumns + j] (+)= Σ_e |x[i][e] − y[j][e]|, from ≤ e < to, both whole cache lines. Rows lie on 64-byte
// boundaries. Room for an even number of rows of sums. `next`, which may be null, are the columns of the next call.
using ByteColumnSums = void (*)(const std::uint8_t* const* x, std::int64_t rows, const std::uint8_t* const* y,
                                const std::uint8_t* const* next, std::int64_t from, std::int64_t to, bool add,
                                std::int32_t* sums);

// Numbers of the rows with a sum ≤ max(row_limits[i], column_limits[j]), and how many there are.
using ByteRowsWithin = std::int64_t (*)(const std::int32_t* sums, std::int64_t rows, const std::int32_t* row_limits,
                                        const std::int32_t* column_limits, std::int32_t* found);

template <typename T>
struct KernelsOf {
  int width;
  NormaliseRow<T> normalise;
  NormaliseFloats<T> normalise_floats;
  WriteLines<T> write_lines;
  GroupSum<T> pair_dot;
  GroupSum<T> pair_rbf;
  BlockValues<T> block_dot;
  BlockValues<T> block_rbf;
  BlockDistance<T> block_distance_dot;
  BlockDistance<T> block_distance_rbf;
  // Σ_e |x[e] − y[e]|, count a multiple of width², both 64-byte aligned
  double (*abs_difference)(const T* x, const T* y, std::int64_t count);
  AllPairs<T> all_pairs;
  PairBlock<T> pair_block_dot;
  PairBlock<T> pair_block_rbf;
  int replicate_tile;
  WeightedSums<T> weighted_sums;
  SignBlock<T> sign_block_dot;
  SignBlock<T> sign_block_rbf;
  TransposeBlock<T> transpose_block;
  AddProducts<T> add_products;
};

struct Kernels {
  KernelsOf<float> f32;
  KernelsOf<double> f64;
  AllPairs<std::uint8_t> all_pairs_u8;  // in units of one step
  ByteColumnSums byte_columns;
  ByteRowsWithin rows_within;
  ToFixedPoint to_fixed_point;
  SumMinima sum_minima;
};

extern const Kernels kernels_portable;
extern const Kernels kernels_avx2;
extern const Kernels kernels_avx512;

const Kernels& kernels_for(InstructionSet set);

template <typename T>
const KernelsOf<T>& kernels_of(InstructionSet set) {
  if constexpr (sizeof(T) == sizeof(double))
    return kernels_for(set).f64;
  else
    return kernels_for(set).f32;
}

}  // namespace sac
