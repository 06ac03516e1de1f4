#include "cpu/pack.h"

#include <cmath>
#include <cstring>

namespace sac {
namespace {

struct Half {
  std::uint16_t bits;
};
struct BFloat16 {
  std::uint16_t bits;
};

inline double widen(float v) { return v; }
inline double widen(double v) { return v; }
inline double widen(BFloat16 v) {
  const std::uint32_t bits = static_cast<std::uint32_t>(v.bits) << 16;
  float f;
  std::memcpy(&f, &bits, sizeof f);
  return f;
}
inline double widen(Half v) {
  const double sign = v.bits & 0x8000 ? -1.0 : 1.0;
  const int exponent = (v.bits >> 10) & 0x1f;
  const int mantissa = v.bits & 0x3ff;
  if (exponent == 0x1f) return mantissa ? std::nan("") : sign * HUGE_VAL;
  if (exponent == 0) return sign * std::ldexp(mantissa, -24);
  return sign * std::ldexp(mantissa + 1024, exponent - 25);
}

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
    finite = finite && magnitude <= 1.7976931348623157e308;  // false for NaN too
    largest = magnitude > largest ? magnitude : largest;
  }
  return finite ? largest : HUGE_VAL;
}

}  // namespace

RowKind normalise_row(const MatrixView& x, std::int64_t i, bool centre, double* out) {
  switch (x.dtype) {
    case DType::float16: read_row<Half>(x, i, out); break;
    case DType::bfloat16: read_row<BFloat16>(x, i, out); break;
    case DType::float32: read_row<float>(x, i, out); break;
    case DType::float64: read_row<double>(x, i, out); break;
  }
  const std::int64_t k = x.cols;
  const double largest = largest_magnitude(out, k);
  if (std::isinf(largest)) return RowKind::not_finite;
  if (largest == 0) return RowKind::zero;
  // Scaled to magnitude 1 first, so that no square can overflow or vanish. Division, not a product with the
  // reciprocal: the reciprocal of a subnormal number overflows.
  for (std::int64_t j = 0; j < k; ++j) out[j] /= largest;
  if (centre) {
    // Shifted by the first entry before the mean is taken: a constant row becomes exactly zero.
    const double first = out[0];
    double sum = 0;
    for (std::int64_t j = 0; j < k; ++j) sum += out[j] -= first;
    const double mean = sum / static_cast<double>(k);
    double left = 0;
    for (std::int64_t j = 0; j < k; ++j) {
      out[j] -= mean;
      left = std::fmax(left, std::fabs(out[j]));
    }
    if (left == 0) return RowKind::zero;
    for (std::int64_t j = 0; j < k; ++j) out[j] /= left;
  }
  double squares = 0;
  for (std::int64_t j = 0; j < k; ++j) squares += out[j] * out[j];
  const double norm = std::sqrt(squares);
  for (std::int64_t j = 0; j < k; ++j) out[j] /= norm;
  return RowKind::ordinary;
}

}  // namespace sac
