// Tiles of 128×128 entries of C by mma.sync, for devices from sm_80 on: 8 warps of 64×32 entries each. A multi-stage
// cp.async pipeline loads the chunks and keeps running across tiles and models.
#pragma once

#include "cuda/detail/launch.cuh"
#include "cuda/detail/tensor_core_ptx.cuh"
#include "cuda/detail/tile_epilogue.cuh"

namespace sac::warp_tiles {

constexpr int kThreads = 256;
constexpr int kStages = 3;  // with the sums of a group they fit the 99 KiB of sm_86, sm_89 and sm_120
constexpr int kStageBytes = 2 * kChunkBytes;
constexpr int kRingBytes = kStages * kStageBytes;

// The order in which chunks are loaded and multiplied: tile by tile the source, then the suspects first … end − 1, each
// chunk by chunk.
struct ChunkOrder {
  TileWalk walk;
  std::int32_t model, first, end;  // model == first − 1: the source
  int chunk;

  __device__ ChunkOrder(const TileProblem& problem, std::int32_t first_, std::int32_t end_)
      : walk(problem.schedule, blockIdx.x), model(first_ - 1), first(first_), end(end_), chunk(0) {}
  __device__ const Operand& operand(const TileProblem& problem) const {
    return model < first ? problem.source : problem.suspects;
  }
  __device__ void next(const TileProblem& problem) {
    if (++chunk < operand(problem).chunks) return;
    chunk = 0;
    if (++model < end) return;
    model = first - 1;
    walk.next(problem.schedule, gridDim.x);
  }
};

template <int kParts>
class Tiles {
 public:
  // source_model: index of the source within problem.source
  __device__ Tiles(const TileProblem& problem, std::int32_t source_model, std::int32_t first, std::int32_t end)
      : problem_(problem), source_model_(source_model), next_load_(problem, first, end), ring_(dynamic_shared()) {
    for (int stage = 0; stage < kStages - 1; ++stage) load(stage);
  }

  // c = the thread's entries of the next tile or model in ChunkOrder: sums of products of 2^12 x̂.
  __device__ void compute(int chunks, int last_bytes, float (&c)[kThreadEntries]) {
#pragma unroll
    for (int e = 0; e < kThreadEntries; ++e) c[e] = 0.0f;
    for (int chunk = 0; chunk < chunks; ++chunk) {
      ptx::copy_async_wait<kStages - 2>();
      __syncthreads();  // the stage has arrived, and no thread reads the previous one, which is overwritten now
      load(stage_ == 0 ? kStages - 1 : stage_ - 1);
      add_chunk((chunk + 1 < chunks ? kChunkBytes : last_bytes) / (kParts * kPartBytes), c);
      stage_ = stage_ + 1 == kStages ? 0 : stage_ + 1;
    }
  }

 private:
  static constexpr int kSteps = kChunkBytes / (kParts * kPartBytes);

  __device__ void load(int stage) {
    if (!next_load_.walk.ended) {
      const Operand& operand = next_load_.operand(problem_);
      const bool is_source = next_load_.model < next_load_.first;
      const std::int64_t model = is_source ? source_model_ : next_load_.model;
      const unsigned char* rows = operand.row_chunk(model, next_load_.walk.row, next_load_.chunk);
      const unsigned char* cols = operand.col_chunk(model, next_load_.walk.col, next_load_.chunk);
      const int bytes = operand.chunk_bytes(next_load_.chunk);
      const std::uint32_t to = ptx::shared_address(ring_) + stage * kStageBytes;
      for (int at = static_cast<int>(threadIdx.x) * 16; at < bytes; at += kThreads * 16) {
        ptx::copy_async_16(to + at, rows + at);
        ptx::copy_async_16(to + kChunkBytes + at, cols + at);
      }
      next_load_.next(problem_);
    }
    ptx::copy_async_commit();  // also without copies, so that the number of pending groups is fixed
  }

  // c += the products of one chunk, summed from zero: first hi·lo and lo·hi, then hi·hi.
  __device__ void add_chunk(int steps, float (&c)[kThreadEntries]) {
    const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
    const std::uint32_t stage = ptx::shared_address(ring_) + stage_ * kStageBytes + lane % 8 * 16;
    // A: matrices (rows, rows + 8) × (first half of the step, second half), in this order
    const std::uint32_t a_at = stage + (warp / 4 * 8 + lane / 8 % 2) * kMatrixBytes + lane / 16 * kHalfStepBytes;
    // B: matrices (first half, second half) × (8 columns, the next 8)
    const std::uint32_t b_at =
        stage + kChunkBytes + (warp % 4 * 4 + lane / 16) * kMatrixBytes + lane / 8 % 2 * kHalfStepBytes;
    std::uint32_t b[kSteps][kParts][2][4];
#pragma unroll
    for (int step = 0; step < kSteps; ++step)
#pragma unroll
      for (int part = 0; part < kParts; ++part)
#pragma unroll
        for (int pair = 0; pair < 2; ++pair)
          if (step < steps)
            ptx::load_matrices(b[step][part][pair],
                               b_at + (step * kParts + part) * kPartBytes + pair * 2 * kMatrixBytes);
#pragma unroll
    for (int m = 0; m < 4; ++m) {
      float sum[4][4] = {};
      std::uint32_t hi[kSteps][4];
#pragma unroll
      for (int step = 0; step < kSteps; ++step) {
        if (step >= steps) break;
        const std::uint32_t at = a_at + step * kParts * kPartBytes + m * 2 * kMatrixBytes;
        ptx::load_matrices(hi[step], at);
        if constexpr (kParts == 2) {
          std::uint32_t lo[4];
          ptx::load_matrices(lo, at + kPartBytes);
#pragma unroll
          for (int n = 0; n < 4; ++n) {
            ptx::mma(sum[n], lo, b[step][0][n / 2][n % 2 * 2], b[step][0][n / 2][n % 2 * 2 + 1]);
            ptx::mma(sum[n], hi[step], b[step][1][n / 2][n % 2 * 2], b[step][1][n / 2][n % 2 * 2 + 1]);
          }
        }
      }
#pragma unroll
      for (int step = 0; step < kSteps; ++step) {
        if (step >= steps) break;
#pragma unroll
        for (int n = 0; n < 4; ++n)
          ptx::mma(sum[n], hi[step], b[step][0][n / 2][n % 2 * 2], b[step][0][n / 2][n % 2 * 2 + 1]);
      }
#pragma unroll
      for (int n = 0; n < 4; ++n)
#pragma unroll
        for (int i = 0; i < 4; ++i) c[(m * 4 + n) * 4 + i] += sum[n][i];
    }
  }

  const TileProblem& problem_;
  std::int32_t source_model_;
  ChunkOrder next_load_;
  unsigned char* ring_;
  int stage_ = 0;
};

// From products to C.
template <bool kRbf>
__device__ void epilogue(const TileProblem& problem, const Operand& operand, int model, const TileWalk& walk,
                         float (&c)[kThreadEntries]) {
  const std::int64_t row = static_cast<std::int64_t>(walk.row) * kTileRows;
  const std::int64_t col = static_cast<std::int64_t>(walk.col) * kTileRows;
  tile_epilogue<kRbf>(problem, operand, model, row, col, [](int e) { return warp_entry(threadIdx.x, e); }, c);
}

}  // namespace sac::warp_tiles
