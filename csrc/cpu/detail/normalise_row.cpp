#include "cpu/detail/normalise_row.h"

#include <cmath>

#include "sac/detail/half.h"

namespace sac {
namespace {

template <typename T>
void read_row(const MatrixView& x, std::int64_t i, double* out) {
  const T* row = static_cast<const T*>(x.data) + i * x.row_stride;
  for (std::int64_t j = 0; j < x.cols; ++j) out[j] = widen(row[j * x.col_stride]);
}

double largest_magnitude(const double* v, std::int64_t k) {
  double largest = 0;
  bool finite = true;
  for (std::int64_t j = 0; j < k; ++j) {
    const double magnitude = std::fabs(v[j]);
    finite = finite && magnitude <= 1.7976931348623157e308;  // also false for NaN
    largest = magnitude > largest ? magnitude : largest;
  }
  return finite ? largest : HUGE_VAL;
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
  const double largest = largest_magnitude(out, k);
  if (std::isinf(largest)) return RowKind::not_finite;
  if (largest == 0) return RowKind::zero;
  double scaled = scale(out, k, largest);
  if (centre) {
    // Shifted by the first entry before the mean is taken: a constant row becomes exactly zero.
    const double first = out[0];
    double sum = 0;
    for (std::int64_t j = 0; j < k; ++j) sum += out[j] -= first;
    const double mean = sum / static_cast<double>(k);
    double largest_centred = 0;
    for (std::int64_t j = 0; j < k; ++j) {
      out[j] -= mean;
      largest_centred = std::fmax(largest_centred, std::fabs(out[j]));
    }
    if (largest_centred == 0) return RowKind::zero;
    scaled *= scale(out, k, largest_centred);
  }
  double squares = 0;
  for (std::int64_t j = 0; j < k; ++j) squares += out[j] * out[j];
  const double inverse = 1.0 / std::sqrt(squares);
  for (std::int64_t j = 0; j < k; ++j) out[j] *= inverse;
  if (norm) *norm = std::sqrt(squares) * scaled;
  return RowKind::ordinary;
}

}  // namespace sac
