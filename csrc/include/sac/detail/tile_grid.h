// Into how many blocks and groups of suspects the tiles of correlation_distances_tiles are divided.
#pragma once

#include <cstdint>

namespace sac {

constexpr std::int64_t kMostPerGroup = 32;

struct TileGrid {
  std::int64_t blocks;     // which share the tiles, for each group
  std::int64_t per_group;  // suspects
};

// The grid that is done soonest on `processors` that take a block each: in so many waves of blocks every block forms
// its tiles of the source and of its suspects. Few tiles want many groups, and as many blocks as fill the last wave.
inline TileGrid tile_grid(std::int64_t tiles, std::int64_t suspects, std::int64_t processors) {
  const auto divided = [](std::int64_t x, std::int64_t by) { return (x + by - 1) / by; };
  const auto smaller = [](std::int64_t x, std::int64_t y) { return x < y ? x : y; };
  TileGrid best{};
  std::int64_t least = INT64_MAX;
  for (const std::int64_t blocks : {smaller(tiles, processors), smaller(tiles, 4 * processors)}) {
    const std::int64_t fewest = divided(suspects, kMostPerGroup);
    for (std::int64_t groups = fewest; groups <= smaller(suspects, fewest + 2 * processors); ++groups) {
      const std::int64_t each = divided(suspects, groups);
      const std::int64_t time =
          divided(blocks * divided(suspects, each), processors) * divided(tiles, blocks) * (each + 1);
      if (time < least) {
        least = time;
        best = {blocks, each};
      }
    }
  }
  return best;
}

}  // namespace sac
