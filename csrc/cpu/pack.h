// Rows in, normalised panels out: widening, centring and L2 normalisation in float64.
#pragma once

#include <cstdint>
#include <new>

#include "sac/correlation_distance.h"

namespace sac {

// The normalised row x̂ of row i, as float64. kind tells whether it had a direction at all.
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
  T* data() { return data_; }

 private:
  T* data_;
};

}  // namespace sac
