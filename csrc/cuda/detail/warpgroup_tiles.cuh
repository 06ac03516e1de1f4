// Tiles of C by wgmma, for devices of capability 9.0. A block is warp-specialised: a producer warpgroup, whose first
// thread loads chunks (bulk copies into a ring of pipeline stages, which keeps running across tiles and models), and
// two consumer warpgroups. A block's tile is kSub row tiles high and one column tile wide; each consumer computes kSub
// times 64×128 entries: the tensor cores sum a chunk from zero into one set of registers, which is added to the
// accumulators with rounding while the other consumer uses the tensor cores. With kSub = 2, blocks are clusters of two,
// side by side: each loads one of the two row tiles, for both, and its own column tile: 2 tiles loaded for 2 tiles of
// C, not 3.
#pragma once

#include "cuda/detail/launch.cuh"
#include "cuda/detail/tensor_core_ptx.cuh"
#include "cuda/detail/tile_epilogue.cuh"
#include "sac/detail/warpgroup_descriptor.h"

namespace sac::warpgroup_tiles {

constexpr int kThreads = 384;
constexpr int kWarpgroup = 128;
constexpr int kProducerRegisters = 40;  // 128 · 40 + 256 · 232 ≤ 65,536
constexpr int kConsumerRegisters = 232;

template <int kSub>
struct Ring {
  static constexpr int kBlocks = kSub;  // of a cluster
  static constexpr int kStages = kSub == 2 ? 4 : 6;
  static constexpr int kStageBytes = (kSub + 1) * kChunkBytes;  // row tiles, then the column tile
  static constexpr int kBytes = kStages * kStageBytes;
  std::uint64_t full[kStages];
  std::uint64_t empty[kStages];
};

// Layout of dynamic shared memory.
template <int kSub>
struct Shared {
  unsigned char stages[Ring<kSub>::kBytes];
  Ring<kSub> ring;
  Totals totals;
};

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)

// Called by all threads. Afterwards the barriers of all blocks of the cluster are initialised.
template <int kSub>
__device__ void init_barriers(Ring<kSub>& ring) {
  if (threadIdx.x == 0) {
    for (int stage = 0; stage < Ring<kSub>::kStages; ++stage) {
      ptx::barrier_init(&ring.full[stage], 1);
      ptx::barrier_init(&ring.empty[stage], Ring<kSub>::kBlocks * kSummingWarps);
    }
    ptx::barrier_init_fence();
  }
  if constexpr (kSub == 2)
    ptx::cluster_sync();
  else
    __syncthreads();
}

// Position of a producer or consumer thread in the ring.
template <int kSub>
struct PipelineState {
  int stage = 0;
  std::uint32_t parity = 0;
  __device__ void next() {
    if (++stage < Ring<kSub>::kStages) return;
    stage = 0;
    parity ^= 1;
  }
};

// Loads a chunk of row tile `row` and of column tile `col`; each block of a cluster loads another row tile for all of
// them. Beyond the last tile it loads the last one again; those sums have weight 0.
template <int kSub>
__device__ void load_chunk(Shared<kSub>& shared, PipelineState<kSub>& state, const TileProblem& problem,
                           const Operand& operand, int model, int row, int col, int chunk) {
  const std::uint32_t bytes = operand.chunk_bytes(chunk);
  const std::uint32_t to = ptx::shared_address(shared.stages) + state.stage * Ring<kSub>::kStageBytes;
  const unsigned char* const rows = operand.row_chunk(model, min(row, problem.row_tiles - 1), chunk);
  const unsigned char* const cols = operand.col_chunk(model, min(col, problem.col_tiles - 1), chunk);
  std::uint64_t *const full = &shared.ring.full[state.stage], *const empty = &shared.ring.empty[state.stage];
  if constexpr (kSub == 2) {
    ptx::barrier_wait_cluster(empty, state.parity ^ 1);
    ptx::barrier_arrive_expect(full, (kSub + 1) * bytes);
    ptx::copy_bulk_multicast(to + ptx::cluster_rank() * kChunkBytes, rows, bytes, full, 3);
  } else {
    ptx::barrier_wait(empty, state.parity ^ 1);
    ptx::barrier_arrive_expect(full, (kSub + 1) * bytes);
    ptx::copy_bulk(to, rows, bytes, full);
  }
  ptx::copy_bulk(to + kSub * kChunkBytes, cols, bytes, full);
  state.next();
}

