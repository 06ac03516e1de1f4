// CUDA launcher of correlation_distance in float64 (the formula is in correlation_distance.h): for float64 inputs, and
// rbf with a narrow kernel, which magnifies rounding. correlation_tiles.h does the rest.
#pragma once

#include <cstdint>

namespace sac {

// Blocks of the launch for n probes: also the number of partial sums that the caller provides and adds up.
std::int64_t correlation_distance_cuda_blocks(std::int64_t n);

// Rows that are normalised already: a (n, k_a), b (n, k_b), contiguous, on the current device. partial:
// correlation_distance_cuda_blocks(n) doubles whose sum is Σ_ij |C^a_ij − C^b_ij|. rbf when inverse_bandwidth = 1/(2σ²)
// is positive, else dot products. Runs on `stream` (a cudaStream_t), does not wait for it. Throws std::runtime_error
// with the kernel's name if the launch fails.
void correlation_distance_cuda(const double* a, std::int64_t k_a, const double* b, std::int64_t k_b, std::int64_t n,
                               double inverse_bandwidth, double* partial, void* stream);

}  // namespace sac
