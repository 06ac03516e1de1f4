// pairwise_correlation_distances: the distances of all pairs of a batch of models.
//
//   D_xy = d(x, y),   d as in sac/correlation_distance.h; D is m × m, symmetric, with a zero diagonal
//
// All models ran on the same n probes, k may differ.
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

// distances: m × m of float32, or float64 (`wide`). Memory: m × one tile, and 8·m² bytes. Precision and errors as
// correlation_distances_cpu, naming "models[3]".
void pairwise_correlation_distances_cpu(const std::vector<MatrixView>& models, Metric metric, double sigma, bool wide,
                                        const CpuOptions& options, void* distances);

// Where sums of |x − y| go. The rows' entries may come in slabs, one launch each: `sums` (float64) carries what has
// been summed from one to the next.
struct SweepOutput {
  double* sums;     // (rows of x) × (rows of y), or null: one slab
  bool add;         // `sums` holds earlier slabs
  void* distances;  // scale · sums, as float32 or float64 (`wide`), or null: not the last slab
  bool wide;
  double scale;
};

// CUDA, on correlation vectors: rows of one form whose L1 distances are n²/2 times the models'. All pairs of rows of x
// and y, `bytes` of each row. triangle: y is x; of `sums` the upper half is used, `distances` is written symmetrically
// with zeros on its diagonal.
//
// float32: errors of float32 within 128 entries, none in their sum. float16: entries are subtracted, and 8 of their
// differences added, in float16. uint8: exact for up to 2³²/255 bytes a launch. Sums are in a fixed order, the same for
// (x, y) and (y, x). Launches on `stream` (a cudaStream_t) of the current device and does not wait. Throws
// std::runtime_error with the kernel's name if the launch fails.
void pairwise_correlation_distances_cuda(const SweepRows& x, const SweepRows& y, bool triangle, VectorForm form,
                                         std::int64_t bytes, const SweepOutput& out, void* stream);

}  // namespace sac
