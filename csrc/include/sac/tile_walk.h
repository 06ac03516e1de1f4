// In which order the tiles of C are formed: all of a rectangle, or of a square those on and above the diagonal.
//
// A step of the walk is one column tile and `height` row tiles. Steps go through bands of kBand row steps, in a band
// column by column: what the blocks of a launch read at one time is then a square of tiles that fits the L2 cache.
// Numbering is exact and without roots: a walk moves forward only and counts bands as it passes them. Steps are counted
// in 64 bits, tiles along a side in 32 (a band must hold less than 2³² steps: 6.8e10 probes).
#pragma once

#include "sac/triangle.h"

namespace sac {

struct TileSchedule {
  std::int32_t rows, cols;  // in tiles
  std::int32_t height;      // row tiles of one step
  bool triangle;            // rows == cols; only steps whose first row tile is not below the diagonal
};

constexpr std::int32_t kBand = 8;

struct Band {
  std::int32_t first_row;  // in steps
  std::int32_t height;     // in steps
  std::int32_t first_col;
  std::int64_t size;
};

// Band number b, 0 ≤ b < bands of the schedule.
SAC_HOST_DEVICE inline Band band_of(const TileSchedule& schedule, std::int32_t b) {
  const std::int32_t all = (schedule.rows + schedule.height - 1) / schedule.height, first = b * kBand;
  const std::int32_t height = all - first < kBand ? all - first : kBand;
  if (!schedule.triangle) return {first, height, 0, static_cast<std::int64_t>(height) * schedule.cols};
  // column first_col + j holds j / height + 1 row steps, until it holds all of the band's
  const std::int32_t first_col = first * schedule.height, cols = schedule.cols - first_col;
  const std::int32_t growing = (height - 1) * schedule.height, corner = cols < growing ? cols : growing;
  const std::int32_t q = corner / schedule.height, r = corner % schedule.height;
  return {first, height, first_col,
          schedule.height * q * (q + 1) / 2 + r * (q + 1) + static_cast<std::int64_t>(cols - corner) * height};
}

SAC_HOST_DEVICE inline std::int32_t bands_of(const TileSchedule& schedule) {
  return (schedule.rows + schedule.height * kBand - 1) / (schedule.height * kBand);
}

inline std::int64_t steps_of(const TileSchedule& schedule) {
  std::int64_t all = 0;
  for (std::int32_t b = 0; b < bands_of(schedule); ++b) all += band_of(schedule, b).size;
  return all;
}

// Moves through steps number first, first + stride, first + 2·stride … Small, since two of them live in registers.
struct TileWalk {
  std::int64_t within;  // the band
  std::int32_t band;
  std::int32_t row, col;  // first row tile and column tile of this step
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
      const Band here = band_of(schedule, band);
      if (within < here.size) return place(schedule, here);
      within -= here.size;
    }
  }
  SAC_HOST_DEVICE void place(const TileSchedule& schedule, const Band& here) {
    ended = false;
    auto left = static_cast<std::uint32_t>(within);
    std::uint32_t held = schedule.triangle ? 1 : static_cast<std::uint32_t>(here.height);
    std::int32_t column = here.first_col;
    const auto columns = static_cast<std::uint32_t>(schedule.height);  // so many columns hold `held` steps
    for (; held < static_cast<std::uint32_t>(here.height) && left >= columns * held; ++held) {
      left -= columns * held;
      column += schedule.height;
    }
    col = column + static_cast<std::int32_t>(left / held);
    row = (here.first_row + static_cast<std::int32_t>(left % held)) * schedule.height;
  }
};

// How often the tile (row, col) counts in Σ_ij over both halves of C.
SAC_HOST_DEVICE inline int tile_weight(const TileSchedule& schedule, std::int32_t row, std::int32_t col) {
  if (row >= schedule.rows || (schedule.triangle && row > col)) return 0;
  return schedule.triangle && row == col ? 1 : 2;
}

}  // namespace sac
