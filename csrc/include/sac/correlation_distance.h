// correlation_distance: how far the sample correlations of two models lie apart.
//
//   d(a, b) = (1/n²) Σ_ij |C^a_ij − C^b_ij|,   C^x = Φ(x),   x ∈ R^{n×k_x}
//
//   cosine   C_ij = <x̂_i, x̂_j>,   x̂ the L2-normalised row (a zero row stays zero)
//   pearson  cosine of the rows centred on their own mean
//   rbf      C_ij = exp(−|x̂_i − x̂_j|² / (2σ²))
//
// Guan et al., "Are You Stealing My Model? Sample Correlation for Fingerprinting Deep Neural
// Networks" (NeurIPS 2022, arXiv 2210.15427), section 3. Nothing of size n² is stored: the difference is
// symmetric and is summed tile by tile. Identical inputs give exactly 0.
#pragma once

#include <functional>

#include "sac/matrix_view.h"

namespace sac {

enum class Metric { cosine, pearson, rbf };

enum class InstructionSet { portable, avx2, avx512 };

struct CpuOptions {
  int threads = 1;
  InstructionSet instruction_set = InstructionSet::portable;
  // Called every now and then by the calling thread; true asks to stop early.
  std::function<bool()> cancelled;
};

// True when both this build and this processor have it.
bool has_instruction_set(InstructionSet set);

// a: (n, k_a), b: (n, k_b), n ≥ 2, k ≥ 1. The sums are float32 within a tile (float64 when either input is
// float64, and for rbf with long rows or a narrow kernel, where float32's rounding would show), float64 across tiles,
// in a fixed order: the result does not depend on the number of threads. Throws std::invalid_argument naming the first
// row that holds NaN or Inf, Cancelled when asked to stop.
double correlation_distance_cpu(const MatrixView& a, const MatrixView& b, Metric metric, double sigma,
                                const CpuOptions& options);

struct Cancelled {};

}  // namespace sac
