// 4 × 24 float accumulators: 12 of the 16 registers of 256 bits.
#define SAC_VECTOR_BYTES 32
#define SAC_TILE_ROWS 4
#define SAC_TILE_VECTORS 3
#include "cpu/kernels/correlation_table.h"

const sac::Kernels sac::kernels_avx2 = kernel_table();
