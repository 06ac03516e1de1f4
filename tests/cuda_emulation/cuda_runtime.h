// Enough of CUDA to run a kernel's threads as threads of this machine, one block after the other (a grid of one block
// that loops over all its work). For kernels that use blocks, shared memory, __syncthreads and __syncwarp only. It
// checks arithmetic, indices and barriers, not speed, and no memory model.
#pragma once

#include <algorithm>
#include <barrier>
#include <cstdint>
#include <memory>
#include <thread>
#include <vector>

#define __device__
#define __host__
#define __global__
#define __constant__
#define __shared__ static
#define __launch_bounds__(threads)
#define __align__(bytes) alignas(bytes)

using std::max;
using std::min;

struct uint2 {
  unsigned x, y;
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
void emulate(Kernel kernel, unsigned threads, int shared_bytes, const Arguments&... arguments) {
  std::vector<std::uint8_t> shared(shared_bytes + 16, 0xAB);
  emulated_shared = shared.data() + (-reinterpret_cast<std::uintptr_t>(shared.data()) & 15);
  std::barrier<> block(threads);
  emulated_block = &block;
  emulated_warps.clear();
  for (unsigned w = 0; w < threads / 32; ++w) emulated_warps.push_back(std::make_unique<std::barrier<>>(32));
  std::vector<std::thread> all;
  for (unsigned t = 0; t < threads; ++t)
    all.emplace_back([&, t] {
      threadIdx.x = t;
      gridDim.x = 1;
      kernel(arguments...);
    });
  for (auto& thread : all) thread.join();
}
