#include <algorithm>
#include <vector>

#include "cpu/detail/packing.h"
#include "cpu/detail/parallel.h"
#include "sac/correlation_distances.h"
#include "sac/detail/triangle.h"

namespace sac {
namespace {

// Bytes of packed suspects in memory at a time, and panels along one side of a task, whose blocks of the source stay in
// the cache.
constexpr std::int64_t kPackedBytes = 64 << 20;
constexpr std::int64_t kGroupPanels = 6;

// Visits the blocks (p, q), p ≤ q, of a task's square of panels.
template <typename Visit>
void for_each_block(TriangleTile tile, std::int64_t panels, const Visit& visit) {
  const std::int64_t p1 = std::min(panels, (tile.row + 1) * kGroupPanels);
  const std::int64_t q1 = std::min(panels, (tile.col + 1) * kGroupPanels);
  for (std::int64_t p = tile.row * kGroupPanels; p < p1; ++p)
    for (std::int64_t q = std::max(p, tile.col * kGroupPanels); q < q1; ++q) visit(p, q);
}

template <typename T>
void distances_of(const MatrixView& source, const std::vector<MatrixView>& suspects, Metric metric, double sigma,
                  const CpuOptions& options, double* distances) {
  const KernelsOf<T>& kernels = kernels_of<T>(options.instruction_set);
  const auto values = metric == Metric::rbf ? kernels.block_rbf : kernels.block_dot;
  const auto apart = metric == Metric::rbf ? kernels.block_distance_rbf : kernels.block_distance_dot;
  const std::int64_t n = source.rows, block_size = static_cast<std::int64_t>(kernels.width) * kernels.width;
  const auto count = static_cast<std::int64_t>(suspects.size());
  double columns = static_cast<double>(source.cols);
  for (const auto& suspect : suspects) columns += static_cast<double>(suspect.cols);
  const double flops = static_cast<double>(n) * static_cast<double>(n) * columns;
  const int threads = useful_threads(flops, options.threads);

  PackedModel<T> packed_source(source, metric, sigma, kernels);
  if (const std::int64_t bad = packed_source.pack_all(); bad >= 0) throw not_finite("source", bad);
  const std::int64_t panels = packed_source.panels();
  const std::int64_t groups = ceil_div(panels, kGroupPanels), tasks = triangle_size(groups);

  for (std::int64_t first = 0; first < count;) {
    std::int64_t last = first, bytes = 0;
    do {
      bytes += PackedModel<T>::bytes(suspects[static_cast<std::size_t>(last)], kernels.width);
      ++last;
    } while (last < count && bytes < kPackedBytes);
    const auto packed = pack_models<T>(suspects, first, last, "suspects", metric, sigma, threads, options);
    const std::int64_t held = last - first;
    std::vector<double> sums(static_cast<std::size_t>(tasks * held));
    parallel_for(tasks, threads, options, [&](std::int64_t t) {
      const TriangleTile tile = triangle_tile(t, groups);
      AlignedBuffer<T> source_blocks(kGroupPanels * kGroupPanels * block_size);
      T* next = source_blocks.data();
      for_each_block(tile, panels, [&](std::int64_t p, std::int64_t q) {
        values(packed_source.view(), p, q, next);
        next += block_size;
      });
      for (std::int64_t s = 0; s < held; ++s) {
        const T* known = source_blocks.data();
        double sum = 0;
        // the panels of the next suspect, a share of each with every block that needs it
        const PackedModelView<T> next = packed[std::min(s + 1, held - 1)]->view();
        const std::int64_t panel = next.k * kernels.width;
        const std::int64_t share = s + 1 < held ? panel / kGroupPanels : 0;
        for_each_block(tile, panels, [&](std::int64_t p, std::int64_t q) {
          const ReadSoon soon{next.lines + p * panel + q % kGroupPanels * share,
                              next.lines + q * panel + p % kGroupPanels * share,
                              share * static_cast<std::int64_t>(sizeof(T)) / 64};
          sum += (p == q ? 1.0 : 2.0) * apart(packed[s]->view(), p, q, known, soon);
          known += block_size;
        });
        sums[t * held + s] = sum;
      }
    });
    for (std::int64_t s = 0; s < held; ++s) {
      double total = 0;
      for (std::int64_t t = 0; t < tasks; ++t) total += sums[t * held + s];
      distances[first + s] = total / static_cast<double>(n) / static_cast<double>(n);
    }
    first = last;
  }
}

}  // namespace

void correlation_distances_cpu(const MatrixView& source, const std::vector<MatrixView>& suspects, Metric metric,
                               double sigma, const CpuOptions& options, double* distances) {
  bool wide = needs_float64(source, metric, sigma);
  for (const auto& suspect : suspects) wide = wide || needs_float64(suspect, metric, sigma);
  (wide ? distances_of<double> : distances_of<float>)(source, suspects, metric, sigma, options, distances);
}

}  // namespace sac
