// Rows in, normalised rows out: widening, centring and L2 normalisation in float64.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <new>

#include "sac/correlation_distance.h"

namespace sac {

struct Half {
  std::uint16_t bits;
};
struct BFloat16 {
  std::uint16_t bits;
};

inline double widen(float v) { return v; }
inline double widen(double v) { return v; }
inline double widen(std::uint8_t v) { return v; }
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
  // the same number as a float64: the exponent's bias is 1023 instead of 15, the mantissa 42 bits longer
  const std::uint64_t bits =
      static_cast<std::uint64_t>(exponent - 15 + 1023) << 52 | static_cast<std::uint64_t>(mantissa) << 42;
  double magnitude;
  std::memcpy(&magnitude, &bits, sizeof magnitude);
  return sign * magnitude;
}

// The normalised row x̂ of row i, as float64. A row without direction (all zero; centred: constant) is `zero`.
enum class RowKind { ordinary, zero, not_finite };
RowKind normalise_row(const MatrixView& x, std::int64_t i, bool centre, double* out);

// Numbers of type T on a 64-byte boundary; not initialised.
template <typename T>
class AlignedBuffer {
 public:
  explicit AlignedBuffer(std::int64_t size)
      : data_(static_cast<T*>(::operator new(static_cast<std::size_t>(size) * sizeof(T), std::align_val_t{64}))) {}
  ~AlignedBuffer() { ::operator delete(data_, std::align_val_t{64}); }
  AlignedBuffer(const AlignedBuffer&) = delete;
  AlignedBuffer& operator=(const AlignedBuffer&) = delete;
  T* data() const { return data_; }

 private:
  T* data_;
};

}  // namespace sac
