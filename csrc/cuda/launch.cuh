// Launch of a kernel on a stream, checked, without waiting for it.
#pragma once

#include <cuda_runtime.h>

#include <stdexcept>
#include <string>

namespace sac {

inline void check_cuda(cudaError_t error, const char* what) {
  if (error != cudaSuccess) throw std::runtime_error(std::string(what) + ": " + cudaGetErrorString(error));
}

// A number that the current device has.
inline int device_attribute(cudaDeviceAttr attribute) {
  int device = 0, value = 0;
  check_cuda(cudaGetDevice(&device), "cudaGetDevice");
  check_cuda(cudaDeviceGetAttribute(&value, attribute, device), "cudaDeviceGetAttribute");
  return value;
}

template <class Parameters>
void launch_kernel(const char* name, void (*kernel)(Parameters), dim3 grid, int threads, int shared_bytes, void* stream,
                   const Parameters& parameters) {
  if (shared_bytes > 48 * 1024)
    check_cuda(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, shared_bytes), name);
  kernel<<<grid, threads, shared_bytes, static_cast<cudaStream_t>(stream)>>>(parameters);
  check_cuda(cudaGetLastError(), name);
}

}  // namespace sac
