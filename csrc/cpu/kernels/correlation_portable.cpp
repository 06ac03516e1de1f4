// 4 × 8 float accumulators: 8 of the 16 registers of 128 bits that every x86-64 has (NEON has 32).
#define SAC_VECTOR_BYTES 16
#define SAC_TILE_ROWS 4
#define SAC_TILE_VECTORS 2
#include "cpu/kernels/correlation_table.h"

const sac::Kernels sac::kernels_portable = kernel_table();
