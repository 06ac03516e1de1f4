// 32 lanes: four blocks side by side.
#define SAC_VECTOR_BYTES 64
#include "cpu/jpeg_kernels_impl.h"

const sac::JpegKernels sac::jpeg_kernels_avx512 = {scratch_bytes, band};
