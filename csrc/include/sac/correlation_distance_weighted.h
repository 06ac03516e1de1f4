// correlation_distance_weighted: the distance with every probe counted w_i times, for many w at once.
//
//   d_r(a, b) = Σ_ij w_ri |C^a_ij − C^b_ij| w_rj / (Σ_i w_ri)²,   r = 1 … R
//
// C as in sac/correlation_matrix.h; w = 1 gives correlation_distance. With counts of resampled probes as w, the R
// values are bootstrap replicates (Efron, "Bootstrap methods", Ann. Statist. 1979), the diagonal and pairs of one probe
// with itself included. D = |C^a − C^b| is symmetric, computed tile by tile, and never stored: a tile is multiplied by
// the weights of all replicates while it is in the cache, n²(k_a + k_b) + n² R operations in all instead of R
// distances. CPU only.
#pragma once

#include <cstdint>

#include "sac/detail/cancelled.h"
#include "sac/detail/cpu_options.h"
#include "sac/detail/matrix_view.h"
#include "sac/detail/metric.h"

namespace sac {

// weights: (replicates, n) row by row, finite, not negative, each row with a positive sum; distances: (replicates).
// Precision and errors as correlation_distance_cpu; the sums of one tile are float32 (float64 for float64 inputs),
// float64 across tiles, in an order that does not depend on the number of threads.
void correlation_distance_weighted_cpu(const MatrixView& a, const MatrixView& b, const double* weights,
                                       std::int64_t replicates, Metric metric, double sigma, const CpuOptions& options,
                                       double* distances);

// Gradients of Σ_r factors_r d_r(a, b), as correlation_distance_backward_cpu gives them; n² R operations more.
void correlation_distance_weighted_backward_cpu(const MatrixView& a, const MatrixView& b, const double* weights,
                                                std::int64_t replicates, Metric metric, double sigma,
                                                const double* factors, const CpuOptions& options, double* grad_a,
                                                double* grad_b);

}  // namespace sac
