// Enough of CUDA to run a kernel's threads as threads of this machine, one block after the other. For kernels that use
// blocks, shared memory, __syncthreads, __syncwarp, whole-warp votes and shuffles only. It checks arithmetic, indices
// and barriers, not speed, and no memory model.
#pragma once

#include <algorithm>
#include <barrier>
#include <bit>
#include <cstdint>
#include <memory>
#include <thread>
#include <vector>

#define __device__
#define __host__
#define __global__
#define __constant__
#define __shared__ static
#define __launch_bounds__(...)
#define __align__(bytes) alignas(bytes)

using std::max;
using std::min;

struct alignas(8) uint2 {
  unsigned x, y;
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};
struct float2 {
  float x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
struct alignas(16) double2 {
  double x, y;
};
struct Index {
  unsigned x = 0;
};
inline thread_local Index threadIdx, blockIdx, gridDim;

inline std::barrier<>* emulated_block;
inline std::vector<std::unique_ptr<std::barrier<>>> emulated_warps;
inline std::uint8_t* emulated_shared;

inline void __syncthreads() { emulated_block->arrive_and_wait(); }
inline void __syncwarp() { emulated_warps[threadIdx.x / 32]->arrive_and_wait(); }
template <class T>
T __ldg(const T* p) {
  return *p;
}
inline unsigned __float_as_uint(float x) { return std::bit_cast<unsigned>(x); }
inline int __ffs(unsigned x) { return __builtin_ffs(static_cast<int>(x)); }
inline int __popc(unsigned x) { return __builtin_popcount(x); }

// What each thread of the block last showed to its warp.
inline std::vector<std::uint64_t> emulated_shown;

template <class T>
T __shfl_sync(unsigned, T mine, int lane) {
  emulated_shown[threadIdx.x] = static_cast<std::uint64_t>(mine);
  __syncwarp();
  const T theirs = static_cast<T>(emulated_shown[threadIdx.x / 32 * 32 + lane % 32]);
  __syncwarp();
  return theirs;
}
template <class T>
T __shfl_up_sync(unsigned all, T mine, unsigned by) {
  const int lane = threadIdx.x % 32;
  return __shfl_sync(all, mine, lane >= static_cast<int>(by) ? lane - by : lane);
}
inline unsigned __ballot_sync(unsigned, bool mine) {
  emulated_shown[threadIdx.x] = mine;
  __syncwarp();
  unsigned votes = 0;
  for (int lane = 0; lane < 32; ++lane)
    votes |= static_cast<unsigned>(emulated_shown[threadIdx.x / 32 * 32 + lane]) << lane;
  __syncwarp();
  return votes;
}

using cudaError_t = int;
using cudaStream_t = void*;
enum { cudaSuccess, cudaFuncAttributeMaxDynamicSharedMemorySize };
inline const char* cudaGetErrorString(cudaError_t) { return ""; }
inline cudaError_t cudaGetLastError() { return cudaSuccess; }
template <class Kernel>
cudaError_t cudaFuncSetAttribute(Kernel, int, int) {
  return cudaSuccess;
}

template <class Kernel, class... Arguments>
void emulate_grid(Kernel kernel, unsigned blocks, unsigned threads, int shared_bytes, const Arguments&... arguments) {
  std::vector<std::uint8_t> shared(shared_bytes + 128);
  emulated_shared = shared.data() + (-reinterpret_cast<std::uintptr_t>(shared.data()) & 127);
  emulated_shown.resize(threads);
  std::barrier<> block(threads);
  emulated_block = &block;
  emulated_warps.clear();
  for (unsigned w = 0; w < threads / 32; ++w) emulated_warps.push_back(std::make_unique<std::barrier<>>(32));
  std::vector<std::thread> all;
  for (unsigned t = 0; t < threads; ++t)
    all.emplace_back([&, t] {
      threadIdx.x = t;
      gridDim.x = blocks;
      for (unsigned b = 0; b < blocks; ++b) {
        blockIdx.x = b;
        if (t == 0) std::fill(shared.begin(), shared.end(), 0xAB);
        block.arrive_and_wait();
        kernel(arguments...);
        block.arrive_and_wait();
      }
    });
  for (auto& thread : all) thread.join();
}

template <class Kernel, class... Arguments>
void emulate(Kernel kernel, unsigned threads, int shared_bytes, const Arguments&... arguments) {
  emulate_grid(kernel, 1, threads, shared_bytes, arguments...);
}
