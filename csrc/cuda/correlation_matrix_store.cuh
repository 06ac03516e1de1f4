// What correlation_matrix_tiles does with an entry of C.
#pragma once

#include <cuda_runtime.h>

#include "cuda/tile_problem.cuh"
#include "sac/tile_fragment.h"

namespace sac {

// Entry (i, j): only those on and above the diagonal are taken, so that the matrix is symmetric to the last bit.
__device__ inline void store_entry(const TileProblem& problem, float* out, std::int64_t i, std::int64_t j, float c) {
  const std::int64_t n = problem.rows;
  if (i > j || j >= n) return;
  if (problem.vector) {
    if (i < j) out[vector_place(n, i, j)] = c;
    return;
  }
  out[i * n + j] = c;
  out[j * n + i] = c;
}

// Where the matrix or vector of a model begins.
__device__ inline float* model_out(const TileProblem& problem, std::int64_t model) {
  const std::int64_t n = problem.rows;
  return problem.out + model * (problem.vector ? n * (n - 1) / 2 : n * n);
}

}  // namespace sac
