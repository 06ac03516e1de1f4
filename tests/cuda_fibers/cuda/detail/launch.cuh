// Launches: block after block. The number of multiprocessors is small, so that blocks loop over several tiles.
#pragma once

#include <cuda_runtime.h>

#include <stdexcept>
#include <string>

namespace sac {

inline int emulated_processors = 3;
inline int emulated_capability = 80;
inline std::string launched;  // the kernel launched last

inline unsigned char* dynamic_shared() { return fibers::shared_begin; }

inline void check_cuda(cudaError_t, const char*) {}

inline int device_attribute(cudaDeviceAttr attribute) {
  if (attribute == cudaDevAttrMultiProcessorCount) return emulated_processors;
  return attribute == cudaDevAttrComputeCapabilityMajor ? emulated_capability / 10 : emulated_capability % 10;
}

template <class Parameters>
void launch_kernel(const char* name, void (*kernel)(Parameters), dim3 grid, int threads, int shared_bytes, void*,
                   const Parameters& parameters, unsigned cluster = 1) {
  launched = name;
  gridDim = grid;
  blockDim.x = static_cast<unsigned>(threads);
  if (grid.x % cluster) throw std::runtime_error("the grid is not made of whole clusters");
  for (blockIdx.y = 0; blockIdx.y < grid.y; ++blockIdx.y)
    for (unsigned first = 0; first < grid.x; first += cluster) {
      fibers::body = [&] { kernel(parameters); };
      fibers::run_blocks(first, cluster, static_cast<unsigned>(threads), static_cast<std::size_t>(shared_bytes));
    }
}

}  // namespace sac
