// 4 × 8 float accumulators: 8 of the 16 registers of 128 bits that every x86-64 has (NEON has 32).
#define SAC_VECTOR_BYTES 16
#define SAC_TILE_ROWS 4
#define SAC_TILE_VECTORS 2
#include "cpu/pair_kernels_impl.h"

const sac::PairKernels sac::pair_kernels_portable = {kernels_of<float>(), kernels_of<double>()};
