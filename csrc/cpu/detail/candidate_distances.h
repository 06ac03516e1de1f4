// Exact distances of chosen pairs of models, from their normalised rows.
#pragma once

#include <memory>
#include <vector>

#include "cpu/detail/packing.h"
#include "cpu/detail/parallel.h"

namespace sac {

// distances[c] of query q to candidates[c], offsets[q] ≤ c < offsets[q + 1]. The query's blocks of C are computed once;
// the candidates' pass by, block by block.
template <typename T>
void candidate_distances(const std::vector<std::unique_ptr<PackedModel<T>>>& models,
                         const std::vector<std::unique_ptr<PackedModel<T>>>& queries, Metric metric, std::int64_t n,
                         const std::int64_t* offsets, const std::int64_t* candidates, const CpuOptions& options,
                         double* distances) {
  const KernelsOf<T>& kernels = kernels_of<T>(options.instruction_set);
  const auto values = metric == Metric::rbf ? kernels.block_rbf : kernels.block_dot;
  const auto apart = metric == Metric::rbf ? kernels.block_distance_rbf : kernels.block_distance_dot;
  const std::int64_t panels = models[0]->panels(), size = static_cast<std::int64_t>(kernels.width) * kernels.width;
  const double scale = 1.0 / static_cast<double>(n) / static_cast<double>(n);
  parallel_for(static_cast<std::int64_t>(queries.size()), options.threads, options, [&](std::int64_t q) {
    if (offsets[q] == offsets[q + 1]) return;
    AlignedBuffer<T> known(panels * (panels + 1) / 2 * size);
    T* next = known.data();
    for (std::int64_t p = 0; p < panels; ++p)
      for (std::int64_t r = p; r < panels; ++r, next += size) values(queries[q]->view(), p, r, next);
    for (std::int64_t c = offsets[q]; c < offsets[q + 1]; ++c) {
      const auto& model = *models[candidates[c]];
      const T* mine = known.data();
      double sum = 0;
      for (std::int64_t p = 0; p < panels; ++p)
        for (std::int64_t r = p; r < panels; ++r, mine += size)
          sum += (p == r ? 1.0 : 2.0) * apart(model.view(), p, r, mine, ReadSoon{});
      distances[c] = scale * sum;
    }
  });
}

}  // namespace sac
