// The nearest neighbours of a query, sorted, held by a warp: element e is slot e / 32 of lane e % 32.
#pragma once

#include <cstdint>

#include "cuda/detail/sweep_instructions.cuh"
#include "sac/detail/sweep.h"

namespace sac {
namespace {

constexpr unsigned kFullMask = 0xffffffffu;

template <int Slots>
struct NeighbourList {
  std::int64_t key[Slots];

  __device__ void load(const std::int64_t* list, int top) {
    const int lane = opaque(threadIdx.x) % 32;
#pragma unroll
    for (int s = 0; s < Slots; ++s) key[s] = s * 32 + lane < top ? list[s * 32 + lane] : kNoNeighbour;
  }

  __device__ void store(std::int64_t* list, int top) const {
    const int lane = opaque(threadIdx.x) % 32;
#pragma unroll
    for (int s = 0; s < Slots; ++s)
      if (s * 32 + lane < top) list[s * 32 + lane] = key[s];
  }

  __device__ std::int64_t last(int top) const {
    std::int64_t last = 0;
#pragma unroll
    for (int s = 0; s < Slots; ++s) {  // shuffle first: indexing `key` by a variable would move it to local memory
      const std::int64_t value = __shfl_sync(kFullMask, key[s], (top - 1) % 32);
      if ((top - 1) / 32 == s) last = value;
    }
    return last;
  }

  // Inserts `value`, the same in all lanes, and drops the last element.
  __device__ void insert(std::int64_t value) {
    const int lane = opaque(threadIdx.x) % 32;
    int place = 0;
#pragma unroll
    for (int s = 0; s < Slots; ++s) place += __popc(__ballot_sync(kFullMask, key[s] < value));
#pragma unroll
    for (int s = Slots - 1; s >= 0; --s) {
      const std::int64_t before = __shfl_up_sync(kFullMask, key[s], 1);
      const std::int64_t carried = s > 0 ? __shfl_sync(kFullMask, key[s > 0 ? s - 1 : 0], 31) : value;
      const int e = s * 32 + lane;
      if (e == place)
        key[s] = value;
      else if (e > place)
        key[s] = lane == 0 ? carried : before;
    }
  }
};

// Candidates for one query: a row or a column of a tile of distances.
struct Candidates {
  const std::uint32_t* matrix;
  int line;
  bool is_column;
  int count;              // models in it
  std::int64_t first;     // number of the first one
  std::int64_t excluded;  // a model that is no neighbour, or −1
};

// Merges candidates into the query's list. `bound`: the list's last element, in shared memory that only this warp uses.
template <int Slots>
__device__ void merge_candidates(const Candidates& candidates, int top, std::int64_t* bound, std::int64_t* list) {
  const int lane = opaque(threadIdx.x) % 32;
  std::int64_t keys[kSweepTile / 32];
  std::int64_t last = *bound;
  bool any = false;
#pragma unroll
  for (int s = 0; s < kSweepTile / 32; ++s) {
    const int other = s * 32 + lane;
    const int word =
        candidates.is_column ? sweep_matrix_word(other, candidates.line) : sweep_matrix_word(candidates.line, other);
    const bool valid = other < candidates.count && candidates.first + other != candidates.excluded;
    keys[s] = valid ? neighbour_key(candidates.matrix[word], candidates.first + other) : kNoNeighbour;
    any = any || keys[s] < last;
  }
  if (__ballot_sync(kFullMask, any) == 0) return;
  NeighbourList<Slots> nearest;
  nearest.load(list, top);
#pragma unroll
  for (int s = 0; s < kSweepTile / 32; ++s) {
    unsigned pending = __ballot_sync(kFullMask, keys[s] < last);
    while (pending != 0) {
      nearest.insert(__shfl_sync(kFullMask, keys[s], __ffs(pending) - 1));
      last = nearest.last(top);
      pending &= pending - 1;
      pending &= __ballot_sync(kFullMask, keys[s] < last);
    }
  }
  nearest.store(list, top);
  if (lane == 0) *bound = last;
  __syncwarp();
}

}  // namespace
}  // namespace sac
