// The nearest neighbours of a query, sorted, held by a warp: element e is slot e / 32 of lane e % 32.
#pragma once

#include <cstdint>

#include "cuda/detail/sweep_instructions.cuh"
#include "sac/detail/sweep.h"

namespace sac {
namespace {

constexpr unsigned kWholeWarp = 0xffffffffu;

template <int Slots>
struct NeighbourList {
  std::int64_t key[Slots];

  __device__ void load(const std::int64_t* list, int top) {
    const int lane = computed_here(threadIdx.x) % 32;
#pragma unroll
    for (int s = 0; s < Slots; ++s) key[s] = s * 32 + lane < top ? list[s * 32 + lane] : kNoNeighbour;
  }

  __device__ void store(std::int64_t* list, int top) const {
    const int lane = computed_here(threadIdx.x) % 32;
#pragma unroll
    for (int s = 0; s < Slots; ++s)
      if (s * 32 + lane < top) list[s * 32 + lane] = key[s];
  }

  __device__ std::int64_t last(int top) const {
    std::int64_t found = 0;
#pragma unroll
    for (int s = 0; s < Slots; ++s) {  // shuffled before it is chosen: an index into `key` would put it into memory
      const std::int64_t here = __shfl_sync(kWholeWarp, key[s], (top - 1) % 32);
      if ((top - 1) / 32 == s) found = here;
    }
    return found;
  }

  // Puts `wanted`, the same in all lanes, at its place; what stands behind moves on.
  __device__ void insert(std::int64_t wanted) {
    const int lane = computed_here(threadIdx.x) % 32;
    int place = 0;
#pragma unroll
    for (int s = 0; s < Slots; ++s) place += __popc(__ballot_sync(kWholeWarp, key[s] < wanted));
#pragma unroll
    for (int s = Slots - 1; s >= 0; --s) {
      const std::int64_t before = __shfl_up_sync(kWholeWarp, key[s], 1);
      const std::int64_t carried = s > 0 ? __shfl_sync(kWholeWarp, key[s > 0 ? s - 1 : 0], 31) : wanted;
      const int e = s * 32 + lane;
      if (e == place)
        key[s] = wanted;
      else if (e > place)
        key[s] = lane == 0 ? carried : before;
    }
  }
};

// What a warp offers to one query: a row or a column of a tile of distances.
struct Offer {
  const std::uint32_t* matrix;
  int line;
  bool is_column;
  int count;            // models in it
  std::int64_t first;   // number of the first one
  std::int64_t itself;  // the model that is left out, or −1
};

// Merges an offer into the query's list. `bound`: the list's last element, shared memory that only this warp uses.
template <int Slots>
__device__ void offer_line(const Offer& offer, int top, std::int64_t* bound, std::int64_t* list) {
  const int lane = computed_here(threadIdx.x) % 32;
  std::int64_t offered[kSweepTile / 32];
  std::int64_t last = *bound;
  bool any = false;
#pragma unroll
  for (int s = 0; s < kSweepTile / 32; ++s) {
    const int other = s * 32 + lane;
    const int word = offer.is_column ? sweep_matrix_word(other, offer.line) : sweep_matrix_word(offer.line, other);
    const bool counts = other < offer.count && offer.first + other != offer.itself;
    offered[s] = counts ? neighbour_key(offer.matrix[word], offer.first + other) : kNoNeighbour;
    any = any || offered[s] < last;
  }
  if (__ballot_sync(kWholeWarp, any) == 0) return;
  NeighbourList<Slots> nearest;
  nearest.load(list, top);
#pragma unroll
  for (int s = 0; s < kSweepTile / 32; ++s) {
    unsigned wanted = __ballot_sync(kWholeWarp, offered[s] < last);
    while (wanted != 0) {
      nearest.insert(__shfl_sync(kWholeWarp, offered[s], __ffs(wanted) - 1));
      last = nearest.last(top);
      wanted &= wanted - 1;
      wanted &= __ballot_sync(kWholeWarp, offered[s] < last);
    }
  }
  nearest.store(list, top);
  if (lane == 0) *bound = last;
  __syncwarp();
}

}  // namespace
}  // namespace sac
