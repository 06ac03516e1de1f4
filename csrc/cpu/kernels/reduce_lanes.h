// Sums of the lanes of several vectors of 64-bit numbers at once.
#pragma once

#include "cpu/kernels/simd.h"

namespace sac {
namespace {

using WideVector = Vector<std::int64_t>;
constexpr int kWideLanes = SAC_VECTOR_BYTES / 8;

// For lanes whose bit `Step` is set the second operand's pair of lanes (l, l ^ Step), for the others the first one's.
template <int Step>
inline __attribute__((always_inline)) WideVector add_lane_pairs(WideVector a, WideVector b) {
  WideVector kept, moved;
#if SAC_VECTOR_BYTES == 64
  kept = __builtin_shufflevector(a, b, 0 & Step ? 8 : 0, 1 & Step ? 9 : 1, 2 & Step ? 10 : 2, 3 & Step ? 11 : 3,
                                 4 & Step ? 12 : 4, 5 & Step ? 13 : 5, 6 & Step ? 14 : 6, 7 & Step ? 15 : 7);
  moved = __builtin_shufflevector(a, b, (0 ^ Step) + (0 & Step ? 8 : 0), (1 ^ Step) + (1 & Step ? 8 : 0),
                                  (2 ^ Step) + (2 & Step ? 8 : 0), (3 ^ Step) + (3 & Step ? 8 : 0),
                                  (4 ^ Step) + (4 & Step ? 8 : 0), (5 ^ Step) + (5 & Step ? 8 : 0),
                                  (6 ^ Step) + (6 & Step ? 8 : 0), (7 ^ Step) + (7 & Step ? 8 : 0));
#elif SAC_VECTOR_BYTES == 32
  kept = __builtin_shufflevector(a, b, 0 & Step ? 4 : 0, 1 & Step ? 5 : 1, 2 & Step ? 6 : 2, 3 & Step ? 7 : 3);
  moved = __builtin_shufflevector(a, b, (0 ^ Step) + (0 & Step ? 4 : 0), (1 ^ Step) + (1 & Step ? 4 : 0),
                                  (2 ^ Step) + (2 & Step ? 4 : 0), (3 ^ Step) + (3 & Step ? 4 : 0));
#else
  kept = __builtin_shufflevector(a, b, 0, 3);
  moved = __builtin_shufflevector(a, b, 1, 2);
#endif
  return kept + moved;
}

// The sums of kWideLanes vectors: lane l of the result is that of s[l].
template <int Count>
inline __attribute__((always_inline)) WideVector reduce_lanes(const WideVector* s) {
  if constexpr (Count == 1)
    return s[0];
  else
    return add_lane_pairs<Count / 2>(reduce_lanes<Count / 2>(s), reduce_lanes<Count / 2>(s + Count / 2));
}

}  // namespace
}  // namespace sac
