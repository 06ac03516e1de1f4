// 8 lanes: SSE2 on x86-64, NEON on aarch64.
#define SAC_VECTOR_BYTES 16
#include "cpu/kernels/jpeg_band.h"

const sac::JpegKernels sac::jpeg_kernels_portable = {scratch_bytes, band};
