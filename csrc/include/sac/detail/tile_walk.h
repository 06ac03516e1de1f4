// The order of the tiles of C: all of a rectangle, or those of a square on and above the diagonal.
//
// A step of the walk is a square of `side` × `side` tiles of C, which a block, or a cluster of blocks, computes at
// a time. Steps go through bands of kBand rows, in a band column by column: what the blocks of a launch read at a time
// is then a square that fits the L2 cache. Numbering is exact and without roots: a walk moves forward only and counts
// bands as it passes them. Steps are counted in 64 bits, rows and columns of them in 32 (a band must hold less than 2³²
// steps: 6.8e10 probes).
#pragma once

#include <cstdint>

#include "sac/detail/ceil_div.h"
#include "sac/detail/host_device.h"

namespace sac {

struct TileSchedule {
  std::int32_t rows, cols;  // in steps
  bool triangle;            // rows == cols; only steps on and above the diagonal
};

constexpr std::int32_t kBand = 8;

struct Band {
  std::int32_t first_row, height, first_col;
  std::int64_t size;
};

// Band number b, 0 ≤ b < bands of the schedule.
SAC_HOST_DEVICE inline Band band_of(const TileSchedule& schedule, std::int32_t b) {
  const std::int32_t first = b * kBand, height = schedule.rows - first < kBand ? schedule.rows - first : kBand;
  if (!schedule.triangle) return {first, height, 0, static_cast<std::int64_t>(height) * schedule.cols};
  // column first + j holds j + 1 rows, until it holds all of the band's
  return {first, height, first,
          height * (height - 1) / 2 + static_cast<std::int64_t>(schedule.cols - first - height + 1) * height};
}

SAC_HOST_DEVICE inline std::int32_t bands_of(const TileSchedule& schedule) { return ceil_div(schedule.rows, kBand); }

inline std::int64_t steps_of(const TileSchedule& schedule) {
  std::int64_t all = 0;
  for (std::int32_t b = 0; b < bands_of(schedule); ++b) all += band_of(schedule, b).size;
  return all;
}

// Moves through steps number first, first + stride, first + 2·stride … Small, since two of them are kept in registers.
struct TileWalk {
  std::int64_t within;  // index of the step in its band
  std::int32_t band;
  std::int32_t row, col;
  bool ended;

  SAC_HOST_DEVICE TileWalk(const TileSchedule& schedule, std::int64_t first) : within(first), band(0), row(0), col(0) {
    find(schedule);
  }
  SAC_HOST_DEVICE void next(const TileSchedule& schedule, std::int64_t stride) {
    within += stride;
    find(schedule);
  }

 private:
  SAC_HOST_DEVICE void find(const TileSchedule& schedule) {
    ended = true;
    const std::int32_t bands = bands_of(schedule);
    for (; band < bands; ++band) {
      const Band current = band_of(schedule, band);
      if (within < current.size) return locate(schedule, current);
      within -= current.size;
    }
  }
  SAC_HOST_DEVICE void locate(const TileSchedule& schedule, const Band& current) {
    ended = false;
    auto left = static_cast<std::uint32_t>(within);
    std::uint32_t held = schedule.triangle ? 1 : static_cast<std::uint32_t>(current.height);
    col = current.first_col;
    for (; held < static_cast<std::uint32_t>(current.height) && left >= held; ++held) {
      left -= held;
      ++col;
    }
    col += static_cast<std::int32_t>(left / held);
    row = current.first_row + static_cast<std::int32_t>(left % held);
  }
};

// Weight of the tile (row, col) of `rows` × `cols` tiles in Σ_ij over both halves of C; 0 outside.
SAC_HOST_DEVICE inline int tile_weight(std::int32_t rows, std::int32_t cols, bool triangle, std::int32_t row,
                                       std::int32_t col) {
  if (row >= rows || col >= cols || (triangle && row > col)) return 0;
  return triangle && row == col ? 1 : 2;
}

}  // namespace sac
