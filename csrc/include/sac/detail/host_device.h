// SAC_HOST_DEVICE: a function for the CPU and, when nvcc compiles it, for the GPU too.
#pragma once

#ifdef __CUDACC__
#define SAC_HOST_DEVICE __host__ __device__
#else
#define SAC_HOST_DEVICE
#endif
