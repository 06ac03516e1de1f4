// The instructions of an L1 sweep that C++ has no name for. tests/cuda_fibers has a header of the same name.
#pragma once

#include <cstdint>

namespace sac {

// sum + Σ |a − b| over the four bytes
__device__ inline std::uint32_t add_byte_differences(std::uint32_t a, std::uint32_t b, std::uint32_t sum) {
  asm("vabsdiff4.u32.u32.u32.add %0, %1, %2, %3;" : "=r"(sum) : "r"(a), "r"(b), "r"(sum));
  return sum;
}

// Hides the value of x from the compiler: what is computed from it is recomputed at each use and occupies no registers
// in between.
__device__ inline int opaque(int x) {
  asm volatile("" : "+r"(x));
  return x;
}

}  // namespace sac