template <int kSub, int kParts>
class Consumer {
 public:
  // warpgroup: 0 or 1
  __device__ Consumer(Shared<kSub>& shared, int warpgroup) : shared_(shared), warpgroup_(warpgroup) {
#pragma unroll
    for (int e = 0; e < kThreadEntries; ++e) sum_[e] = 0.0f;
  }

  // c ±= the products of the next chunk, `bytes` of each tile.
  template <bool kMinus>
  __device__ void add_chunk(int bytes, float (&c)[kSub][kThreadEntries]) {
    Ring<kSub>& ring = shared_.ring;
    ptx::barrier_wait(&ring.full[state_.stage], state_.parity);
    const std::uint32_t stage = ptx::shared_address(shared_.stages) + state_.stage * Ring<kSub>::kStageBytes;
#pragma unroll
    for (int sub = 0; sub < kSub; ++sub) {
      const int half = warpgroup_ * kSub + sub;  // index of 64 rows of the block's tile
      const std::uint32_t a = stage + half / 2 * kChunkBytes + half % 2 * (kHalfStepBytes / 2);
      const std::uint32_t b = stage + kSub * kChunkBytes;
      if (bytes == kChunkBytes) {
        add_products<kMinus, kSteps>(a, b, c[sub]);
      } else {
        for (int at = 0; at < bytes; at += kStepBytes) add_products<kMinus, 1>(a + at, b + at, c[sub]);
      }
    }
    if constexpr (kSub == 2) {
      if (threadIdx.x % 32 < 2) ptx::barrier_arrive_in_cluster(&ring.empty[state_.stage], threadIdx.x % 32);
    } else {
      if (threadIdx.x % 32 == 0) ptx::barrier_arrive(&ring.empty[state_.stage]);
    }
    state_.next();
  }

 private:
  static constexpr int kStepBytes = kParts * kPartBytes;
  static constexpr int kSteps = kChunkBytes / kStepBytes;

  // c ±= the products, summed from zero: first hi·lo and lo·hi, then hi·hi.
  template <bool kMinus, int kCount>
  __device__ void add_products(std::uint32_t a, std::uint32_t b, float (&c)[kThreadEntries]) {
    const std::uint64_t a_hi = warpgroup_descriptor(a), b_hi = warpgroup_descriptor(b);
    constexpr std::uint64_t step = kStepBytes / 16, lo = kPartBytes / 16;  // in units of 16 bytes, as in descriptors
    ptx::warpgroup_fence();
    if constexpr (kParts == 2) {
#pragma unroll
      for (int s = 0; s < kCount; ++s) {
        ptx::warpgroup_mma(sum_, a_hi + s * step + lo, b_hi + s * step, s != 0);
        ptx::warpgroup_mma(sum_, a_hi + s * step, b_hi + s * step + lo, 1);
      }
    }
#pragma unroll
    for (int s = 0; s < kCount; ++s) ptx::warpgroup_mma(sum_, a_hi + s * step, b_hi + s * step, kParts == 2 || s != 0);
    ptx::warpgroup_commit();
    ptx::warpgroup_wait(sum_);
#pragma unroll
    for (int e = 0; e < kThreadEntries; ++e) c[e] = kMinus ? c[e] - sum_[e] : c[e] + sum_[e];
  }

  Shared<kSub>& shared_;
  PipelineState<kSub> state_;
  int warpgroup_;
  float sum_[kThreadEntries];
};

template <int kSub>
__device__ inline void clear(float (&c)[kSub][kThreadEntries]) {
#pragma unroll
  for (int sub = 0; sub < kSub; ++sub)
#pragma unroll
    for (int e = 0; e < kThreadEntries; ++e) c[sub][e] = 0.0f;
}

// From products to C, for one half (64 rows) of a tile.
template <bool kRbf>
__device__ inline void epilogue_half(const TileProblem& problem, const Operand& operand, int model,
                                     const TileWalk& walk, int half, int thread, float (&c)[kThreadEntries]) {
  const std::int64_t row = static_cast<std::int64_t>(walk.row) * kTileRows + half * (kTileRows / 2);
  const std::int64_t col = static_cast<std::int64_t>(walk.col) * kTileRows;
  tile_epilogue<kRbf>(problem, operand, model, row, col, [=](int e) { return warpgroup_entry(thread, e); }, c);
}

#endif

}  // namespace sac::warpgroup_tiles
