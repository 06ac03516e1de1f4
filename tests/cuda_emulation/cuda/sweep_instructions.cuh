// csrc/cuda/sweep_instructions.cuh on the CPU. A copy arrives when it is waited for, not before.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "cuda_runtime.h"

namespace sac {

struct EmulatedCopy {
  void* to;
  const void* from;
  bool inside;
};
inline thread_local std::vector<EmulatedCopy> emulated_copies;

inline void copy_16_async(void* to, const void* from, bool inside) {
  const auto place = reinterpret_cast<std::uintptr_t>(to) | reinterpret_cast<std::uintptr_t>(from);
  if (place % 16 != 0) std::abort();
  std::memset(to, 0xAB, 16);
  emulated_copies.push_back({to, from, inside});
}

inline void wait_for_copies() {
  for (const EmulatedCopy& copy : emulated_copies)
    if (copy.inside)
      std::memcpy(copy.to, copy.from, 16);
    else
      std::memset(copy.to, 0, 16);
  emulated_copies.clear();
}

inline std::uint32_t add_byte_differences(std::uint32_t a, std::uint32_t b, std::uint32_t sum) {
  for (int byte = 0; byte < 32; byte += 8)
    sum += std::abs(static_cast<int>(a >> byte & 255) - static_cast<int>(b >> byte & 255));
  return sum;
}

inline int computed_here(int x) { return x; }

}  // namespace sac
