#include "cpu/detail/normalise_row.h"

#include <cmath>

#include "sac/detail/half.h"

namespace sac {
namespace {

template <typename T>
void read_row(const MatrixView& x, std::int64_t i, double* out) {
  const T* row = static_cast<const T*>(x.data) + i * x.row_stride;
  if (x.col_stride == 1)
    for (std::int64_t j = 0; j < x.cols; ++j) out[j] = widen(row[j]);
  else
    for (std::int64_t j = 0; j < x.cols; ++j) out[j] = widen(row[j * x.col_stride]);
}

struct Survey {
  double largest = 0;     // max |v_j|
  double squares = 0;     // Σ v_j²
  double not_finite = 0;  // Σ (v_j − v_j): NaN with a NaN or Inf, else 0

  void see(double v) {
    const double magnitude = std::fabs(v);
    largest = magnitude > largest ? magnitude : largest;
    squares += v * v;
    not_finite += v - v;
  }
};

// Eight sums and maxima side by side, so that no addition waits for the one before.
Survey survey(const double* v, std::int64_t k) {
  constexpr int parts = 8;
  Survey all;
  std::int64_t j = 0;
  if (k >= 2 * parts) {
    double largest[parts] = {}, squares[parts] = {}, not_finite[parts] = {};
    for (; j + parts <= k; j += parts)
      for (int p = 0; p < parts; ++p) {
        const double x = v[j + p], magnitude = std::fabs(x);
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
double scale(double* v, std::int64_t k, double largest) {
  if (largest > 1e-100 && largest < 1e100) return 1.0;
  for (std::int64_t j = 0; j < k; ++j) v[j] /= largest;
  return largest;
}

}  // namespace

RowKind normalise_row(const MatrixView& x, std::int64_t i, bool centre, double* out, double* norm) {
  switch (x.dtype) {
    case DType::float16: read_row<Float16>(x, i, out); break;
    case DType::bfloat16: read_row<BFloat16>(x, i, out); break;
    case DType::float32: read_row<float>(x, i, out); break;
    case DType::float64: read_row<double>(x, i, out); break;
  }
  const std::int64_t k = x.cols;
  Survey seen = survey(out, k);
  if (seen.not_finite != 0) return RowKind::not_finite;
  if (seen.largest == 0) return RowKind::zero;
  double scaled = 1;
  const auto scale_row = [&] {
    const double by = scale(out, k, seen.largest);
    if (by != 1) seen = survey(out, k);
    scaled *= by;
  };
  scale_row();
  if (centre) {
    // Shifted by the first entry before the mean is taken: a constant row becomes exactly zero.
    const double first = out[0];
    double sum = 0;
    for (std::int64_t j = 0; j < k; ++j) sum += out[j] -= first;
    const double mean = sum / static_cast<double>(k);
    for (std::int64_t j = 0; j < k; ++j) out[j] -= mean;
    seen = survey(out, k);
    if (seen.largest == 0) return RowKind::zero;
    scale_row();
  }
  const double inverse = 1.0 / std::sqrt(seen.squares);
  for (std::int64_t j = 0; j < k; ++j) out[j] *= inverse;
  if (norm) *norm = std::sqrt(seen.squares) * scaled;
  return RowKind::ordinary;
}

}  // namespace sac
