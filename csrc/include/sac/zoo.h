// Ops on many models. d is that of correlation_distance.h; all models answered the same n probes, k may differ.
//
//   correlation_distances            d(source, suspect_s) for each suspect
//   pairwise_correlation_distances   d(x, y) for all pairs of a zoo
//   correlation_vector               the n(n−1)/2 entries of C above the diagonal, row by row
//   nearest_models                   the `top` smallest d of each query, without m×m numbers
//
// Sums are float32 within a short chunk (float64 when an input is float64, or rbf needs it), float64 across chunks, in
// a fixed order: no result depends on the number of threads. Identical models give exactly 0. Errors as there, naming
// the model: "models[3] must be finite, got NaN or Inf in row 17".
#pragma once

#include <cstdint>
#include <vector>

#include "sac/correlation_distance.h"

namespace sac {

// distances: one for each suspect
void correlation_distances_cpu(const MatrixView& source, const std::vector<MatrixView>& suspects, Metric metric,
                               double sigma, const CpuOptions& options, double* distances);

// distances: m × m of float32, or float64 (`wide`); symmetric, zero diagonal. Memory: m × one tile, and 8·m² bytes.
void pairwise_correlation_distances_cpu(const std::vector<MatrixView>& zoo, Metric metric, double sigma, bool wide,
                                        const CpuOptions& options, void* distances);

// vector: n(n−1)/2 of float32, or float64 (`wide`)
void correlation_vector_cpu(const MatrixView& outputs, Metric metric, double sigma, bool wide,
                            const CpuOptions& options, void* vector);

// What nearest_models searches: outputs of models, or correlation vectors, one a row, contiguous, in one of their
// storage forms. uint8 holds round((c + 1)·127.5), so an entry is wrong by up to 1/255 and a distance by up to 2/255.
enum class VectorForm { uint8, float16, float32 };

struct VectorZoo {
  const void* data;
  VectorForm form;
  std::int64_t models;
  std::int64_t n;  // a vector has n(n−1)/2 entries
};

struct NearestOptions {
  std::int64_t top;
  // 0: exact sweep. Else: a sweep in uint8 finds so many candidates for each query, which are then ranked exactly.
  std::int64_t candidates;
  CpuOptions cpu;
};

// The `top` nearest models of the zoo for each query: distances ascending, ties by index. queries == nullptr: each
// model of the zoo, itself left out. distances, indices: (queries) × top. Models are swept in blocks: m×m never exists.
void nearest_models_cpu(const std::vector<MatrixView>& zoo, const std::vector<MatrixView>* queries, Metric metric,
                        double sigma, const NearestOptions& options, double* distances, std::int64_t* indices);

// The same on vectors, whose diagonals are taken to be equal: d = (2/n²) Σ_{i<j}. Both zoos are of one form; uint8 is
// ranked as it is.
void nearest_models_cpu(const VectorZoo& zoo, const VectorZoo* queries, const NearestOptions& options,
                        double* distances, std::int64_t* indices);

}  // namespace sac
