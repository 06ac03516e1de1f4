// A tile of distances (detail/sweep_tile.cuh) goes through shared memory to the warps, each of which keeps the lists of
// its queries. A thread block has 128 queries and a part of the models; or, without queries, one tile, whose rows and
// whose columns are queries: then a round of a tournament is a launch, so that no list has two writers.
#include <stdexcept>

#include "cuda/detail/launch.cuh"
#include "cuda/detail/neighbour_list.cuh"
#include "cuda/detail/sweep_tile.cuh"
#include "sac/nearest_models.h"

namespace sac {
namespace {

constexpr int kNearestWarps = kSweepThreads / 32;
constexpr int kNearestShared = 2 * kSweepSlabBytes + 2 * kSweepTile * 8;
constexpr std::int64_t kNoRound = -2, kDiagonal = -1;

struct NearestTask {
  SweepRows queries, models;
  std::int64_t chunks, parts;
  std::int64_t round;  // kNoRound: queries against parts of the models; kDiagonal: tiles against themselves
  NearestSweep sweep;
  std::int64_t* lists;
};

// The tiles of a thread block: (row, first … last − 1).
struct NearestWalk {
  std::int64_t row, first, last;
  bool both;  // the columns are queries too
  std::int64_t* lists;
};

__device__ inline NearestWalk nearest_walk(const NearestTask& task) {
  const std::int64_t down = sweep_tiles(task.queries.rows), across = sweep_tiles(task.models.rows), b = blockIdx.x;
  if (task.round == kDiagonal) return {b, b, b + 1, false, task.lists};
  if (task.round == kNoRound) {
    const std::int64_t part = b / down;
    return {b % down, sweep_part_start(part, task.parts, across), sweep_part_start(part + 1, task.parts, across), false,
            task.lists + part * task.queries.rows * task.sweep.top};
  }
  const TriangleTile pair = tournament_pair(task.round, b, down + down % 2);
  return {pair.row, pair.col, pair.col < down ? pair.col + 1 : pair.col, true, task.lists};
}

// Last elements of the lists of the queries first … first + 127.
__device__ inline void load_bounds(std::int64_t* bounds, const std::int64_t* lists, std::int64_t first,
                                   std::int64_t rows, int top) {
  for (int r = threadIdx.x; r < kSweepTile; r += kSweepThreads)
    bounds[r] = first + r < rows ? lists[(first + r) * top + top - 1] : 0;
}

// Merges a tile's distances into the lists of its rows, or of its columns.
template <int Slots>
__device__ void merge_tile(const NearestTask& task, const NearestWalk& walk, std::int64_t col, bool columns,
                           const std::uint32_t* matrix, std::int64_t* bounds) {
  const std::int64_t first_query = (columns ? col : walk.row) * kSweepTile;
  const std::int64_t first_model = (columns ? walk.row : col) * kSweepTile;
  const std::int64_t queries = (columns ? task.models.rows : task.queries.rows) - first_query;
  const std::int64_t models = (columns ? task.queries.rows : task.models.rows) - first_model;
  for (int r = opaque(threadIdx.x) / 32; r < kSweepTile && r < queries; r += kNearestWarps) {
    const Candidates candidates{matrix,
                                r,
                                columns,
                                static_cast<int>(models < kSweepTile ? models : kSweepTile),
                                task.sweep.first_model + first_model,
                                task.sweep.exclude_self ? task.sweep.first_query + first_query + r : -1};
    merge_candidates<Slots>(candidates, task.sweep.top, bounds + r, walk.lists + (first_query + r) * task.sweep.top);
  }
}

__device__ inline std::uint32_t distance_bits(float distance) { return __float_as_uint(distance); }
__device__ inline std::uint32_t distance_bits(std::uint32_t distance) { return distance; }

template <class Form>
__device__ void write_matrix(const SweepSums<Form>& sums, std::uint32_t* matrix) {
  const int thread = opaque(threadIdx.x);
  const int row = sweep_thread_row(thread), col = sweep_thread_col(thread);
#pragma unroll
  for (int i = 0; i < kSweepThreadSide; ++i)
#pragma unroll
    for (int j = 0; j < kSweepThreadSide; ++j)
      matrix[sweep_matrix_word(row + i * kSweepStep, col + j * kSweepStep)] = distance_bits(sums.value(i, j));
}

// uint8 sums have no totals, so two blocks fit a multiprocessor.
template <class Form, int Slots>
__global__ void __launch_bounds__(kSweepThreads, Form::kCompensated ? 1 : 2) nearest_models_kernel(NearestTask task) {
  std::uint8_t* const memory = dynamic_shared();
  std::uint32_t* const matrix = reinterpret_cast<std::uint32_t*>(memory);  // reuses the memory of the slabs
  std::int64_t* const bounds = reinterpret_cast<std::int64_t*>(memory + 2 * kSweepSlabBytes);
  const NearestWalk walk = nearest_walk(task);
  load_bounds(bounds, walk.lists, walk.row * kSweepTile, task.queries.rows, task.sweep.top);
  if (walk.both)
    load_bounds(bounds + kSweepTile, walk.lists, walk.first * kSweepTile, task.models.rows, task.sweep.top);
  for (std::int64_t col = walk.first; col < walk.last; ++col) {
    {
      SweepSums<Form> sums;
      sweep_tile<Form>(task.queries, walk.row * kSweepTile, task.models, col * kSweepTile, task.chunks, memory, sums);
      __syncthreads();
      write_matrix<Form>(sums, matrix);
    }
    __syncthreads();
    merge_tile<Slots>(task, walk, col, false, matrix, bounds);
    if (walk.both) merge_tile<Slots>(task, walk, col, true, matrix, bounds + kSweepTile);
  }
}

template <class Form, int Slots>
void launch_on(std::int64_t count, const NearestTask& task, void* stream) {
  launch_kernel("nearest_models_kernel", nearest_models_kernel<Form, Slots>, static_cast<unsigned>(count),
                kSweepThreads, kNearestShared, stream, task);
}

template <class Form>
void launch_with(std::int64_t count, const NearestTask& task, void* stream) {
  if (task.sweep.top <= 32)
    launch_on<Form, 1>(count, task, stream);
  else
    launch_on<Form, kMaxNearest / 32>(count, task, stream);
}

void launch(std::int64_t count, const NearestTask& task, void* stream) {
  if (count > 0x7fffffff) throw std::invalid_argument("parts must leave less than 2^31 thread blocks");
  switch (task.sweep.form) {
    case VectorForm::uint8: return launch_with<Uint8Chunks>(count, task, stream);
    case VectorForm::float16: return launch_with<Float16Chunks>(count, task, stream);
    case VectorForm::float32: return launch_with<Float32Chunks>(count, task, stream);
    case VectorForm::float64: throw std::invalid_argument("form must be uint8, float16 or float32, got float64");
  }
}

}  // namespace

void nearest_models_cuda(const SweepRows& queries, const SweepRows& models, const NearestSweep& sweep,
                         std::int64_t parts, std::int64_t* lists, void* stream) {
  if (queries.rows == 0 || models.rows == 0) return;
  launch(sweep_tiles(queries.rows) * parts, {queries, models, sweep_chunks(sweep.bytes), parts, kNoRound, sweep, lists},
         stream);
}

void nearest_models_cuda(const SweepRows& models, const NearestSweep& sweep, std::int64_t* lists, void* stream) {
  const std::int64_t tiles = sweep_tiles(models.rows);
  if (tiles == 0) return;
  NearestTask task{models, models, sweep_chunks(sweep.bytes), 1, kDiagonal, sweep, lists};
  launch(tiles, task, stream);
  const std::int64_t players = tiles + tiles % 2, rounds = tiles > 1 ? players - 1 : 0;
  for (std::int64_t r = 0; r < rounds; ++r) {
    task.round = r;
    launch(players / 2, task, stream);
  }
}

}  // namespace sac
