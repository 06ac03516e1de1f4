// A tile of 128 × 128 L1 distances, 8 × 8 per thread. Rows are staged in shared memory in slabs of 128 bytes of each
// row, double-buffered: the next slab is copied while this one is summed.
#pragma once

#include <cuda_fp16.h>

#include <cstdint>

#include "cuda/detail/async_copy.cuh"
#include "cuda/detail/sweep_instructions.cuh"
#include "sac/detail/sweep.h"

namespace sac {
namespace {

constexpr int kSweepThreads = 256;
constexpr int kSweepThreadSide = 8;                        // pairs of a thread along either side
constexpr int kSweepStep = kSweepTile / kSweepThreadSide;  // between two pairs of a thread
constexpr int kCompensateSlabs = 4;

// A form's unit of reading, and how it is summed. kCompensated: sums are added to a compensated total every
// kCompensateSlabs slabs.
struct Float32Chunks {
  using Piece = float4;
  using Sum = float;
  static constexpr bool kCompensated = true;
  static __device__ void add(float& sum, const float4& a, const float4& b) {
    sum += (fabsf(a.x - b.x) + fabsf(a.y - b.y)) + (fabsf(a.z - b.z) + fabsf(a.w - b.w));
  }
};

struct Float16Chunks {
  struct __align__(16) Piece {
    __half2 pair[4];
  };
  using Sum = float;
  static constexpr bool kCompensated = true;
  static __device__ void add(float& sum, const Piece& a, const Piece& b) {
    const __half2 even = __hadd2(__habs2(__hsub2(a.pair[0], b.pair[0])), __habs2(__hsub2(a.pair[1], b.pair[1])));
    const __half2 odd = __hadd2(__habs2(__hsub2(a.pair[2], b.pair[2])), __habs2(__hsub2(a.pair[3], b.pair[3])));
    const float2 both = __half22float2(__hadd2(even, odd));
    sum += both.x + both.y;
  }
};

// 8 bytes: registers then suffice for two thread blocks on a multiprocessor.
struct Uint8Chunks {
  using Piece = uint2;
  using Sum = std::uint32_t;
  static constexpr bool kCompensated = false;
  static __device__ void add(std::uint32_t& sum, const uint2& a, const uint2& b) {
    sum = add_byte_differences(a.x, b.x, sum);
    sum = add_byte_differences(a.y, b.y, sum);
  }
};

struct Float64Chunks {
  using Piece = double2;
  using Sum = double;
  static constexpr bool kCompensated = false;
  static __device__ void add(double& sum, const double2& a, const double2& b) {
    sum += fabs(a.x - b.x) + fabs(a.y - b.y);
  }
};

// The sums of a thread's pairs. The rounding error of adding a sum to its total is carried into the next sum, so the
// total's error does not grow with the number of entries.
template <class Form, bool Compensated = Form::kCompensated>
struct SweepSums {
  typename Form::Sum sum[kSweepThreadSide][kSweepThreadSide] = {};
  __device__ void add_compensated() {}
  __device__ typename Form::Sum value(int i, int j) const { return sum[i][j]; }
};

template <class Form>
struct SweepSums<Form, true> {
  typename Form::Sum sum[kSweepThreadSide][kSweepThreadSide] = {};
  typename Form::Sum total[kSweepThreadSide][kSweepThreadSide] = {};
  __device__ void add_compensated() {
#pragma unroll
    for (int i = 0; i < kSweepThreadSide; ++i)
#pragma unroll
      for (int j = 0; j < kSweepThreadSide; ++j) {
        const auto next = total[i][j] + sum[i][j];
        sum[i][j] -= next - total[i][j];
        total[i][j] = next;
      }
  }
  __device__ typename Form::Sum value(int i, int j) const { return total[i][j] + sum[i][j]; }
};

// Starts copying chunks first … first + 7 of 128 rows of x, then of 128 rows of y. Rows beyond the last repeat it;
// chunks beyond the last are zero.
__device__ inline void stage_slab(const SweepRows& x, std::int64_t x_first, const SweepRows& y, std::int64_t y_first,
                                  std::int64_t first, std::int64_t chunks, std::uint8_t* slab) {
  const int thread = opaque(threadIdx.x), chunk = thread % kSweepSlabChunks;
  const bool inside = first + chunk < chunks;
  const std::int64_t offset = inside ? (first + chunk) * kSweepChunkBytes : 0;
  constexpr int at_once = kSweepThreads / kSweepSlabChunks;
#pragma unroll
  for (int r = 0; r < 2 * kSweepTile; r += at_once) {
    const int row = r + thread / kSweepSlabChunks;
    const SweepRows& from = r < kSweepTile ? x : y;
    const std::int64_t index = r < kSweepTile ? x_first + row : y_first + row - kSweepTile;
    const std::int64_t clamped = index < from.rows ? index : from.rows - 1;
    ptx::copy_async_16(ptx::shared_address(slab + sweep_slab_offset(row, chunk)),
                       from.data + clamped * from.pitch + offset, inside);
  }
}

template <class Form>
__device__ void add_slab(const std::uint8_t* slab, SweepSums<Form>& sums) {
  using Piece = typename Form::Piece;
  const int row = sweep_thread_row(threadIdx.x), col = kSweepTile + sweep_thread_col(threadIdx.x);
  constexpr int step =
      kSweepStep * kSweepSlabChunks * kSweepChunkBytes;  // bytes between rows of equal position in a group of 8
  constexpr int pieces = kSweepChunkBytes / sizeof(Piece);
#pragma unroll 1
  for (int chunk = 0; chunk < kSweepSlabChunks; ++chunk) {
    const std::uint8_t* const x = slab + sweep_slab_offset(row, chunk);
    const std::uint8_t* const y = slab + sweep_slab_offset(col, chunk);
#pragma unroll
    for (int p = 0; p < pieces; ++p) {
      Piece a[kSweepThreadSide];
#pragma unroll
      for (int i = 0; i < kSweepThreadSide; ++i) a[i] = reinterpret_cast<const Piece*>(x + i * step)[p];
#pragma unroll
      for (int j = 0; j < kSweepThreadSide; ++j) {
        const Piece b = reinterpret_cast<const Piece*>(y + j * step)[p];
#pragma unroll
        for (int i = 0; i < kSweepThreadSide; ++i) Form::add(sums.sum[i][j], a[i], b);
      }
    }
  }
}

// The sums over all chunks of the rows x_first … x_first + 127 of x and likewise of y. `slabs`: shared memory for two.
// Synchronise the block before using it again.
template <class Form>
__device__ void sweep_tile(const SweepRows& x, std::int64_t x_first, const SweepRows& y, std::int64_t y_first,
                           std::int64_t chunks, std::uint8_t* slabs, SweepSums<Form>& sums) {
  __syncthreads();
  stage_slab(x, x_first, y, y_first, 0, chunks, slabs);
  int parity = 0, slabs_in_sum = 0;
  for (std::int64_t first = 0; first < chunks; first += kSweepSlabChunks) {
    ptx::copy_async_wait_all();
    __syncthreads();  // all copies have arrived, and no thread reads the other slab
    const std::int64_t next = first + kSweepSlabChunks;
    if (next < chunks) stage_slab(x, x_first, y, y_first, next, chunks, slabs + (parity ^ 1) * kSweepSlabBytes);
    add_slab<Form>(slabs + parity * kSweepSlabBytes, sums);
    parity ^= 1;
    if (Form::kCompensated && ++slabs_in_sum == kCompensateSlabs) {
      sums.add_compensated();
      slabs_in_sum = 0;
    }
  }
}

}  // namespace
}  // namespace sac
