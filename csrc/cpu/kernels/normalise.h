// A row, normalised in float64: centred if asked for, then L2 norm 1.
#pragma once

#include "cpu/kernels/simd.h"

namespace sac {
namespace {

template <typename S>
inline __attribute__((always_inline)) void add_squares(const S* v, Vector<double>& sum) {
  typename VectorOf<S, Shape<double>::lanes>::type values;
  __builtin_memcpy(&values, v, sizeof values);
  const auto x = __builtin_convertvector(values, Vector<double>);
  sum += x * x;
}

// Two sums side by side, so that not every addition waits for the one before.
template <typename S>
inline double sum_of_squares(const S* v, std::int64_t k) {
  constexpr std::int64_t lanes = Shape<double>::lanes;
  Vector<double> even{}, odd{};
  std::int64_t j = 0;
  for (; j + 2 * lanes <= k; j += 2 * lanes) {
    add_squares(v + j, even);
    add_squares(v + j + lanes, odd);
  }
  if (j + lanes <= k) {
    add_squares(v + j, even);
    j += lanes;
  }
  double sum = reduce_add<double>(even + odd);
  for (; j < k; ++j) sum += static_cast<double>(v[j]) * static_cast<double>(v[j]);
  return sum;
}

// Whether no square overflowed or vanished; NaN, Inf and a row of zeros are out of this range too.
inline bool in_range(double squares) { return squares > 1e-200 && squares < 1e200; }

// Σ v_j² in `squares`. No square may overflow or vanish: a row whose sum says that one could is brought to magnitude 1
// by a divisor, which is multiplied to `scaled`. Division, not a product with the reciprocal: that of a subnormal
// number overflows.
inline RowKind measure(double* v, std::int64_t k, double& squares, double& scaled) {
  squares = sum_of_squares(v, k);
  if (in_range(squares)) return RowKind::ordinary;
  double largest = 0, not_finite = 0;  // Σ (v_j − v_j): NaN with a NaN or Inf, else 0
  for (std::int64_t j = 0; j < k; ++j) {
    const double magnitude = __builtin_fabs(v[j]);
    largest = magnitude > largest ? magnitude : largest;
    not_finite += v[j] - v[j];
  }
  if (not_finite != 0) return RowKind::not_finite;
  if (largest == 0) return RowKind::zero;
  for (std::int64_t j = 0; j < k; ++j) v[j] /= largest;
  scaled *= largest;
  squares = sum_of_squares(v, k);
  return RowKind::ordinary;
}

template <typename T>
bool normalise_floats(const float* row, std::int64_t k, T* out) {
  const double squares = sum_of_squares(row, k);
  if (!in_range(squares)) return false;
  const double inverse = 1.0 / __builtin_sqrt(squares);
  for (std::int64_t j = 0; j < k; ++j) out[j] = static_cast<T>(static_cast<double>(row[j]) * inverse);
  return true;
}

template <typename T>
RowKind normalise(double* row, std::int64_t k, bool centre, T* out, double* norm) {
  double squares = 0, scaled = 1;
  RowKind kind = measure(row, k, squares, scaled);
  if (kind != RowKind::ordinary) return kind;
  if (centre) {
    // Shifted by the first entry before the mean is taken: a constant row becomes exactly zero.
    const double first = row[0];
    double sum = 0;
    for (std::int64_t j = 0; j < k; ++j) sum += row[j] -= first;
    const double mean = sum / static_cast<double>(k);
    for (std::int64_t j = 0; j < k; ++j) row[j] -= mean;
    kind = measure(row, k, squares, scaled);
    if (kind != RowKind::ordinary) return kind;
  }
  const double length = __builtin_sqrt(squares), inverse = 1.0 / length;
  for (std::int64_t j = 0; j < k; ++j) out[j] = static_cast<T>(row[j] * inverse);
  if (norm) *norm = length * scaled;
  return RowKind::ordinary;
}

}  // namespace
}  // namespace sac
