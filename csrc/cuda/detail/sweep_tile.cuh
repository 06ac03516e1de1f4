// A tile of 128 × 128 L1 distances, 8 × 8 a thread. Rows go through shared memory, a slab of 128 bytes of each at a
// time, the next slab on its way while this one is summed.
#pragma once

#include <cuda_fp16.h>

#include <cstdint>

#include "cuda/detail/sweep_instructions.cuh"
#include "sac/detail/sweep.h"

namespace sac {
namespace {

constexpr int kSweepThreads = 256;
constexpr int kSweepEach = 8;                        // pairs of a thread along either side
constexpr int kSweepStep = kSweepTile / kSweepEach;  // and the step from one to the next
constexpr int kSettleSlabs = 4;

// What of a form's entries is read at once, and how it is added. kSettles: sums are moved to a total now and then.
struct Float32Chunks {
  using Piece = float4;
  using Sum = float;
  static constexpr bool kSettles = true;
  static __device__ void add(float& sum, const float4& a, const float4& b) {
    sum += (fabsf(a.x - b.x) + fabsf(a.y - b.y)) + (fabsf(a.z - b.z) + fabsf(a.w - b.w));
  }
};

struct Float16Chunks {
  struct __align__(16) Piece {
    __half2 pair[4];
  };
  using Sum = float;
  static constexpr bool kSettles = true;
  static __device__ void add(float& sum, const Piece& a, const Piece& b) {
    const __half2 even = __hadd2(__habs2(__hsub2(a.pair[0], b.pair[0])), __habs2(__hsub2(a.pair[1], b.pair[1])));
    const __half2 odd = __hadd2(__habs2(__hsub2(a.pair[2], b.pair[2])), __habs2(__hsub2(a.pair[3], b.pair[3])));
    const float2 both = __half22float2(__hadd2(even, odd));
    sum += both.x + both.y;
  }
};

// 8 bytes, so that the registers suffice for two thread blocks on a multiprocessor.
struct Uint8Chunks {
  using Piece = uint2;
  using Sum = std::uint32_t;
  static constexpr bool kSettles = false;
  static __device__ void add(std::uint32_t& sum, const uint2& a, const uint2& b) {
    sum = add_byte_differences(a.x, b.x, sum);
    sum = add_byte_differences(a.y, b.y, sum);
  }
};

struct Float64Chunks {
  using Piece = double2;
  using Sum = double;
  static constexpr bool kSettles = false;
  static __device__ void add(double& sum, const double2& a, const double2& b) {
    sum += fabs(a.x - b.x) + fabs(a.y - b.y);
  }
};

// The sums of a thread's pairs. What is lost when a sum is added to its total is where the next sum starts, so the
// total's rounding costs nothing however many entries there are.
template <class Form, bool Settles = Form::kSettles>
struct SweepSums {
  typename Form::Sum sum[kSweepEach][kSweepEach] = {};
  __device__ void settle() {}
  __device__ typename Form::Sum value(int i, int j) const { return sum[i][j]; }
};

template <class Form>
struct SweepSums<Form, true> {
  typename Form::Sum sum[kSweepEach][kSweepEach] = {};
  typename Form::Sum total[kSweepEach][kSweepEach] = {};
  __device__ void settle() {
#pragma unroll
    for (int i = 0; i < kSweepEach; ++i)
#pragma unroll
      for (int j = 0; j < kSweepEach; ++j) {
        const auto next = total[i][j] + sum[i][j];
        sum[i][j] -= next - total[i][j];
        total[i][j] = next;
      }
  }
  __device__ typename Form::Sum value(int i, int j) const { return total[i][j] + sum[i][j]; }
};

// Asks for chunks first … first + 7 of 128 rows of x, then 128 rows of y. Rows beyond the last are the last; chunks
// beyond the last are zero.
__device__ inline void stage_slab(const SweepRows& x, std::int64_t x_first, const SweepRows& y, std::int64_t y_first,
                                  std::int64_t first, std::int64_t chunks, std::uint8_t* slab) {
  const int thread = computed_here(threadIdx.x), chunk = thread % kSweepSlabChunks;
  const bool inside = first + chunk < chunks;
  const std::int64_t offset = inside ? (first + chunk) * kSweepChunkBytes : 0;
  constexpr int at_once = kSweepThreads / kSweepSlabChunks;
#pragma unroll
  for (int r = 0; r < 2 * kSweepTile; r += at_once) {
    const int row = r + thread / kSweepSlabChunks;
    const SweepRows& from = r < kSweepTile ? x : y;
    const std::int64_t wanted = r < kSweepTile ? x_first + row : y_first + row - kSweepTile;
    const std::int64_t there = wanted < from.rows ? wanted : from.rows - 1;
    copy_16_async(slab + sweep_slab_offset(row, chunk), from.data + there * from.pitch + offset, inside);
  }
}

template <class Form>
__device__ void add_slab(const std::uint8_t* slab, SweepSums<Form>& sums) {
  using Piece = typename Form::Piece;
  const int row = sweep_thread_row(threadIdx.x), col = kSweepTile + sweep_thread_col(threadIdx.x);
  constexpr int step = kSweepStep * kSweepSlabChunks * kSweepChunkBytes;  // of the same place in its group of 8 rows
  constexpr int pieces = kSweepChunkBytes / sizeof(Piece);
#pragma unroll 1
  for (int chunk = 0; chunk < kSweepSlabChunks; ++chunk) {
    const std::uint8_t* const x = slab + sweep_slab_offset(row, chunk);
    const std::uint8_t* const y = slab + sweep_slab_offset(col, chunk);
#pragma unroll
    for (int p = 0; p < pieces; ++p) {
      Piece a[kSweepEach];
#pragma unroll
      for (int i = 0; i < kSweepEach; ++i) a[i] = reinterpret_cast<const Piece*>(x + i * step)[p];
#pragma unroll
      for (int j = 0; j < kSweepEach; ++j) {
        const Piece b = reinterpret_cast<const Piece*>(y + j * step)[p];
#pragma unroll
        for (int i = 0; i < kSweepEach; ++i) Form::add(sums.sum[i][j], a[i], b);
      }
    }
  }
}

// The sums over all chunks of the rows x_first … x_first + 127 of x and likewise of y. `slabs`: room for two in shared
// memory. Whoever reads or writes it afterwards waits for the block first.
template <class Form>
__device__ void sweep_tile(const SweepRows& x, std::int64_t x_first, const SweepRows& y, std::int64_t y_first,
                           std::int64_t chunks, std::uint8_t* slabs, SweepSums<Form>& sums) {
  __syncthreads();
  stage_slab(x, x_first, y, y_first, 0, chunks, slabs);
  int parity = 0, unsettled = 0;
  for (std::int64_t first = 0; first < chunks; first += kSweepSlabChunks) {
    wait_for_copies();
    __syncthreads();  // all copies are there, and nobody reads the other slab any more
    const std::int64_t next = first + kSweepSlabChunks;
    if (next < chunks) stage_slab(x, x_first, y, y_first, next, chunks, slabs + (parity ^ 1) * kSweepSlabBytes);
    add_slab<Form>(slabs + parity * kSweepSlabBytes, sums);
    parity ^= 1;
    if (Form::kSettles && ++unsettled == kSettleSlabs) {
      sums.settle();
      unsettled = 0;
    }
  }
}

}  // namespace
}  // namespace sac
