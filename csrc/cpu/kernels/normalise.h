// A row, normalised in float64: centred if asked for, then L2 norm 1.
#pragma once

#include "cpu/kernels/simd.h"

namespace sac {
namespace {

struct Survey {
  double largest = 0;     // max |v_j|
  double squares = 0;     // Σ v_j²
  double not_finite = 0;  // Σ (v_j − v_j): NaN with a NaN or Inf, else 0

  void see(double v) {
    const double magnitude = __builtin_fabs(v);
    largest = magnitude > largest ? magnitude : largest;
    squares += v * v;
    not_finite += v - v;
  }
};

// Eight sums and maxima side by side, so that no addition waits for the one before.
inline Survey survey(const double* v, std::int64_t k) {
  constexpr int parts = 8;
  Survey all;
  std::int64_t j = 0;
  if (k >= 2 * parts) {
    double largest[parts] = {}, squares[parts] = {}, not_finite[parts] = {};
    for (; j + parts <= k; j += parts)
      for (int p = 0; p < parts; ++p) {
        const double x = v[j + p], magnitude = __builtin_fabs(x);
        largest[p] = magnitude > largest[p] ? magnitude : largest[p];
        squares[p] += x * x;
        not_finite[p] += x - x;
      }
    for (int p = 0; p < parts; ++p) {
      all.largest = largest[p] > all.largest ? largest[p] : all.largest;
      all.squares += squares[p];
      all.not_finite += not_finite[p];
    }
  }
  for (; j < k; ++j) all.see(v[j]);
  return all;
}

// To magnitude 1, unless it is near it already: no square may overflow or vanish. Division, not a product with the
// reciprocal: the reciprocal of a subnormal number overflows. Returns what it divided by.
inline double scale_row(double* v, std::int64_t k, Survey& seen) {
  if (seen.largest > 1e-100 && seen.largest < 1e100) return 1.0;
  const double by = seen.largest;
  for (std::int64_t j = 0; j < k; ++j) v[j] /= by;
  seen = survey(v, k);
  return by;
}

template <typename T>
RowKind normalise(double* row, std::int64_t k, bool centre, T* out, double* norm) {
  Survey seen = survey(row, k);
  if (seen.not_finite != 0) return RowKind::not_finite;
  if (seen.largest == 0) return RowKind::zero;
  double scaled = scale_row(row, k, seen);
  if (centre) {
    // Shifted by the first entry before the mean is taken: a constant row becomes exactly zero.
    const double first = row[0];
    double sum = 0;
    for (std::int64_t j = 0; j < k; ++j) sum += row[j] -= first;
    const double mean = sum / static_cast<double>(k);
    for (std::int64_t j = 0; j < k; ++j) row[j] -= mean;
    seen = survey(row, k);
    if (seen.largest == 0) return RowKind::zero;
    scaled *= scale_row(row, k, seen);
  }
  const double length = __builtin_sqrt(seen.squares), inverse = 1.0 / length;
  for (std::int64_t j = 0; j < k; ++j) out[j] = static_cast<T>(row[j] * inverse);
  if (norm) *norm = length * scaled;
  return RowKind::ordinary;
}

}  // namespace
}  // namespace sac
