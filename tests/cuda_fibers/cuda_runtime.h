// A subset of CUDA that runs kernels on the CPU, one block (or cluster of blocks) after the other, each thread as a
// fiber of this one thread, in a deterministic order. A fiber runs until it has to wait; if all wait, the process
// reports a deadlock and aborts. Asynchronous operations complete as late as possible: when they are waited for
// (cuda/detail/async_copy.cuh, tensor_core_ptx.cuh). Checks arithmetic, layout, indices, barriers and phases, not
// speed.
#pragma once

#include <setjmp.h>
#include <ucontext.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <memory>
#include <vector>

#define __device__
#define __host__
#define __global__
#define __forceinline__ inline
#define __grid_constant__
#define __shared__ static
#define __constant__
#define __launch_bounds__(...)
#define __align__(bytes) alignas(bytes)
#define __CUDA_ARCH_FEAT_SM90_ALL 1

using std::max;
using std::min;

struct dim3 {
  unsigned x, y, z;
  dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};
struct alignas(8) uint2 {
  unsigned x, y;
};
inline dim3 threadIdx, blockIdx, gridDim, blockDim;

using cudaError_t = int;
using cudaStream_t = void*;
enum { cudaSuccess };
enum cudaDeviceAttr {
  cudaDevAttrMultiProcessorCount,
  cudaDevAttrComputeCapabilityMajor,
  cudaDevAttrComputeCapabilityMinor,
};
inline const char* cudaGetErrorString(cudaError_t) { return ""; }

namespace fibers {

constexpr std::size_t kStack = 64 << 10;

struct Barrier {
  int here = 0;
  std::uint64_t generation = 0;
};

struct Fiber {
  std::unique_ptr<char[]> stack{new char[kStack]};
  ucontext_t start;
  jmp_buf place;
  bool started = false, ended = false;
};

inline std::deque<Fiber> all;  // kept from one launch to the next
inline std::size_t running;    // threads of the cluster
inline std::size_t current;
inline std::size_t living;
inline std::uint64_t idle_waits;
inline jmp_buf scheduler;
inline ucontext_t home;
inline std::function<void()> body;
inline Barrier cluster;
inline std::vector<Barrier> blocks;
inline std::vector<Barrier> warps;
inline std::vector<std::uint8_t> shared;  // dynamic shared memory of the blocks, one after another
inline std::size_t shared_each;           // bytes of a block
inline std::uint8_t* shared_begin;        // of the running thread's block
inline std::uint64_t all_words[4][64][32][8];
inline std::uint64_t (*warp_words)[32][8];  // exchanged by the lanes of each warp of the running thread's block
inline unsigned first_block, threads_each;
// The schedule: threads in turn, or (turns > 0) in another order each round, or (kWarpsAhead) each warp as far as it
// gets while the others stand. Copies complete as late as possible, or (early) at once, so that a copy into memory that
// is still read has an effect.
constexpr unsigned kWarpsAhead = 100;
inline unsigned turns;
inline bool early;

inline std::size_t rank() { return current / threads_each; }  // of the running thread's block in the cluster
inline std::uint8_t* shared_of(std::size_t block) {
  std::uint8_t* const all_shared = shared.data() + (-reinterpret_cast<std::uintptr_t>(shared.data()) & 1023);
  return all_shared + block * shared_each;
}

// Switches to the other threads.
inline void yield() {
  if (++idle_waits > 2000 * running) {
    std::fprintf(stderr, "the kernel hangs: thread %u of block (%u, %u) waits for ever\n", threadIdx.x, blockIdx.x,
                 blockIdx.y);
    std::abort();
  }
  if (!_setjmp(all[current].place)) _longjmp(scheduler, 1);
}

inline void arrive_and_wait(Barrier& barrier, int threads) {
  const std::uint64_t generation = barrier.generation;
  if (++barrier.here == threads) {
    barrier.here = 0;
    ++barrier.generation;
    idle_waits = 0;
    return;
  }
  while (barrier.generation == generation) yield();
}

inline void first_step() {
  body();
  idle_waits = 0;
  all[current].ended = true;
  --living;
  _longjmp(scheduler, 1);
}

// A cluster of blocks, which begins with block first_x of the grid.
inline void run_blocks(unsigned first_x, unsigned count, unsigned threads, std::size_t shared_bytes) {
  running = std::size_t{count} * threads;
  if (all.size() < running) all.resize(running);
  first_block = first_x;
  threads_each = threads;
  shared_each = (shared_bytes + 1023) / 1024 * 1024;
  shared.assign(count * shared_each + 2048, 0xFF);  // NaN for fp16 and float
  warps.assign(count * threads / 32, {});
  blocks.assign(count, {});
  cluster = {};
  living = running;
  for (auto& fiber : all) fiber.started = fiber.ended = false;
  constexpr std::size_t kSteps[] = {1, 5, 7, 11, 13, 17, 19, 23};  // prime to 32 and 3, so to the number of threads
  for (std::size_t round = turns; living; round += turns ? 1 : 0)
    for (std::size_t turn = 0; turn < (turns == kWarpsAhead ? 64 * running : running); ++turn) {
      if (turns == kWarpsAhead)
        current = (turn / (64 * 32) * 32 + turn % 32 + round * 160) % running;
      else
        current = (turn * kSteps[round % 8] + round * 37) % running;
      Fiber& fiber = all[current];
      if (fiber.ended) continue;
      threadIdx.x = static_cast<unsigned>(current) % threads;
      blockIdx.x = first_x + static_cast<unsigned>(rank());
      shared_begin = shared_of(rank());
      warp_words = all_words[rank()];
      if (_setjmp(scheduler)) continue;
      if (fiber.started) _longjmp(fiber.place, 1);
      fiber.started = true;
      getcontext(&fiber.start);
      fiber.start.uc_stack.ss_sp = fiber.stack.get();
      fiber.start.uc_stack.ss_size = kStack;
      fiber.start.uc_link = nullptr;
      makecontext(&fiber.start, first_step, 0);
      swapcontext(&home, &fiber.start);
    }
}

}  // namespace fibers

inline void __syncthreads() {
  fibers::arrive_and_wait(fibers::blocks[fibers::rank()], static_cast<int>(fibers::threads_each));
}
inline void __syncwarp() { fibers::arrive_and_wait(fibers::warps[fibers::current / 32], 32); }

template <class T>
T __shfl_xor_sync(unsigned, T value, int mask) {
  auto& words = fibers::warp_words[threadIdx.x / 32];
  std::memcpy(words[threadIdx.x % 32], &value, sizeof value);
  __syncwarp();
  std::memcpy(&value, words[(threadIdx.x % 32) ^ mask], sizeof value);
  __syncwarp();
  return value;
}

inline double rsqrt(double x) { return 1.0 / std::sqrt(x); }
template <class T>
T __ldg(const T* p) {
  return *p;
}
inline unsigned long long atomicMin(unsigned long long* p, unsigned long long value) {
  const unsigned long long old = *p;
  *p = std::min(old, value);
  return old;
}
