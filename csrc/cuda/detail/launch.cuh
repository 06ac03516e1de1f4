// Checked, asynchronous kernel launch, and the dynamic shared memory of a block. tests/cuda_fibers has a header of the
// same name that runs the kernels on the CPU.
#pragma once

#include <cuda_runtime.h>

#include <stdexcept>
#include <string>

namespace sac {

// Dynamic shared memory of the block.
__device__ __forceinline__ unsigned char* dynamic_shared() {
  extern __shared__ __align__(1024) unsigned char shared_memory[];
  return shared_memory;
}

inline void check_cuda(cudaError_t error, const char* what) {
  if (error != cudaSuccess) throw std::runtime_error(std::string(what) + ": " + cudaGetErrorString(error));
}

// Device attribute.
inline int device_attribute(cudaDeviceAttr attribute) {
  int device = 0, value = 0;
  check_cuda(cudaGetDevice(&device), "cudaGetDevice");
  check_cuda(cudaDeviceGetAttribute(&value, attribute, device), "cudaDeviceGetAttribute");
  return value;
}

// cluster: blocks per thread block cluster along x (from sm_90 on); divides grid.x.
template <class Parameters>
void launch_kernel(const char* name, void (*kernel)(Parameters), dim3 grid, int threads, int shared_bytes, void* stream,
                   const Parameters& parameters, unsigned cluster = 1) {
  if (shared_bytes > 48 * 1024)
    check_cuda(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, shared_bytes), name);
  cudaLaunchAttribute attribute{};
  attribute.id = cudaLaunchAttributeClusterDimension;
  attribute.val.clusterDim.x = cluster;
  attribute.val.clusterDim.y = attribute.val.clusterDim.z = 1;
  cudaLaunchConfig_t config{};
  config.gridDim = grid;
  config.blockDim = dim3(static_cast<unsigned>(threads));
  config.dynamicSmemBytes = static_cast<std::size_t>(shared_bytes);
  config.stream = static_cast<cudaStream_t>(stream);
  config.attrs = &attribute;
  config.numAttrs = cluster > 1 ? 1 : 0;
  check_cuda(cudaLaunchKernelEx(&config, kernel, parameters), name);
  check_cuda(cudaGetLastError(), name);
}

}  // namespace sac
