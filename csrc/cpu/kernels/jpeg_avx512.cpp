// 32 lanes: four blocks side by side.
#define SAC_VECTOR_BYTES 64
#include "cpu/kernels/jpeg_band.h"

const sac::JpegKernels sac::jpeg_kernels_avx512 = {scratch_bytes, band};
