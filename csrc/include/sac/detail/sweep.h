// Index arithmetic of an L1 sweep on a GPU, shared by the kernels and the CPU tests: the layout of a tile in shared
// memory, the models of a thread block, the rounds of a tournament of tiles, and neighbours as 64-bit keys.
#pragma once

#include <cstdint>

#include "sac/detail/ceil_div.h"
#include "sac/detail/host_device.h"
#include "sac/detail/triangle.h"

namespace sac {

constexpr int kSweepTile = 128;       // models along one side of a tile
constexpr int kSweepChunkBytes = 16;  // of one access: 16, 8, 4 or 2 entries
constexpr int kSweepSlabChunks = 8;   // chunks of each row that are staged at a time: 128 bytes
constexpr int kSweepSlabBytes = 2 * kSweepTile * kSweepSlabChunks * kSweepChunkBytes;

// Rows on a device, padded with zeros to a multiple of kSweepChunkBytes.
struct SweepRows {
  const std::uint8_t* data;
  std::int64_t rows;
  std::int64_t pitch;  // bytes from one row to the next, like `data` a multiple of kSweepChunkBytes
};

SAC_HOST_DEVICE inline std::int64_t sweep_tiles(std::int64_t rows) { return ceil_div(rows, kSweepTile); }

SAC_HOST_DEVICE inline std::int64_t sweep_chunks(std::int64_t bytes) { return ceil_div(bytes, kSweepChunkBytes); }

// Byte of a staged chunk. Eight neighbouring rows at one chunk, and the eight chunks of a row, lie in different banks.
SAC_HOST_DEVICE inline int sweep_slab_offset(int row, int chunk) {
  return (row * kSweepSlabChunks + (chunk ^ (row & 7))) * kSweepChunkBytes;
}

// Word of the distance (i, j) of a tile. 32 neighbours of a row, or of a column, or the 4 × 8 that a warp writes
// together, lie in different banks.
SAC_HOST_DEVICE inline int sweep_matrix_word(int i, int j) {
  return i * kSweepTile + (j ^ ((i & 3) << 3 | (i >> 2 & 7)));
}

// Row of a thread's first pair in a tile; the others follow in steps of 16. A warp holds 4 × 8 neighbours.
SAC_HOST_DEVICE inline int sweep_thread_row(int thread) { return thread / 64 * 4 + thread % 32 / 8; }
SAC_HOST_DEVICE inline int sweep_thread_col(int thread) { return thread / 32 % 2 * 8 + thread % 8; }

// First tile of part `part` of `parts` of a row of tiles; they differ by one tile at most.
SAC_HOST_DEVICE inline std::int64_t sweep_part_start(std::int64_t part, std::int64_t parts, std::int64_t tiles) {
  return tiles / parts * part + (part < tiles % parts ? part : tiles % parts);
}

// Round-robin tournament (circle method) of `players` (even): rounds 0 … players − 2, tables 0 … players/2 − 1. Each
// player is in one pair of a round, and each pair in one round.
SAC_HOST_DEVICE inline TriangleTile tournament_pair(std::int64_t round, std::int64_t table, std::int64_t players) {
  const std::int64_t others = players - 1;
  if (table == 0) return {round % others, others};
  const std::int64_t a = (round + table) % others, b = (round + others - table) % others;
  return a < b ? TriangleTile{a, b} : TriangleTile{b, a};
}

// A neighbour as a sortable key: the bits of its distance (a float ≥ 0, or an integer < 2³¹) above its index, so that
// the order of keys is by distance, then index. Signed comparison gives the same order.
constexpr std::int64_t kNoNeighbour = 0x7fffffffffffffff;

SAC_HOST_DEVICE inline std::int64_t neighbour_key(std::uint32_t distance_bits, std::int64_t model) {
  return static_cast<std::int64_t>(static_cast<std::uint64_t>(distance_bits & 0x7fffffffu) << 32 |
                                   static_cast<std::uint64_t>(model));
}

}  // namespace sac
