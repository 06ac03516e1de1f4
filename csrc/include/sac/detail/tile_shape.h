// Which part of C the tensor-core kernels compute, and how.
#pragma once

#include <cstdint>

namespace sac {

// `automatic` is warpgroup (wgmma) on devices of capability 9.0 if the build has it, else warp (mma.sync).
enum class TileKernel { automatic, warp, warpgroup };

// The square C of `rows` = `cols` probes, or the rectangle of two slabs of it, `rows` probes of one and `cols` of the
// other, that lies wholly above the diagonal.
struct TileShape {
  std::int64_t rows, cols;
  bool square;
  int parts;                 // 2: hi and lo, 1: hi alone (packed_tiles.h)
  double inverse_bandwidth;  // rbf if positive: C_ij = exp(−max(0, |x̂_i|² + |x̂_j|² − 2 <x̂_i, x̂_j>) · this), else dot
  TileKernel kernel;
};

}  // namespace sac
