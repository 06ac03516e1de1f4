// Parameters of the tensor-core kernels: operands as chunks of packed tiles, and the order of tiles.
#pragma once

#include "sac/detail/packed_tiles.h"
#include "sac/detail/tile_grid.h"
#include "sac/detail/tile_shape.h"
#include "sac/detail/tile_walk.h"

namespace sac {

// Models of one k. Tiles are loaded in chunks of kChunkBytes (the last one may be shorter), one pipeline stage each: 32
// coordinates of two parts, 64 of one.
struct Operand {
  const unsigned char* rows;
  const unsigned char* cols;
  const float* row_norms;
  const float* col_norms;
  std::int64_t tile;       // bytes of a tile
  std::int64_t row_model;  // bytes of a model, rows and columns
  std::int64_t col_model;
  std::int64_t row_padded;  // rows of a model, padded
  std::int64_t col_padded;
  int chunks;

  SAC_HOST_DEVICE int chunk_bytes(int chunk) const {
    const std::int64_t left = tile - static_cast<std::int64_t>(chunk) * kChunkBytes;
    return left < kChunkBytes ? static_cast<int>(left) : kChunkBytes;
  }
  SAC_HOST_DEVICE const unsigned char* row_chunk(std::int64_t model, std::int64_t tile_number, int chunk) const {
    return rows + model * row_model + tile_number * tile + static_cast<std::int64_t>(chunk) * kChunkBytes;
  }
  SAC_HOST_DEVICE const unsigned char* col_chunk(std::int64_t model, std::int64_t tile_number, int chunk) const {
    return cols + model * col_model + tile_number * tile + static_cast<std::int64_t>(chunk) * kChunkBytes;
  }
};

inline Operand operand_of(const TileShape& shape, const PackedModels& models) {
  Operand operand{};
  operand.rows = static_cast<const unsigned char*>(models.rows);
  operand.cols = static_cast<const unsigned char*>(models.cols);
  operand.row_norms = models.row_norms;
  operand.col_norms = models.col_norms;
  operand.tile = tile_bytes(steps_of(models.k), shape.parts);
  operand.row_model = packed_bytes(shape.rows, models.k, shape.parts);
  operand.col_model = packed_bytes(shape.cols, models.k, shape.parts);
  operand.row_padded = row_tiles(shape.rows) * kTileRows;
  operand.col_padded = row_tiles(shape.cols) * kTileRows;
  operand.chunks = static_cast<int>(ceil_div(operand.tile, kChunkBytes));
  return operand;
}

struct TileProblem {
  Operand source;    // one model; for correlation_matrix, all models
  Operand suspects;  // `count` models; unused by correlation_matrix
  TileSchedule schedule;
  std::int64_t rows, cols;  // probes
  std::int32_t row_tiles, col_tiles;
  std::int32_t count;      // suspects, or models of correlation_matrix
  std::int32_t per_group;  // suspects of a grid row
  float inverse_bandwidth;
  double* partial;
  float* out;
  bool vector;

  SAC_HOST_DEVICE int weight(std::int32_t row, std::int32_t col) const {
    return tile_weight(row_tiles, col_tiles, schedule.triangle, row, col);
  }
};

}  // namespace sac
