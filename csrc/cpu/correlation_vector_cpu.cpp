#include <algorithm>

#include "cpu/detail/packing.h"
#include "cpu/detail/parallel.h"
#include "sac/correlation_vector.h"

namespace sac {
namespace {

constexpr double kEntriesPerThread = 1e6;

template <typename T, typename Out>
void vector_of(const MatrixView& outputs, Metric metric, double sigma, const CpuOptions& options, Out* vector) {
  const KernelsOf<T>& kernels = kernels_of<T>(options.instruction_set);
  const auto block_values = metric == Metric::rbf ? kernels.block_rbf : kernels.block_dot;
  const std::int64_t n = outputs.rows, width = kernels.width;
  PackedModel<T> packed(outputs, metric, sigma, kernels);
  if (const std::int64_t bad = packed.pack_all(); bad >= 0) throw not_finite("outputs", bad);
  const double entries = static_cast<double>(n) * static_cast<double>(n) / 2;
  const int threads = std::max(1, static_cast<int>(std::min<double>(options.threads, entries / kEntriesPerThread)));
  parallel_for(packed.panels(), threads, options, [&](std::int64_t p) {
    AlignedBuffer<T> block(width * width);
    for (std::int64_t q = p; q < packed.panels(); ++q) {
      block_values(packed.view(), p, q, block.data());
      for (std::int64_t i = p * width; i < std::min(n, (p + 1) * width); ++i) {
        // row i of the vector starts after (n−1) + (n−2) + … + (n−i) entries, with its entry (i, i+1)
        Out* row = vector + i * n - i * (i + 1) / 2 - (i + 1);
        for (std::int64_t j = std::max(q * width, i + 1); j < std::min(n, (q + 1) * width); ++j)
          row[j] = static_cast<Out>(block.data()[(i - p * width) * width + j - q * width]);
      }
    }
  });
}

}  // namespace

void correlation_vector_cpu(const MatrixView& outputs, Metric metric, double sigma, bool wide,
                            const CpuOptions& options, void* vector) {
  if (wide)
    vector_of<double>(outputs, metric, sigma, options, static_cast<double*>(vector));
  else if (needs_float64(outputs, metric, sigma))
    vector_of<double>(outputs, metric, sigma, options, static_cast<float*>(vector));
  else
    vector_of<float>(outputs, metric, sigma, options, static_cast<float*>(vector));
}

}  // namespace sac
