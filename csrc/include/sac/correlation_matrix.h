// correlation_matrix: the sample correlations of a model's outputs.
//
//   C = Φ(x) ∈ R^{n×n},   x ∈ R^{n×k} (n probes, k outputs)
//
//   cosine   C_ij = <x̂_i, x̂_j>,   x̂ the L2-normalised row (a zero row stays zero)
//   pearson  cosine of the rows centred on their own mean
//   rbf      C_ij = exp(−|x̂_i − x̂_j|² / (2σ²))
//
// Guan et al., "Are You Stealing My Model? Sample Correlation for Fingerprinting Deep Neural Networks" (NeurIPS 2022,
// arXiv 2210.15427), section 3. The only op that stores n² numbers. CUDA only: on the CPU, a matrix product does it.
#pragma once

#include <cstdint>

#include "sac/detail/packed_tiles.h"
#include "sac/detail/tile_shape.h"

namespace sac {

// models: `count` packed models; shape.square and shape.parts == 2. out: float32, for each model the matrix n × n, or
// (`vector`) its n(n−1)/2 entries above the diagonal, row by row. Launches on `stream` (a cudaStream_t) of the current
// device and does not wait. Throws std::runtime_error with the kernel's name if the launch fails.
void correlation_matrix_tiles(const TileShape& shape, const PackedModels& models, std::int64_t count, bool vector,
                              float* out, void* stream);

}  // namespace sac
