// csrc/cuda/sweep_instructions.cuh in C++, and what else the sweeps take from CUDA. A copy spoils its target at once
// and arrives when it is waited for, or (copies_are_early) at once: a kernel that forgets to wait, or asks too soon,
// computes nonsense here.
#pragma once

#include <cuda_runtime.h>

#include <utility>

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

struct AskedCopy {
  void* to;
  const void* from;
  bool inside;
};
inline std::vector<AskedCopy> asked_copies[1024];  // of each thread

inline bool copies_are_early = false;

// What a test lets kernels read: from, to.
inline std::vector<std::pair<const std::uint8_t*, const std::uint8_t*>> readable;

inline bool is_readable(const void* from) {
  for (const auto& [first, last] : readable)
    if (from >= first && static_cast<const std::uint8_t*>(from) + 16 <= last) return true;
  return false;
}

inline void copy_16_async(void* to, const void* from, bool inside) {
  const auto* const byte = static_cast<const std::uint8_t*>(to);
  const std::uint8_t* const end = fibers::shared.data() + fibers::shared.size() - 1024;
  const auto places = reinterpret_cast<std::uintptr_t>(to) | reinterpret_cast<std::uintptr_t>(from);
  if (places % 16 || byte < fibers::shared_begin || byte + 16 > end || (inside && !is_readable(from))) {
    std::fprintf(stderr, "a copy of thread %u is at a wrong place\n", threadIdx.x);
    std::abort();
  }
  if (copies_are_early) {
    inside ? std::memcpy(to, from, 16) : std::memset(to, 0, 16);
    return;
  }
  std::memset(to, 0xFF, 16);
  asked_copies[threadIdx.x].push_back({to, from, inside});
}

inline void wait_for_copies() {
  for (const AskedCopy& copy : asked_copies[threadIdx.x])
    if (copy.inside)
      std::memcpy(copy.to, copy.from, 16);
    else
      std::memset(copy.to, 0, 16);
  asked_copies[threadIdx.x].clear();
}

inline std::uint32_t add_byte_differences(std::uint32_t a, std::uint32_t b, std::uint32_t sum) {
  for (int bit = 0; bit < 32; bit += 8)
    sum += static_cast<std::uint32_t>(std::abs(static_cast<int>(a >> bit & 255) - static_cast<int>(b >> bit & 255)));
  return sum;
}

inline int computed_here(int x) { return x; }

}  // namespace sac
