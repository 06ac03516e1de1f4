// Numbers of type T on a 64-byte boundary, for vector loads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <new>

namespace sac {

// Not initialised.
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
