// nearest_models: the `top` models with the smallest distance to each query.
//
//   d as in sac/correlation_distance.h; ascending, ties by index
//
// Without queries, each model is a query and is not its own neighbour. Models are swept in blocks: m × m distances are
// never stored. All models ran on the same n probes, k may differ.
#pragma once

#include <cstdint>
#include <vector>

#include "sac/detail/cancelled.h"
#include "sac/detail/cpu_options.h"
#include "sac/detail/matrix_view.h"
#include "sac/detail/metric.h"
#include "sac/detail/sweep.h"
#include "sac/detail/vector_form.h"

namespace sac {

struct NearestOptions {
  std::int64_t top;
  // 0: exact sweep. Else: a sweep in uint8 finds this many candidates for each query, which are then ranked exactly.
  std::int64_t candidates;
  CpuOptions cpu;
};

// queries: null for the models themselves. distances, indices: (queries) × top. Precision and errors as
// correlation_distances_cpu, naming "models[3]" or "queries[3]".
void nearest_models_cpu(const std::vector<MatrixView>& models, const std::vector<MatrixView>* queries, Metric metric,
                        double sigma, const NearestOptions& options, double* distances, std::int64_t* indices);

// distances[c] = d(query q, candidates[c]), offsets[q] ≤ c < offsets[q + 1]. Without queries they are the models.
void candidate_distances_cpu(const std::vector<MatrixView>& models, const std::vector<MatrixView>* queries,
                             Metric metric, double sigma, const std::int64_t* offsets, const std::int64_t* candidates,
                             const CpuOptions& options, double* distances);

// Correlation vectors of many models, one a row, contiguous.
struct VectorBatch {
  const void* data;
  VectorForm form;  // not float64
  std::int64_t models;
  std::int64_t n;  // a vector has n(n−1)/2 entries
};

// The same on vectors, whose diagonals are taken to be equal: d = (2/n²) Σ_{i<j}. Both batches are of one form; uint8
// is ranked as it is stored.
void nearest_models_cpu(const VectorBatch& models, const VectorBatch* queries, const NearestOptions& options,
                        double* distances, std::int64_t* indices);

constexpr int kMaxNearest = 256;

struct NearestSweep {
  VectorForm form;  // not float64
  std::int64_t bytes;
  int top;                   // 1 … kMaxNearest
  std::int64_t first_query;  // index of the first row of the queries, and of the models
  std::int64_t first_model;
  bool exclude_self;  // a query and a model of the same index are the same model
};

// CUDA: compares every row of the models with every query. lists: (parts, queries, top) of neighbour_key (sweep.h),
// sorted, kNoNeighbour where an entry is free. Each part of a query's list sees its share of the models; the caller
// merges the parts. Launches on `stream` (a cudaStream_t) of the current device and does not wait. Throws
// std::runtime_error with the kernel's name if the launch fails.
void nearest_models_cuda(const SweepRows& queries, const SweepRows& models, const NearestSweep& sweep,
                         std::int64_t parts, std::int64_t* lists, void* stream);

// The same with the models as queries, each pair of models summed once: one launch for each round of a tournament of
// tiles. lists: (rows, top).
void nearest_models_cuda(const SweepRows& models, const NearestSweep& sweep, std::int64_t* lists, void* stream);

}  // namespace sac
