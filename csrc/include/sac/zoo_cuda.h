// CUDA launchers of the ops of zoo.h, on correlation vectors: rows of one form whose L1 distances are n²/2 times the
// models'. They launch on `stream`, of the current device, and do not wait; a launch that fails is a
// std::runtime_error that names the kernel. Sums are of a fixed order, the same for (x, y) and (y, x).
#pragma once

#include <cstdint>

#include "sac/sweep.h"

namespace sac {

enum class SweepForm { uint8, float16, float32, float64 };

// Where sums of |x − y| go. The rows' entries may come in slabs, one launch each: `sums` (float64) carries what has
// been summed from one to the next.
struct SweepOutput {
  double* sums;     // (rows of x) × (rows of y), or null: one slab
  bool add;         // `sums` holds earlier slabs
  void* distances;  // scale · sums, as float32 or float64 (`wide`), or null: not the last slab
  bool wide;
  double scale;
};

// All pairs of rows of x and y, `bytes` of each row. triangle: y is x; of `sums` the upper half is used, `distances`
// is written symmetrically with zeros on its diagonal.
//
// float32: errors of float32 within 128 entries, none in their sum. float16: entries are subtracted, and 8 of their
// differences added, in float16. uint8: exact for up to 2³²/255 bytes a launch.
void pairwise_correlation_distances_cuda(const SweepRows& x, const SweepRows& y, bool triangle, SweepForm form,
                                         std::int64_t bytes, const SweepOutput& out, void* stream);

constexpr int kMostNearest = 256;

struct NearestSweep {
  SweepForm form;  // not float64
  std::int64_t bytes;
  int top;                   // 1 … kMostNearest
  std::int64_t first_query;  // number of the first row of the queries, and of the zoo
  std::int64_t first_model;
  bool leave_itself_out;  // a query and a model of the same number are the same model
};

// Offers every row of the zoo to every query. lists: (parts, queries, top) of neighbour_key, sorted; kNoNeighbour where
// there is none yet. Each part of a query's list sees its share of the zoo; the caller merges the parts.
void nearest_models_cuda(const SweepRows& queries, const SweepRows& zoo, const NearestSweep& sweep, std::int64_t parts,
                         std::int64_t* lists, void* stream);

// The same with the zoo as queries, each pair of models summed once: one launch for each round of a tournament of
// tiles. lists: (rows, top).
void nearest_models_cuda(const SweepRows& zoo, const NearestSweep& sweep, std::int64_t* lists, void* stream);

}  // namespace sac
