// Grid of correlation_distances_tiles: blocks, and suspects of a group.
#pragma once

#include <algorithm>
#include <cstdint>

#include "sac/detail/ceil_div.h"

namespace sac {

constexpr std::int64_t kMaxGroupSuspects = 32;

struct TileGrid {
  std::int64_t blocks;     // for each group; they share the tiles
  std::int64_t per_group;  // suspects
};

// The fastest grid by a model of the run time: waves of blocks on `processors`, one block each, times the tiles of a
// block, times the models of a group and the source. Few tiles need many groups to fill the last wave.
inline TileGrid tile_grid(std::int64_t tiles, std::int64_t suspects, std::int64_t processors) {
  TileGrid best{};
  std::int64_t best_time = INT64_MAX;
  for (const std::int64_t blocks : {std::min(tiles, processors), std::min(tiles, 4 * processors)}) {
    const std::int64_t min_groups = ceil_div(suspects, kMaxGroupSuspects);
    for (std::int64_t groups = min_groups; groups <= std::min(suspects, min_groups + 2 * processors); ++groups) {
      const std::int64_t each = ceil_div(suspects, groups);
      const std::int64_t time =
          ceil_div(blocks * ceil_div(suspects, each), processors) * ceil_div(tiles, blocks) * (each + 1);
      if (time < best_time) {
        best_time = time;
        best = {blocks, each};
      }
    }
  }
  return best;
}

}  // namespace sac
