// correlation_vector: the n(n−1)/2 entries of C (sac/correlation_matrix.h) above the diagonal, row by row.
//
// On CUDA, correlation_matrix_tiles with `vector` does it.
#pragma once

#include "sac/detail/cancelled.h"
#include "sac/detail/cpu_options.h"
#include "sac/detail/matrix_view.h"
#include "sac/detail/metric.h"

namespace sac {

// outputs: (n, k), n ≥ 2, k ≥ 1. vector: n(n−1)/2 of float32, or float64 (`wide`). Throws std::invalid_argument naming
// the first row with NaN or Inf, Cancelled when asked to stop.
void correlation_vector_cpu(const MatrixView& outputs, Metric metric, double sigma, bool wide,
                            const CpuOptions& options, void* vector);

}  // namespace sac
