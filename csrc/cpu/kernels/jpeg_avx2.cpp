// 16 lanes: two blocks side by side.
#define SAC_VECTOR_BYTES 32
#include "cpu/kernels/jpeg_band.h"

const sac::JpegKernels sac::jpeg_kernels_avx2 = {scratch_bytes, band};
