// The gradient of a weighted sum of |C^a − C^b| with respect to the outputs, for correlation_distance and its weighted
// form.
//
//   f(a, b) = Σ_ij W_ij |C^a_ij − C^b_ij|,   S_ij = sign(C^a_ij − C^b_ij), sign(0) = 0
//   ∂f/∂â_i = 2 Σ_j W_ij S_ij â_j (rbf: times C^a_ij / σ²), up to a multiple of â_i, which
//   ∂f/∂a_i = (I − â_i â_iᵀ) ∂f/∂â_i / |a_i| removes (pearson: of centred rows, and centred)
//
// A row without direction has gradient 0. The tiles of W ∘ S are formed as in the forward pass, multiplied by the rows
// while they are in the cache, and forgotten: memory is O(n·k).
#pragma once

#include <cstdint>

#include "sac/detail/cpu_options.h"
#include "sac/detail/matrix_view.h"
#include "sac/detail/metric.h"

namespace sac {

// W_ij = factor · Σ_r share_r w_ri w_rj / (Σ_i w_ri)². Without weights, W_ij = factor.
struct GradientWeights {
  double factor;
  const double* weights;  // (replicates, n), or null
  const double* shares;   // (replicates)
  std::int64_t replicates;
};

// grad_a: (n, k_a), grad_b: (n, k_b), either may be null. Correlations that differ by no more than 2⁻²² (2⁻⁴⁸ where
// sums are float64) count as equal. Precision, order and errors as in correlation_distance_cpu.
void correlation_gradient(const MatrixView& a, const MatrixView& b, Metric metric, double sigma,
                          const GradientWeights& weights, const CpuOptions& options, double* grad_a, double* grad_b);

}  // namespace sac
