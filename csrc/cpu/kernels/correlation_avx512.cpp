// 8 × 32 float accumulators: 16 of the 32 registers of 512 bits.
#define SAC_VECTOR_BYTES 64
#define SAC_TILE_ROWS 8
#define SAC_TILE_VECTORS 2
#include "cpu/kernels/correlation_table.h"

const sac::Kernels sac::kernels_avx512 = kernel_table();
