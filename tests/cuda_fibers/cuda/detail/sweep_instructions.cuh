// csrc/cuda/detail/sweep_instructions.cuh on the CPU, and what else the sweeps use of CUDA.
#pragma once

#include <cuda_runtime.h>

struct alignas(16) float4 {
  float x, y, z, w;
};
struct alignas(16) double2 {
  double x, y;
};

inline unsigned __float_as_uint(float x) {
  unsigned bits;
  std::memcpy(&bits, &x, sizeof bits);
  return bits;
}
inline int __ffs(unsigned x) { return __builtin_ffs(static_cast<int>(x)); }
inline int __popc(unsigned x) { return __builtin_popcount(x); }

template <class T>
T __shfl_sync(unsigned, T value, int lane) {
  auto& words = fibers::warp_words[threadIdx.x / 32];
  std::memcpy(words[threadIdx.x % 32], &value, sizeof value);
  __syncwarp();
  std::memcpy(&value, words[lane % 32], sizeof value);
  __syncwarp();
  return value;
}
template <class T>
T __shfl_up_sync(unsigned all, T value, int by) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  return __shfl_sync(all, value, lane >= by ? lane - by : lane);
}
inline unsigned __ballot_sync(unsigned, bool vote) {
  auto& words = fibers::warp_words[threadIdx.x / 32];
  words[threadIdx.x % 32][0] = vote;
  __syncwarp();
  unsigned votes = 0;
  for (int lane = 0; lane < 32; ++lane) votes |= static_cast<unsigned>(words[lane][0]) << lane;
  __syncwarp();
  return votes;
}

namespace sac {

inline std::uint32_t add_byte_differences(std::uint32_t a, std::uint32_t b, std::uint32_t sum) {
  for (int bit = 0; bit < 32; bit += 8)
    sum += static_cast<std::uint32_t>(std::abs(static_cast<int>(a >> bit & 255) - static_cast<int>(b >> bit & 255)));
  return sum;
}

inline int opaque(int x) { return x; }

}  // namespace sac
