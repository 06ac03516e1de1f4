// The instructions of csrc/cuda/detail/tensor_core_ptx.cuh on the CPU, after the PTX ISA: operand fragments by lane,
// shared memory layout by descriptor. Bulk copies and wgmma complete only when they are waited for: a kernel that does
// not wait, or reuses memory too soon, computes wrong numbers here.
#pragma once

#include <cuda_runtime.h>

#include "cuda/detail/async_copy.cuh"
#include "sac/detail/half.h"

namespace sac::ptx {

// half_value as a table
inline const std::vector<float> halves = [] {
  std::vector<float> all(1 << 16);
  for (unsigned bits = 0; bits < all.size(); ++bits) all[bits] = half_value(static_cast<std::uint16_t>(bits));
  return all;
}();

inline float half_at(std::uint32_t address) {
  std::uint16_t bits;
  std::memcpy(&bits, fibers::shared_begin + (address - kSharedBase), 2);
  return halves[bits];
}

// --- sm_80 -----------------------------------------------------------------------------------------------------------

inline void load_matrices(std::uint32_t (&r)[4], std::uint32_t row_address) {
  auto& words = fibers::warp_words[threadIdx.x / 32];
  const unsigned lane = threadIdx.x % 32;
  words[lane][0] = row_address;
  __syncwarp();
  for (unsigned i = 0; i < 4; ++i)
    std::memcpy(&r[i], at(static_cast<std::uint32_t>(words[8 * i + lane / 4][0]), 16) + lane % 4 * 4, 4);
  __syncwarp();
}

inline float half_of(std::uint32_t pair, unsigned which) { return halves[pair >> (16 * which) & 0xffff]; }

// Tensor cores truncate their sums; so does this, more than the best of them.
inline float cut_off(double exact) {
  const float rounded = static_cast<float>(exact);
  return std::fabs(static_cast<double>(rounded)) > std::fabs(exact) ? std::nextafter(rounded, 0.0f) : rounded;
}

inline void mma(float (&d)[4], const std::uint32_t (&a)[4], std::uint32_t b0, std::uint32_t b1) {
  auto& words = fibers::warp_words[threadIdx.x / 32];
  const unsigned lane = threadIdx.x % 32;
  for (unsigned i = 0; i < 4; ++i) words[lane][i] = a[i];
  words[lane][4] = b0;
  words[lane][5] = b1;
  __syncwarp();
  double rows[2][16], cols[2][16];  // of this lane's four entries
  for (unsigned which = 0; which < 2; ++which)
    for (unsigned k = 0; k < 16; ++k) {
      // A (16×16): register k/8·2 + row/8 of lane (row % 8)·4 + k%8/2; B (16×8): register k/8 of lane col·4 + k%8/2
      const unsigned row = lane / 4 + which * 8, col = lane % 4 * 2 + which;
      const auto a_word = static_cast<std::uint32_t>(words[row % 8 * 4 + k % 8 / 2][k / 8 * 2 + row / 8]);
      const auto b_word = static_cast<std::uint32_t>(words[col * 4 + k % 8 / 2][4 + k / 8]);
      rows[which][k] = half_of(a_word, k % 2);
      cols[which][k] = half_of(b_word, k % 2);
    }
  for (unsigned i = 0; i < 4; ++i) {
    double sum = d[i];
    for (unsigned k = 0; k < 16; ++k) sum += rows[i / 2][k] * cols[i % 2][k];
    d[i] = cut_off(sum);
  }
  __syncwarp();
}

// --- sm_90 -----------------------------------------------------------------------------------------------------------

// The 64 bits of a barrier: pending arrivals, arrivals of a phase, pending bytes, parity of the phase.
struct BarrierState {
  std::uint16_t missing, arrivals;
  std::int32_t bytes : 31;
  std::uint32_t parity : 1;
};
static_assert(sizeof(BarrierState) == 8);

struct PendingBulk {
  std::uint8_t* to;
  const void* from;
  std::uint32_t bytes;
  std::uint64_t* barrier;
};
inline std::vector<PendingBulk> bulk_copies;

inline void change(std::uint64_t* barrier, int arrivals, std::int32_t bytes) {
  BarrierState state;
  std::memcpy(&state, barrier, sizeof state);
  if (arrivals > state.missing) {
    std::fprintf(stderr, "more arrivals than the barrier expects, thread %u\n", threadIdx.x);
    std::abort();
  }
  state.missing = static_cast<std::uint16_t>(state.missing - arrivals);
  state.bytes = state.bytes + bytes;
  if (state.missing == 0 && state.bytes == 0) {
    state.missing = state.arrivals;
    state.parity = state.parity ^ 1;
    fibers::idle_waits = 0;
  }
  std::memcpy(barrier, &state, sizeof state);
}

inline void barrier_init(std::uint64_t* barrier, int arrivals) {
  const BarrierState state{static_cast<std::uint16_t>(arrivals), static_cast<std::uint16_t>(arrivals), 0, 0};
  std::memcpy(barrier, &state, sizeof state);
}
inline void barrier_init_fence() {}
inline void barrier_arrive(std::uint64_t* barrier) { change(barrier, 1, 0); }
inline void barrier_arrive_expect(std::uint64_t* barrier, std::uint32_t bytes) {
  BarrierState state;
  std::memcpy(&state, barrier, sizeof state);
  state.bytes = state.bytes + static_cast<std::int32_t>(bytes);
  std::memcpy(barrier, &state, sizeof state);
  change(barrier, 1, 0);
}
inline void arrive(std::vector<PendingBulk>::iterator mine) {
  const PendingBulk copy = *mine;
  bulk_copies.erase(mine);
  std::memcpy(copy.to, copy.from, copy.bytes);
  change(copy.barrier, 0, -static_cast<std::int32_t>(copy.bytes));
}
inline void barrier_wait(std::uint64_t* barrier, std::uint32_t parity) {
  const auto ended = [&] {
    BarrierState state;
    std::memcpy(&state, barrier, sizeof state);
    return state.parity != parity;
  };
  while (!ended()) {
    fibers::yield();
    // copies that this barrier counts arrive only now, one at a time
    const auto mine = std::find_if(bulk_copies.begin(), bulk_copies.end(),
                                   [&](const PendingBulk& copy) { return copy.barrier == barrier; });
    if (mine == bulk_copies.end()) continue;
    arrive(mine);
  }
}
// The address in block `rank` of the cluster that corresponds to `place` in this block.
template <class T>
T* in_block(T* place, std::size_t rank) {
  return reinterpret_cast<T*>(fibers::shared_of(rank) +
                              (reinterpret_cast<std::uint8_t*>(place) - fibers::shared_begin));
}
inline void copy_bulk_multicast(std::uint32_t to_shared, const void* from, std::uint32_t bytes, std::uint64_t* barrier,
                                std::uint16_t blocks) {
  if (bytes % 16 || reinterpret_cast<std::uintptr_t>(from) % 16) {
    std::fprintf(stderr, "a copy in bulk is not aligned\n");
    std::abort();
  }
  for (std::size_t rank = 0; blocks >> rank; ++rank)
    if (blocks >> rank & 1)
      bulk_copies.push_back({in_block(at(to_shared, bytes), rank), from, bytes, in_block(barrier, rank)});
  while (fibers::early && !bulk_copies.empty()) arrive(bulk_copies.end() - 1);
}
inline void copy_bulk(std::uint32_t to_shared, const void* from, std::uint32_t bytes, std::uint64_t* barrier) {
  copy_bulk_multicast(to_shared, from, bytes, barrier, static_cast<std::uint16_t>(1u << fibers::rank()));
}
inline std::uint32_t cluster_rank() { return static_cast<std::uint32_t>(fibers::rank()); }
inline void cluster_sync() { fibers::arrive_and_wait(fibers::cluster, static_cast<int>(fibers::running)); }
inline void barrier_arrive_in_cluster(std::uint64_t* barrier, std::uint32_t rank) {
  change(in_block(barrier, rank), 1, 0);
}
inline void barrier_wait_cluster(std::uint64_t* barrier, std::uint32_t parity) { barrier_wait(barrier, parity); }

// --- sm_90a ----------------------------------------------------------------------------------------------------------

template <int>
void increase_registers() {}
template <int>
void decrease_registers() {}

struct PendingProduct {
  float* d;
  std::uint64_t a, b;
  bool accumulate;
};
inline std::vector<std::vector<PendingProduct>> products(2048);  // of each thread

// .sync.aligned: executed by the threads of a warp together
inline void warpgroup_fence() { __syncwarp(); }
inline void warpgroup_commit() { __syncwarp(); }

// A row of 16 coordinates of an operand without swizzle, K-major.
inline void read_row(std::uint64_t descriptor, unsigned row, double (&values)[16]) {
  const auto field = [&](int shift) { return static_cast<std::uint32_t>(descriptor >> shift & 0x3fff) << 4; };
  const std::uint32_t first = field(0) + row / 8 * field(32) + row % 8 * 16;
  for (unsigned k = 0; k < 16; ++k) values[k] = half_at(first + k / 8 * field(16) + k % 8 * 2);
}

inline void warpgroup_mma(float (&d)[64], std::uint64_t a, std::uint64_t b, int accumulate) {
  if (a >> 46 || b >> 46) {
    std::fprintf(stderr, "a descriptor asks for a swizzle or an offset\n");
    std::abort();
  }
  products[fibers::current].push_back({d, a, b, accumulate != 0});
}

inline void warpgroup_wait(float (&)[64]) {
  const unsigned lane = threadIdx.x % 32, warp = threadIdx.x / 32 % 4;
  for (const auto& product : products[fibers::current]) {
    double a[2][16], b[2][16];
    for (unsigned half = 0; half < 2; ++half) read_row(product.a, warp * 16 + lane / 4 + half * 8, a[half]);
    for (unsigned e = 0; e < 64; ++e) {
      if (e % 4 < 2) read_row(product.b, e / 4 * 8 + lane % 4 * 2 + e % 2, b[e % 2]);
      double sum = product.accumulate ? product.d[e] : 0.0;
      for (unsigned k = 0; k < 16; ++k) sum += a[e / 2 % 2][k] * b[e % 2][k];
      product.d[e] = cut_off(sum);
    }
  }
  products[fibers::current].clear();
  __syncwarp();
}

}  // namespace sac::ptx
