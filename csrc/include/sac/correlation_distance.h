// correlation_distance: how far the sample correlations of two models lie apart.
//
//   d(a, b) = (1/n²) Σ_ij |C^a_ij − C^b_ij|
//
// C as in sac/correlation_matrix.h; both models ran on the same n probes, k may differ. Nothing of size n² is stored:
// the difference is symmetric and is summed tile by tile. Identical inputs give exactly 0.
#pragma once

#include <cstdint>

#include "sac/detail/cancelled.h"
#include "sac/detail/cpu_options.h"
#include "sac/detail/matrix_view.h"
#include "sac/detail/metric.h"

namespace sac {

// a: (n, k_a), b: (n, k_b), n ≥ 2, k ≥ 1. The sums are float32 within a tile (float64 when either input is float64, and
// for rbf with long rows or a narrow kernel, where float32's rounding would show), float64 across tiles, in a fixed
// order: the result does not depend on the number of threads. Throws std::invalid_argument naming the first row with
// NaN or Inf, Cancelled when asked to stop.
double correlation_distance_cpu(const MatrixView& a, const MatrixView& b, Metric metric, double sigma,
                                const CpuOptions& options);

// grad_a: (n, k_a) and grad_b: (n, k_b), row by row, either may be null: the gradients of factor · d(a, b). Of |x| at 0
// it is 0: where the correlations differ by no more than 2⁻²² (2⁻⁴⁸ where sums are float64), for rows without
// direction, and for identical models. The same tiles as above, in O(n·k) memory; 2 times the operations of the
// distance for one gradient, 3 times for both.
void correlation_distance_backward_cpu(const MatrixView& a, const MatrixView& b, Metric metric, double sigma,
                                       double factor, const CpuOptions& options, double* grad_a, double* grad_b);

// CUDA in float64: for float64 inputs, and for rbf with a narrow kernel, which magnifies rounding. Other inputs:
// correlation_distances_tiles with one suspect.

// Blocks of the launch for n probes: also the number of partial sums that the caller provides and adds up.
std::int64_t correlation_distance_cuda_blocks(std::int64_t n);

// Normalised rows: a (n, k_a), b (n, k_b), contiguous, on the current device. partial:
// correlation_distance_cuda_blocks(n) doubles whose sum is Σ_ij |C^a_ij − C^b_ij|. rbf when inverse_bandwidth = 1/(2σ²)
// is positive, else dot products. Launches on `stream` (a cudaStream_t) and does not wait. Throws std::runtime_error
// with the kernel's name if the launch fails.
void correlation_distance_cuda(const double* a, std::int64_t k_a, const double* b, std::int64_t k_b, std::int64_t n,
                               double inverse_bandwidth, double* partial, void* stream);

}  // namespace sac
