// 4 × 24 float accumulators: 12 of the 16 registers of 256 bits.
#define SAC_VECTOR_BYTES 32
#define SAC_TILE_ROWS 4
#define SAC_TILE_VECTORS 3
#include "cpu/pair_kernels_impl.h"

const sac::PairKernels sac::pair_kernels_avx2 = {kernels_of<float>(), kernels_of<double>()};
