// The instructions of an L1 sweep that C++ has no name for. tests/cuda_fibers has a header of the same name.
#pragma once

#include <cstdint>

namespace sac {

// 16 bytes from global to shared memory, both aligned to them; zeros if not `inside`, then `from` is not read.
__device__ inline void copy_16_async(void* to, const void* from, bool inside) {
  const unsigned address = static_cast<unsigned>(__cvta_generic_to_shared(to));
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(address), "l"(from), "r"(inside ? 16 : 0)
               : "memory");
}

// Everything that this thread has asked for is there.
__device__ inline void wait_for_copies() { asm volatile("cp.async.wait_all;" ::: "memory"); }

// sum + Σ |a − b| over the four bytes
__device__ inline std::uint32_t add_byte_differences(std::uint32_t a, std::uint32_t b, std::uint32_t sum) {
  asm("vabsdiff4.u32.u32.u32.add %0, %1, %2, %3;" : "=r"(sum) : "r"(a), "r"(b), "r"(sum));
  return sum;
}

// x, of which the compiler knows nothing: what is computed from it is computed here, not kept in registers from before.
__device__ inline int computed_here(int x) {
  asm volatile("" : "+r"(x));
  return x;
}

}  // namespace sac
